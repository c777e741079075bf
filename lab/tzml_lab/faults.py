"""What tests need that break things on purpose."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType

from tzml_lab.failures import TargetError
from tzml_lab.timescale import scaled


class Verdict:
    """Waits for a TargetError, and notes how long it took and what it said; `error` has it afterwards.

    Args:
        budget: seconds on a quiet machine, until then it must come
        note: takes names and values: pytest's fixture record_property

    """

    error: TargetError

    def __init__(self, budget: float, note: Callable[[str, object], None]) -> None:
        self.budget = scaled(budget)
        self.note = note

    def __enter__(self) -> Verdict:
        self.start = time.monotonic()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        seconds = time.monotonic() - self.start
        assert isinstance(error, TargetError), f"{error!r} instead of a TargetError"
        self.note("seconds_until_verdict", round(seconds, 1))
        self.note("verdict", error.summary)
        assert seconds < self.budget
        self.error = error
        return True


def in_background(action: Callable[[], object], when: Callable[[], object], limit: float = 60) -> threading.Thread:
    """Do something as soon as something else is so, or that many seconds have passed."""

    def wait() -> None:
        deadline = time.monotonic() + scaled(limit)
        while not when() and time.monotonic() < deadline:
            time.sleep(0.05)
        action()

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread
