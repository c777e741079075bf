"""ci/with-place.sh with a real coordinator and exporter: however a job ends, the board is off and free."""

from __future__ import annotations

import http.server
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from labgrid.util.helper import get_free_port

from tzml_lab.environment import ROOT
from tzml_lab.timescale import scaled

BIN = Path(sys.executable).parent


class PowerSwitch(http.server.BaseHTTPRequestHandler):
    """What labgrid's `simplerest` power switches do: GET /1 is on, GET /0 is off."""

    is_on = False

    def do_GET(self) -> None:  # noqa: N802 (http.server calls it so)
        if self.path != "/":
            type(self).is_on = self.path == "/1"
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"1" if self.is_on else b"0")

    def log_message(self, *_: object) -> None:
        pass


class Lab:
    """A coordinator and an exporter with the place `pi-1`, which has the tag board=rpi3.

    Args:
        folder: where they keep their state

    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.switch = http.server.HTTPServer(("127.0.0.1", 0), PowerSwitch)
        threading.Thread(target=self.switch.serve_forever, daemon=True).start()
        address = f"127.0.0.1:{get_free_port()}"
        self.environment = os.environ | {
            "LG_COORDINATOR": address, "TZML_PLACE_FILE": str(folder / "ci-place"), "LAB_WAIT": str(scaled(30)),
        }  # fmt: skip
        exported = folder / "exporter.yaml"
        exported.write_text(
            "pi-1-resources:\n  NetworkPowerPort:\n    model: simplerest\n    index: 0\n"
            f"    host: 'http://127.0.0.1:{self.switch.server_port}/{{value}}'\n"
        )
        self.programs = [self._start("labgrid-coordinator", "--listen", address)]
        self._await("places")
        self.programs.append(self._start("labgrid-exporter", "--name", "desk", str(exported)))
        self.client("-p", "pi-1", "create")
        self.client("-p", "pi-1", "set-tags", "board=rpi3")
        self.client("-p", "pi-1", "add-match", "desk/pi-1-resources/*")

    def _start(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{program}.log").open("wb") as log:
            command = ["setpriv", "--pdeathsig", "KILL", "--", str(BIN / program), *arguments]
            return subprocess.Popen(command, cwd=self.folder, env=self.environment, stdout=log, stderr=log)

    def _await(self, *arguments: str) -> None:
        deadline = time.monotonic() + scaled(60)
        while subprocess.run([BIN / "labgrid-client", *arguments], env=self.environment, capture_output=True,
                             check=False).returncode:  # fmt: skip
            assert time.monotonic() < deadline, "the coordinator does not answer"

    def client(self, *arguments: str) -> str:
        """What labgrid-client prints."""
        command = [BIN / "labgrid-client", *arguments]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def job(self, *arguments: str) -> subprocess.Popen[str]:
        """A CI job that wants a place."""
        command = [str(ROOT / "ci/with-place.sh"), *arguments]
        return subprocess.Popen(command, env=self.environment, text=True, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT)  # fmt: skip

    def is_free(self) -> bool:
        """Whether nobody has the place or waits for it, and the board is off."""
        free = "acquired: None" in self.client("-p", "pi-1", "show")
        return free and not self.client("reservations").strip() and not PowerSwitch.is_on

    def stop(self) -> None:
        for program in reversed(self.programs):
            program.terminate()
            program.wait(timeout=scaled(30))
        self.switch.shutdown()


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    found = Lab(tmp_path_factory.mktemp("coordinator"))
    yield found
    found.stop()


@pytest.fixture
def running(lab: Lab, tmp_path: Path) -> subprocess.Popen[str]:
    """A job that has its board, switched on, and works for long."""
    power_on = f"{BIN}/labgrid-client -p $LG_PLACE power on"
    job = lab.job("board=rpi3", "--", "sh", "-c", f"{power_on} && touch {tmp_path}/ready && exec sleep 600")
    deadline = time.monotonic() + scaled(120)
    while not (tmp_path / "ready").exists():
        assert job.poll() is None, job.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert PowerSwitch.is_on
    return job


def test_a_job_has_the_place_to_itself_and_gives_it_back(lab):
    report = "echo place $LG_PLACE; labgrid-client -p $LG_PLACE show | grep acquired:; exit 7"
    job = lab.job("board=rpi3", "--", "sh", "-c", report.replace("labgrid-client", f"{BIN}/labgrid-client"))
    printed = job.communicate(timeout=scaled(120))[0]
    assert "place pi-1\n" in printed
    assert f"acquired: {os.uname().nodename}/" in printed
    assert job.returncode == 7
    assert lab.is_free()


def test_a_job_that_is_cancelled_powers_off_and_unlocks(lab, running):
    running.send_signal(signal.SIGTERM)
    running.communicate(timeout=scaled(60))
    assert running.returncode == 143
    assert lab.is_free()


def test_after_a_job_that_was_killed_the_next_one_cleans_up(lab, running):
    running.kill()
    running.wait(timeout=scaled(60))
    assert not lab.is_free()
    done = subprocess.run([ROOT / "ci/release-place.sh"], env=lab.environment, check=False)
    assert done.returncode == 0
    assert lab.is_free()


def test_no_board_of_that_kind_is_a_failure_of_the_infrastructure(lab):
    lab.environment["LAB_WAIT"] = "3"
    job = lab.job("board=unheard-of", "--", "true")
    printed = job.communicate(timeout=scaled(60))[0]
    assert job.returncode == 11
    assert "no place with board=unheard-of could be had within 3 s" in printed
    assert lab.is_free()


def test_without_a_command_it_says_how_it_is_used(lab):
    job = lab.job("board=rpi3")
    assert "ci/with-place.sh board=rpi3 -- " in job.communicate(timeout=scaled(60))[0]
    assert job.returncode == 2
