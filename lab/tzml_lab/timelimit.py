"""A limit for calls that have none of their own: power switches, programs that wait for a device."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from tzml_lab.failures import FailureClass, TargetError
from tzml_lab.timescale import scaled


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
