"""Failures of a target: what kind it was, where it stopped, and the last lines of the consoles."""

from __future__ import annotations

import enum

from pexpect import TIMEOUT

from tzml_lab.consoles.lines import Speaker
from tzml_lab.consoles.record import ConsoleRecord


class FailureClass(enum.Enum):
    """Whose problem a failure is, the most urgent first. The value is pytest's exit status."""

    build = 10  # there is no image, or it is not what was built
    infrastructure = 11  # the lab's own machinery failed
    flash = 12  # the image cannot be written to the board
    boot = 13  # the image does not boot
    test = 1  # the target or its answer failed a test; this is pytest's own status for failed tests
    regression = 14  # it works, but is worse than before: `tzml results check`


class TargetError(Exception):
    """The target cannot do what was asked of it.

    Args:
        kind: whose problem it is
        what: what happened, in one line
        state: the strategy's state that was to be reached
        record: the consoles, whose last lines are part of the message

    """

    def __init__(
        self, kind: FailureClass, what: str, *, state: str = "", record: ConsoleRecord | None = None
    ) -> None:
        self.kind = kind
        self.state = state
        self.what = what
        self.consoles = last_lines(record) if record else ""
        super().__init__(str(self))

    @property
    def summary(self) -> str:
        """One line."""
        where = f"on the way to state {self.state}: " if self.state else ""
        return f"{self.kind.name} failure: {where}{self.what}"

    def __str__(self) -> str:
        return f"{self.summary}\n{self.consoles}".rstrip()


def last_lines(record: ConsoleRecord, count: int = 12) -> str:
    """The last lines of both consoles."""
    parts = []
    for speaker in Speaker:
        parts.append(f"last lines of the {speaker.name} world's console:")
        parts += [f"  {line}" for line in record.tail(speaker, count) or ["(nothing)"]]
    return "\n".join(parts)


def fault_of(record: ConsoleRecord) -> TargetError | None:
    """The error for the fault that the consoles show, if there is one."""
    fault = record.fault
    if not fault:
        return None
    if fault.kind in ("machine-ended", "line-lost"):
        kind = FailureClass.infrastructure
    elif "login" in record.progress.reached:
        kind = FailureClass.test
    else:
        kind = FailureClass.boot
    return TargetError(kind, f"{fault.what}, {fault.seconds:.1f} s after power-on", record=record)


def take_or_fail(record: ConsoleRecord, speaker: Speaker, limit: int, timeout: float) -> bytes:
    """Bytes of that console. Raises pexpect's TIMEOUT, or TargetError when the machine cannot go on."""
    data = record.take(speaker, limit, timeout)
    if data:
        return data
    raise fault_of(record) or TIMEOUT(f"no output of the {speaker.name} world within {timeout:.1f} s")
