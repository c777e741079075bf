"""Options that several commands share."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from tzml.errors import TzmlError
from tzml.files import STDOUT, check_output

Completion = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


class OutputFile(click.Path):
    """The type of an option that names a file to write, which is checked before the command begins.

    `-` is standard output.
    """

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """The path of the file. Raises TzmlError if it cannot be written."""
        text = os.fspath(value)
        if text == "-":
            return STDOUT
        option = max(param.opts, key=len) if param else "it"
        if not text or text.endswith(os.sep):
            raise click.BadParameter(f"{text!r} names no file", ctx, param)
        check_output(Path(text), remedy=f"give another file to {option}")
        return Path(text)


class RealNumber(click.FloatRange):
    """The type of an option that takes a number within bounds, not `nan` or `inf`, which click's own passes."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number. Raises click.BadParameter for others."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            raise click.BadParameter(f"{value!r} is no finite number", ctx, param)
        return number


def completed(names: Callable[[], Iterable[str]], *, file: bool = False) -> Completion:
    """Completion in the shell of a parameter that takes one of these names, or a file."""

    def complete(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
        found = [CompletionItem(name) for name in names() if name.startswith(incomplete)]
        return found or [CompletionItem(incomplete, type="file")] if file else found

    return complete


passphrase_option = click.option(
    "--passphrase-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="File whose first line is the passphrase of the private key, or the PIN of its token. Others would see a "
    "command line.",
)


weights_option = click.option(
    "--weights", default="", metavar="FILE|random",
    help="The weights of a network of Darknet (.cfg). Default: the .weights file beside it. random is for a "
    "network that is to be trained.",
)  # fmt: skip


def parse_size(_: click.Context, __: click.Parameter, value: str) -> int:
    """Parse a number of bytes, optionally with the suffix K, KiB, M or MiB. Raises BadParameter."""
    match = re.fullmatch(r"([1-9]\d*)(?:([KM])(?:iB)?)?", value)
    if not match:
        raise click.BadParameter(f"{value!r} is not a number of bytes, as in 8M, 512K or 8388608")
    return int(match[1]) << {None: 0, "K": 10, "M": 20}[match[2]]


def read_passphrase(path: Path | None) -> bytes | None:
    """The first line of a file, None without one. Raises TzmlError if it is empty."""
    if path is None:
        return None
    line = path.read_bytes().split(b"\n", 1)[0]
    if not line:
        raise TzmlError(f"{path} has no passphrase in its first line", "write one to it")
    return line
