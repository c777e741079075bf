"""Time limits: for calls that have none of their own, and longer ones on slow machines.

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
    """A time limit on this machine. Raises ValueError when the variable is no positive number."""
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
    """Raise TargetError in the block when it takes too long, and end the programs that it started.

    Works in the main thread only, where pytest and labgrid are; limits do not nest. Seconds are scaled.
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
    """The processes that this one started and that have not ended."""
    found: set[int] = set()
    for path in Path("/proc/self/task").glob("*/children"):
        with suppress(OSError):
            found.update(map(int, path.read_text().split()))
    return found
