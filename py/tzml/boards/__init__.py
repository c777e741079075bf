"""Board descriptors: what the compiler, the lab and CI know of each machine, in one file NAME.toml a machine.

The name is that of the kas manifest, the image's machine and the compiler's target. What the build decides, such
as prompts, consoles and kernel arguments, is not here: image.json has it. docs/extending.md says how a board is
added.
"""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from tzml.errors import TzmlError

FOLDER = Path(__file__).parent

# What people must know of sealed models, by what image.json says OP-TEE's hardware unique key is.
HUK_WARNINGS = {
    "hardware": "",
    "test": "OP-TEE's hardware unique key is a test key here: whoever has the build of the firmware, or the files "
    "of the emulated device, can compute the keys that protect sealed models.",
    "zero": "OP-TEE's hardware unique key is all zeros here: whoever has a copy of this device's storage can "
    "compute the keys that protect sealed models.",
}


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class MemoryProtection(_Part):
    """Whether hardware keeps the normal world out of OP-TEE's memory, and what people must know if it does not."""

    protected: bool
    warning: str = ""

    @model_validator(mode="after")
    def _warns_if_unprotected(self) -> Self:
        if self.protected == bool(self.warning):
            raise ValueError("a warning is for machines with protected = false, and all of those need one")
        return self


class Partition(_Part):
    """A partition that fastboot writes.

    Args:
        name: what fastboot calls it
        size: bytes
        file: role of the image's file that is written to it; "" if none is
        standin: role, in the image that a stand-in boots, of the file that is written instead

    """

    name: str
    size: int = Field(gt=0)
    file: str = ""
    standin: str = ""


class Emulation(_Part):
    """QEMU's model of the machine: the lab's environment for it, and how many cores start (default: all)."""

    environment: str
    cores: int | None = Field(default=None, ge=1)


class StandInImage(_Part):
    """What stands in for the board where there is none: QEMU, with the image of the board `image`."""

    image: str


class Ci(_Part):
    """Where CI tests the board.

    Args:
        merge: environments in which everything that gets into main is tested
        nightly: environments that are tested every night on hosts without boards
        place: whether a real board in a lab is tested every night

    """

    merge: tuple[str, ...] = ()
    nightly: tuple[str, ...] = ()
    place: bool = False


class Board(_Part):
    """A machine that OP-TEE runs on.

    Args:
        name: the file's name
        title: what people call it
        processor: LLVM's name of its cores, for which kernels are compiled
        boot_stages: stages of tzml_lab.consoles.boot_progress in the order in which a boot reaches them
        flashing: how an image gets onto a real board; None: there are no real ones
        partitions: for fastboot, in the order in which they are written

    """

    name: str
    title: str
    processor: str
    boot_stages: tuple[str, ...] = Field(min_length=1)
    secure_memory: MemoryProtection
    flashing: Literal["sd-card", "fastboot"] | None = None
    partitions: tuple[Partition, ...] = ()
    emulation: Emulation | None = None
    standin: StandInImage | None = None
    ci: Ci = Ci()


def read_board(path: Path) -> Board:
    """Read a descriptor. Raises TzmlError, which names the file and the field."""
    try:
        return Board.model_validate({"name": path.stem} | tomllib.loads(path.read_text()))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise TzmlError(f"{path}: {error}", "see docs/extending.md for what a board's descriptor says") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "descriptor"
        raise TzmlError(
            f"{path}: {place}: {first['msg']}", "see docs/extending.md for what a board's descriptor says"
        ) from error


@cache
def boards() -> dict[str, Board]:
    """All boards, by name. Raises TzmlError."""
    return {path.stem: read_board(path) for path in sorted(FOLDER.glob("*.toml"))}


def find_board(name: str) -> Board:
    """The board of that name. Raises TzmlError."""
    if name not in boards():
        raise TzmlError(
            f"there is no board {name}; known: {', '.join(boards())}", "docs/extending.md says how to add one"
        )
    return boards()[name]


def huk_warning(kind: str | None) -> str:
    """What people must know of sealed models on a machine; "" where its hardware unique key is its own secret.

    Args:
        kind: image.json's `huk`; None if it does not say, which is as good as no key

    """
    return HUK_WARNINGS.get(kind or "zero", HUK_WARNINGS["zero"])


def memory_warning(machine: str, protected: bool | None) -> str:
    """What people must know about secrets on a machine; "" where hardware protects OP-TEE's memory.

    Args:
        machine: its name in image.json
        protected: image.json's `secure_memory.protected`; None for results from before runs recorded it

    """
    board = boards().get(machine)
    if protected or (protected is None and board and board.secure_memory.protected):
        return ""
    if board and board.secure_memory.warning:
        return board.secure_memory.warning
    return (
        f"On {machine} nothing is known to protect OP-TEE's memory from the normal world. Use it to develop and to "
        "measure, not to keep secrets."
    )
