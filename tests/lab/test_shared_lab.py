"""A board in a shared lab with real coordinator, exporter and sshd: it is given back whatever happens."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tzml.boards import boards
from tzml_lab.environment import ROOT
from tzml_lab.failures import FailureClass
from tzml_lab.standin.loopback import LoopbackLab, missing
from tzml_lab.time_limits import scaled

from .conftest import Bench

pytestmark = [pytest.mark.bench, pytest.mark.skipif(bool(missing()), reason=missing())]
KINDS = [name for name, board in boards().items() if board.standin]


class SharedLab:
    """A lab with one board, and people who use it."""

    def __init__(self, bench: Bench, kind: str, results: Path) -> None:
        self.kind, self.results = kind, results
        self.standin = bench.standin
        self.lab = LoopbackLab(self.standin)
        self.started: list[subprocess.Popen[str]] = []

    def run(self, *options: str) -> subprocess.Popen[str]:
        """Start a run, as a user does."""
        variables = {name: value for name, value in os.environ.items() if name != "LG_PLACE"}
        variables |= self.lab.variables | {"LG_DEPLOY": str(self.standin.folder / "deploy")}
        command = [sys.executable, "-m", "pytest", "lab/test_flash.py", "-p", "no:cacheprovider"]
        command += ["--lg-env", f"{self.kind}-remote", "--results", str(self.results), *options]
        self.started.append(
            subprocess.Popen(
                command, cwd=ROOT, env=variables, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
            )
        )
        return self.started[-1]

    def finish(self, run: subprocess.Popen[str], status: int = 0) -> str:
        """Wait until the run ends with that status, and return its output."""
        said, _ = run.communicate(timeout=scaled(120))
        assert run.returncode == status, said
        return said

    @property
    def free(self) -> bool:
        """Nobody has the place, and the board is off."""
        return "acquired: None" in self.lab.client("-p", self.lab.place, "show") and not self.on

    @property
    def on(self) -> bool:
        return self.standin.ask("relay/1") == "1"

    def wait_until(self, condition: Callable[[], bool]) -> bool:
        deadline = time.monotonic() + scaled(60)
        while not condition() and time.monotonic() < deadline:
            time.sleep(0.2)
        return condition()


@pytest.fixture
def shared(bench: Callable[[str], Bench], tmp_path: Path) -> Iterator[Callable[[str], SharedLab]]:
    made: list[SharedLab] = []

    def make(kind: str) -> SharedLab:
        made.append(SharedLab(bench(f"{kind}-standin"), kind, tmp_path / "results"))
        made[-1].lab.start()
        return made[-1]

    yield make
    for one in made:
        for run in one.started:
            if run.poll() is None:
                run.kill()
            run.communicate()
        one.lab.stop()


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_takes_the_board_and_gives_it_back(shared: Callable[[str], SharedLab], kind: str) -> None:
    lab = shared(kind)
    assert "2 passed" in lab.finish(lab.run())
    assert lab.free


@pytest.mark.parametrize("name", ["SIGTERM", "SIGKILL"])
def test_a_run_that_is_ended_gives_the_board_back(
    shared: Callable[[str], SharedLab], edit: Callable[..., None], name: str
) -> None:
    edit(kernel_arguments="quiet slow ")
    lab = shared("rpi3")
    run = lab.run()
    assert lab.wait_until(lambda: lab.on)
    run.send_signal(signal.Signals[name])
    run.communicate(timeout=scaled(60))
    assert lab.wait_until(lambda: lab.free)


def test_a_board_that_somebody_has(shared: Callable[[str], SharedLab]) -> None:
    lab = shared("rpi3")
    lab.lab.client("-p", lab.lab.place, "acquire", LG_USERNAME="eve")
    said = lab.finish(lab.run("--place-wait", "3"), FailureClass.infrastructure.value)
    assert "infrastructure failure: no place with board=rpi3" in said
    # it is still hers
    assert "/eve" in lab.lab.client("-p", lab.lab.place, "show")
    # the next run waits for her
    run = lab.run()
    time.sleep(scaled(3))
    assert run.poll() is None
    lab.lab.client("-p", lab.lab.place, "release", LG_USERNAME="eve")
    assert "2 passed" in lab.finish(run)
    assert lab.free


@pytest.mark.parametrize("what", ["exporter", "coordinator"])
def test_a_lab_that_dies(shared: Callable[[str], SharedLab], edit: Callable[..., None], what: str) -> None:
    edit(kernel_arguments="quiet slow ")
    lab = shared("rpi3")
    run = lab.run()
    assert lab.wait_until(lambda: lab.on)
    lab.lab.end(what)
    said = lab.finish(run, FailureClass.infrastructure.value)
    assert re.search("infrastructure failure: on the way to state booted: the serial line is gone", said), said
    # systemd starts them again (docs/board-lab.md)
    getattr(lab.lab, f"start_{what}")()
