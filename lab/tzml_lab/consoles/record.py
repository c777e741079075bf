"""A record of both consoles since power-on, with one clock.

A thread that reads the consoles feeds it (pumps.py). Drivers, the strategy and reports read it. It does not depend
on labgrid.
"""

from __future__ import annotations

import re
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from tzml_lab.consoles.boot_progress import BootProgress, Fault
from tzml_lab.consoles.lines import Line, Speaker

# What people do not want in a log: window titles and the like (up to BEL or ST), colours and cursor movements,
# single escapes, other control characters (ECMA-48)
_ESCAPES = re.compile(
    r"\x1b[\]P^_X][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b\[[0-?]*[ -/]*[@-~]|\x1b[ -/]*[0-~]|[\x00-\x08\x0b-\x1f\x7f]"
)
# bytes that no firmware, kernel or shell sends
_NO_TEXT = re.compile(r"[\x01-\x06\x0e-\x1a\x1c-\x1f\x7f-\x9f\ufffd]")
_KEPT_LINES = 500
_KEPT_BYTES = 4 << 20
# A line that does not end is cut here, because it is looked at again whenever more of it comes.
_LONGEST_LINE = 4096
# A line that has not ended is only looked at while it is short enough for a prompt. Files come in pieces of a few
# bytes, and a reader that is too slow stops the machine.
_LONGEST_PROMPT = 256
# one log for each world, and one with all lines in the order in which they came
LOGS = ("console-normal", "console-secure", "consoles")
# A panic takes many lines: it is reported this many seconds after the first of them.
_SETTLED = 1.5


@dataclass
class _Console:
    """One console: bytes that expect() has not read yet (`unread`), and the line that has not ended (`open`)."""

    unread: bytearray = field(default_factory=bytearray)
    open: bytearray = field(default_factory=bytearray)
    opened: float = 0.0
    heard: float = field(default_factory=time.monotonic)
    amount: int = 0
    noise: int = 0
    lines: deque[Line] = field(default_factory=lambda: deque(maxlen=_KEPT_LINES))


class ConsoleRecord:
    """Both consoles of a target over all its power cycles. Its methods are thread-safe.

    Args:
        folder: where the logs are written; None keeps the record in memory only

    """

    def __init__(self, folder: Path | None = None) -> None:
        self.progress = BootProgress()
        self.cycle = 0
        self._folder = folder
        self._changed = threading.Condition()
        self._consoles = {speaker: _Console() for speaker in Speaker}
        self._start = time.monotonic()
        self._logs: dict[Speaker, list[TextIO]] = {}

    def power_on(self) -> None:
        """Start the clock: a new power cycle begins."""
        with self._changed:
            self._flush()
            self.cycle += 1
            self.progress = BootProgress()
            self._consoles = {speaker: _Console() for speaker in Speaker}
            self._start = time.monotonic()
            self._open_logs()

    def _open_logs(self) -> None:
        if not self._folder:
            return
        files = {name: (self._folder / f"{name}.log").open("a", encoding="utf-8") for name in LOGS}
        self._logs = {speaker: [files[f"console-{speaker.name}"], files["consoles"]] for speaker in Speaker}
        now = datetime.now(UTC).isoformat(timespec="seconds")
        for file in files.values():
            print(f"# power-on {self.cycle}, {now}", file=file, flush=True)

    def close(self) -> None:
        """Write the lines that have not ended, and close the logs."""
        with self._changed:
            self._flush()
            for log in {log for logs in self._logs.values() for log in logs}:
                log.close()
            self._logs = {}

    def feed(self, speaker: Speaker, data: bytes) -> None:
        """Add bytes that just came from that console."""
        with self._changed:
            console = self._consoles[speaker]
            console.heard = now = time.monotonic()
            console.amount += len(data)
            console.noise += len(_NO_TEXT.findall(data.decode("utf-8", "replace")))
            console.unread += data
            del console.unread[:-_KEPT_BYTES]
            for piece in data.splitlines(keepends=True):
                if not console.open:
                    console.opened = now - self._start
                console.open += piece
                if piece.endswith(b"\n") or len(console.open) > _LONGEST_LINE:
                    self._end_line(speaker)
            if 0 < len(console.open) < _LONGEST_PROMPT:
                self.progress.see(_line(console, speaker), ended=False)
            self._changed.notify_all()

    def report(self, fault: Fault) -> None:
        """Report a fault that no console shows, such as the end of the machine. The first fault stays."""
        with self._changed:
            self.progress.report(fault)
            self._changed.notify_all()

    def _end_line(self, speaker: Speaker) -> None:
        console = self._consoles[speaker]
        line = _line(console, speaker)
        console.open.clear()
        console.lines.append(line)
        self.progress.see(line)
        for log in self._logs.get(speaker, ()):
            print(line, file=log, flush=True)

    def _flush(self) -> None:
        for speaker, console in self._consoles.items():
            if console.open:
                self._end_line(speaker)

    @property
    def seconds(self) -> float:
        """Seconds since power-on."""
        return time.monotonic() - self._start

    @property
    def heard(self) -> int:
        """Bytes since power-on, on both consoles."""
        return sum(console.amount for console in self._consoles.values())

    @property
    def noise(self) -> float:
        """The share of bytes that are not text. If it is large, the serial line or its baud rate is at fault."""
        return sum(console.noise for console in self._consoles.values()) / max(self.heard, 1)

    def silent_for(self, speaker: Speaker) -> float:
        """Seconds since that console said something."""
        return time.monotonic() - self._consoles[speaker].heard

    @property
    def fault(self) -> Fault | None:
        """What ended this power cycle, once all lines about it had time to come."""
        found = self.progress.fault
        return found if found and self.seconds - found.seconds >= _SETTLED else None

    def wait(self, done: Callable[[], bool], seconds: float) -> bool:
        """Wait until `done` is true, there is a fault, or the time is over. Returns whether it is done."""
        deadline = time.monotonic() + seconds
        with self._changed:
            while not done():
                remaining = deadline - time.monotonic()
                if remaining <= 0 or self.fault:
                    return False
                self._changed.wait(min(remaining, 0.2))
        return True

    def take(self, speaker: Speaker, limit: int, seconds: float) -> bytes:
        """Bytes that nobody has taken yet. Empty if none come in that time or there is a fault."""
        console = self._consoles[speaker]
        self.wait(lambda: bool(console.unread), seconds)
        with self._changed:
            data = bytes(console.unread[:limit])
            del console.unread[:limit]
        return data

    def lines(self, speaker: Speaker) -> list[Line]:
        """The last few hundred lines, including the one that has not ended."""
        with self._changed:
            console = self._consoles[speaker]
            return [*console.lines, *([_line(console, speaker)] if console.open else [])]

    def tail(self, speaker: Speaker, count: int = 12) -> list[str]:
        """The last non-empty lines, as in the log."""
        return [str(line) for line in self.lines(speaker) if line.text][-count:]


def _line(console: _Console, speaker: Speaker) -> Line:
    text = console.open.decode("utf-8", "replace").rstrip("\r\n")
    return Line(console.opened, speaker, _ESCAPES.sub("", text.expandtabs()).rstrip(" "))
