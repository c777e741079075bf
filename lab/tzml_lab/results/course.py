"""How far a run comes, how long it takes, and how busy its host is meanwhile."""

from __future__ import annotations

import os
import time

from tzml.results.run import Course


class CourseRecorder:
    """A pytest plugin that counts the tests that end. Register it when the tests are selected.

    Args:
        selected: how many tests were selected

    """

    def __init__(self, selected: int) -> None:
        self.selected = selected
        self._ended: set[str] = set()
        self._start = time.monotonic()
        self._load = os.getloadavg()[0]

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """Pytest calls this after a test's teardown, but not if the run is interrupted in the test."""
        self._ended.add(nodeid)

    def course(self) -> Course:
        """The course of the run until now."""
        return Course(
            selected=self.selected,
            ended=len(self._ended),
            seconds=round(time.monotonic() - self._start, 1),
            load_before=round(self._load, 2),
            load_after=round(os.getloadavg()[0], 2),
        )
