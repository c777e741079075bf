"""Run failed tests again at the end of a run, on a machine that was started anew, to find out which are flaky."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from tzml_lab.drivers.strategy import TrustZoneStrategy


class RerunFailures:
    """A pytest plugin. A test that fails and then passes counts as failed, and its second outcome is recorded.

    junit.xml has a second element for it, with the property `rerun`. Nothing is run again after a boot that failed.

    Args:
        strategies: finds those of the targets in use

    """

    def __init__(self, strategies: Callable[[], Sequence[TrustZoneStrategy]]) -> None:
        self._strategies = strategies
        self._failed: set[str] = set()
        self._again: dict[str, bool] = {}
        self._running_again = False

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
        """Run the last test without closing the session's fixtures, and then the failed ones."""
        if nextitem is not None or self._running_again:
            return None
        self._running_again = True
        protocol = item.config.hook.pytest_runtest_protocol
        # with the session as what comes next, only its own fixtures are left as they are
        protocol(item=item, nextitem=item.session)
        failed = [one for one in item.session.items if one.nodeid in self._failed]
        if any(strategy.broken for strategy in self._strategies()) or item.session.shouldfail:
            failed = []
        for strategy in self._strategies() if failed else ():
            strategy.suspect("failed tests run again")
        item.session.items = failed  # of which xtest takes those of its cases that it has to run
        for one, following in zip(failed, [*failed, item.session][1:], strict=True):
            one.user_properties[:] = [("rerun", "1")]
            self._again[one.nodeid] = True
            protocol(item=one, nextitem=following)
        return True  # pytest closes the session's fixtures when it ends

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note what fails."""
        if not report.failed:
            return
        if report.nodeid in self._again:
            self._again[report.nodeid] = False
        else:
            self._failed.add(report.nodeid)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say which are flaky."""
        for test, passed in self._again.items():
            terminalreporter.line(f"{test}: {'flaky: passed' if passed else 'failed'} when it was run again")
