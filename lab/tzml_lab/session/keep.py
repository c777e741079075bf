"""Keep the machine after a failure, so that a person can look at it."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from labgrid.binding import BindingState

from tzml_lab.consoles.lines import Speaker
from tzml_lab.drivers.ssh import ConsoleTrustSSHDriver
from tzml_lab.drivers.strategy import Status, TrustZoneStrategy
from tzml_lab.failures import last_lines
from tzml_lab.session.console_server import ConsoleServer

_GONE = ("machine-ended", "line-lost")


class KeepAfterFailure:
    """A pytest plugin that stops a run at its first failure, with the machine as it is, until a person lets it go.

    Args:
        strategies: finds those of the targets in use
        folder: the run's folder, where the console's socket is made
        minutes: how long the machine is kept at most

    """

    def __init__(self, strategies: Callable[[], Sequence[TrustZoneStrategy]], folder: Path, minutes: float) -> None:
        self._strategies = strategies
        self._folder = folder
        self._minutes = minutes

    def pytest_exception_interact(self, node: pytest.Item | pytest.Collector) -> None:
        """Pytest calls this after a phase of a test failed, before fixtures are torn down."""
        if not isinstance(node, pytest.Item) or node.session.shouldfail:
            return
        running = [one for one in self._strategies() if one.status > Status.off or one.broken]
        for strategy in running[:1]:
            with node.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
                self._keep(node.nodeid, strategy)
            # what a person did to it is not a test's business
            node.session.shouldfail = "the machine was kept for a person, who may have changed it"

    def _keep(self, test: str, strategy: TrustZoneStrategy) -> None:
        fault = strategy.record.progress.fault
        if fault and fault.kind in _GONE:
            print(f"\n{test} failed, and there is nothing to keep: {fault.what}", flush=True)
            return
        server = ConsoleServer(self._folder, strategy.console.transmit)
        print(_notice(test, strategy, self._folder, self._minutes), flush=True)
        deadline = time.monotonic() + self._minutes * 60
        why = f"{self._minutes:g} minutes are over"
        try:
            while time.monotonic() < deadline:
                if (fault := strategy.record.progress.fault) and fault.kind in _GONE:
                    why = fault.what
                    break
                output = strategy.record.take(Speaker.normal, 1 << 16, 0)
                greeting = f"{last_lines(strategy.record)}\n".replace("\n", "\r\n")
                server.serve(output, greeting.encode(), 0.05)
        except KeyboardInterrupt:
            why = "it was let go"
        finally:
            server.close()
        print(f"\nthe machine is switched off: {why}", flush=True)


def _notice(test: str, strategy: TrustZoneStrategy, folder: Path, minutes: float) -> str:
    """What a person must know."""
    lines = {
        "console": f"tzml lab attach {shlex.quote(os.path.relpath(folder))}",
        "logs": str(folder / "consoles.log"),
    }
    for driver in strategy.target.drivers:
        if isinstance(driver, ConsoleTrustSSHDriver) and driver.state is BindingState.active:
            lines["ssh"] = shlex.join(driver.command_line("")[:-2])
    lines["let it go"] = "Ctrl-C"
    shown = "\n".join(f"  {name + ':':11}{value}" for name, value in lines.items())
    return f"\n{test} failed. The machine is kept as it is for {minutes:g} minutes at most:\n{shown}"
