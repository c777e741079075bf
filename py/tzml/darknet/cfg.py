"""Networks as Darknet describes them: sections of options, of which the first is about the whole network.

A format of lines: `[section]`, `option=value`, and comments behind # or ;. Darknet takes a default for an option
that it does not find, and says nothing of one that it does not know; here that is refused.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tzml.errors import TzmlError

_LARGEST = 4 << 20


@dataclass
class CfgSection:
    """One section: its kind, its options, and where it is. `number` counts layers from 0, as Darknet does."""

    kind: str
    options: dict[str, str]
    number: int
    line: int
    file: str
    used: set[str] = field(default_factory=set)

    def text(self, name: str, default: str) -> str:
        """An option; `default` if it is not given."""
        self.used.add(name)
        return self.options.get(name, default)

    def integer(self, name: str, default: int, least: int = 0) -> int:
        """An option that is a whole number of at least `least`. Raises TzmlError."""
        text = self.text(name, str(default))
        try:
            value = int(text)
        except ValueError as error:
            raise self.wrong(f"{name}={text} is no whole number") from error
        if value < least:
            raise self.wrong(f"{name}={text} is less than {least}")
        return value

    def real(self, name: str, default: float) -> float:
        """An option that is a number. Raises TzmlError."""
        text = self.text(name, repr(default))
        try:
            value = float(text)
        except ValueError as error:
            raise self.wrong(f"{name}={text} is no number") from error
        if not math.isfinite(value):
            raise self.wrong(f"{name}={text} is no number")
        return value

    def check_all_known(self, ignored: frozenset[str]) -> None:
        """Raise TzmlError for an option that nobody asked for, unless it is one of `ignored`."""
        unknown = sorted(set(self.options) - self.used - ignored)
        if unknown:
            raise self.wrong(f"the option {unknown[0]} is not known", "remove it, or report what needs it")

    def wrong(self, what: str, remedy: str = "correct the cfg file") -> TzmlError:
        """The refusal of something in this section."""
        where = f"layer {self.number} [{self.kind}]" if self.number >= 0 else f"[{self.kind}]"
        return TzmlError(f"{self.file}, line {self.line}, {where}: {what}", remedy)


@dataclass(frozen=True)
class DarknetNetwork:
    """The section about the network, and one for each layer."""

    net: CfgSection
    layers: tuple[CfgSection, ...]


def read_cfg(path: Path) -> DarknetNetwork:
    """Read a .cfg file. Raises TzmlError."""
    sections: list[CfgSection] = []
    for number, text in enumerate(_lines(path), 1):
        line = text.partition("#")[0].partition(";")[0].strip()
        if not line:
            continue
        if line.startswith("[") and line.endswith("]"):
            sections.append(CfgSection(line[1:-1].strip(), {}, len(sections) - 1, number, path.name))
            continue
        name, equals, value = (part.strip() for part in line.partition("="))
        if not equals or not name or not sections:
            raise TzmlError(
                f"{path}, line {number}: {line[:60]!r} is neither [section] nor option=value",
                "correct the cfg file",
            )
        if name in sections[-1].options:
            raise sections[-1].wrong(f"{name} is given twice")
        sections[-1].options[name] = value
    if not sections or sections[0].kind not in ("net", "network"):
        raise TzmlError(f"{path} does not begin with [net]", "give a network's .cfg file of Darknet")
    if len(sections) == 1:
        raise TzmlError(f"{path} has no layers", "give a network's .cfg file of Darknet")
    return DarknetNetwork(sections[0], tuple(sections[1:]))


def image_preprocessing(network: DarknetNetwork) -> dict[str, Any]:
    """What becomes of an image: the fields of a file for `tzml compile --preprocess`.

    Darknet puts an image of another shape between grey bars; here it is stretched.
    """
    height, width = network.net.integer("height", 0), network.net.integer("width", 0)
    return {"divide": 255, "resize": [height, width]} if height and width else {}


def is_cfg(head: bytes) -> bool:
    """Whether a file that begins so is a network of Darknet."""
    lines = (line.partition(b"#")[0].partition(b";")[0].strip() for line in head.splitlines())
    return next((line for line in lines if line), b"") in (b"[net]", b"[network]")


def _lines(path: Path) -> list[str]:
    try:
        if path.stat().st_size > _LARGEST:
            raise TzmlError(f"{path} has {path.stat().st_size:,} bytes, too many for a text", "give another file")
        return path.read_text().splitlines()
    except OSError as error:
        raise TzmlError(f"cannot read {path}: {error.strerror}", "check the path") from error
    except UnicodeDecodeError as error:
        raise TzmlError(f"{path} is no text", "give a text file of Darknet") from error
