"""Faults that tests cause on purpose: broken firmware, a full disk, a board that fails while it works."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from tzml_lab.failures import TargetError
from tzml_lab.target import Commands
from tzml_lab.time_limits import scaled

# It runs after OP-TEE has set up its console and before it starts the normal world.
_LATE_FUNCTION = "boot_init_primary_final"
# files on the target, on the file system that is to be filled
_FILL, _REST = "/root/fill", "/root/rest"


# pytest's fixture record_property: takes names and values
RecordProperty = Callable[[str, object], None]


class ExpectedFailure:
    """Waits for a TargetError, and notes how long it took and what it said; `error` has it afterwards.

    Args:
        budget: seconds on a quiet machine, until then it must come
        note: pytest's fixture record_property

    """

    error: TargetError

    def __init__(self, budget: float, note: RecordProperty) -> None:
        self.budget = scaled(budget)
        self.note = note

    def __enter__(self) -> ExpectedFailure:
        self.start = time.monotonic()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        seconds = time.monotonic() - self.start
        assert isinstance(error, TargetError), f"{error!r} instead of a TargetError"
        self.note("seconds_until_failure", round(seconds, 1))
        self.note("failure", error.summary)
        assert seconds < self.budget
        self.error = error
        return True


def in_background(action: Callable[[], object], when: Callable[[], object], limit: float = 60) -> threading.Thread:
    """Run `action` in a thread as soon as `when` is true, or after `limit` seconds on a quiet machine."""

    def wait() -> None:
        deadline = time.monotonic() + scaled(limit)
        while not when() and time.monotonic() < deadline:
            time.sleep(0.05)
        action()

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


def without_optee_init(firmware: bytes, tee_elf: Path) -> bytes:
    """Overwrite the last function that OP-TEE runs at its start with zeros, which are not valid instructions.

    Args:
        firmware: what the machine boots, with OP-TEE in it
        tee_elf: the same OP-TEE as an ELF file with symbols

    """
    with tee_elf.open("rb") as stream:
        elf = ELFFile(stream)
        symbols = elf.get_section_by_name(".symtab")
        found = symbols.get_symbol_by_name(_LATE_FUNCTION) if isinstance(symbols, SymbolTableSection) else None
        if not found:
            raise ValueError(f"{tee_elf} has no {_LATE_FUNCTION}")
        symbol = found[0]
        section = elf.get_section(symbol["st_shndx"])
        start, size = symbol["st_value"] - section["sh_addr"], symbol["st_size"]
        code = section.data()[start : start + size]
    if firmware.count(code) != 1:
        raise ValueError(f"{tee_elf} is not the OP-TEE in the firmware: {_LATE_FUNCTION} differs")
    return firmware.replace(code, bytes(size))


@contextmanager
def full_disk(command: Commands) -> Iterator[None]:
    """Fill the target's disk for the duration of the block."""
    # fallocate takes all the space before it fails, and writes nothing
    command.run(f"fallocate -l 1T {_FILL}; dd if=/dev/zero of={_REST} bs=4k; sync", timeout=scaled(120))
    try:
        yield
    finally:
        command.run_check(f"rm -f {_FILL} {_REST}")
