"""Time limits: for calls that have none of their own, and scaled for slow machines.

LG_TIME_SCALE=3 makes every time limit of the lab three times as long.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from tzml_lab.failures import FailureClass, TargetError

VARIABLE = "LG_TIME_SCALE"


def scaled(seconds: float) -> float:
    """A time limit scaled for this machine. Raises ValueError when LG_TIME_SCALE is not a positive number."""
    text = os.environ.get(VARIABLE, "1")
    try:
        factor = float(text)
    except ValueError:
        factor = 0
    if not 0 < factor < float("inf"):
        raise ValueError(f"{VARIABLE} is {text!r}; it must be a positive number, such as 3")
    return seconds * factor


@contextmanager
def time_limit(seconds: float, what: str, kind: FailureClass = FailureClass.infrastructure) -> Iterator[None]:
    """Raise TargetError when the block takes too long, and end the programs that it started.

    It works only in the main thread, which pytest and labgrid use. Limits do not nest. Seconds are scaled.
    """
    limit = scaled(seconds)
    before = _children()
    expired = False

    def expire(number: int, frame: FrameType | None) -> None:
        nonlocal expired
        expired = True
        raise TargetError(kind, f"{what}: no end after {limit:.0f} s")

    previous = signal.signal(signal.SIGALRM, expire)
    signal.setitimer(signal.ITIMER_REAL, limit)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for pid in _children() - before if expired else ():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        signal.signal(signal.SIGALRM, previous)


def _children() -> set[int]:
    """The running child processes of this process."""
    found: set[int] = set()
    for path in Path("/proc/self/task").glob("*/children"):
        with suppress(OSError):
            found.update(map(int, path.read_text().split()))
    return found
