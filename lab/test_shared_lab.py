"""A shared lab, with a real coordinator and exporter: CI's job for a board, and `tzml lab doctor`."""

from __future__ import annotations

import http.server
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tzml_lab.environment import ROOT
from tzml_lab.processes import WITH_PARENT, free_port
from tzml_lab.time_limits import scaled

BIN = Path(sys.executable).parent


class SimpleRestSwitch(http.server.BaseHTTPRequestHandler):
    """What labgrid's `simplerest` power switches do: GET /1 is on, GET /0 is off."""

    is_on = False

    def do_GET(self) -> None:
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
        self.switch = http.server.HTTPServer(("127.0.0.1", 0), SimpleRestSwitch)
        threading.Thread(target=self.switch.serve_forever, daemon=True).start()
        address = f"127.0.0.1:{free_port()}"
        self.environment = os.environ | {"LG_COORDINATOR": address}
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
            command = [*WITH_PARENT, str(BIN / program), *arguments]
            return subprocess.Popen(command, cwd=self.folder, env=self.environment, stdout=log, stderr=log)

    def _await(self, *arguments: str) -> None:
        deadline = time.monotonic() + scaled(60)
        while subprocess.run([BIN / "labgrid-client", *arguments], env=self.environment, capture_output=True,
                             check=False).returncode:  # fmt: skip
            assert time.monotonic() < deadline, "the coordinator does not answer"

    def client(self, *arguments: str) -> str:
        """What labgrid-client prints."""
        command = [str(BIN / "labgrid-client"), *arguments]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def job(self, script: str) -> subprocess.Popen[str]:
        """Start CI's job for the board, with this shell script in place of the tests."""
        path = self.folder / "job"
        path.write_text(f"#!/bin/sh\nPATH={BIN}:$PATH\n{script}\n")
        path.chmod(0o755)
        command = [str(ROOT / "ci/board.sh"), "rpi3"]
        return subprocess.Popen(command, env=self.environment | {"BOARD_JOB": str(path)}, text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT)  # fmt: skip

    def is_free(self) -> bool:
        """Whether nobody has the place or waits for it, and the board is off."""
        free = "acquired: None" in self.client("-p", "pi-1", "show")
        return free and not self.client("reservations").strip() and not SimpleRestSwitch.is_on

    def stop(self) -> None:
        for program in reversed(self.programs):
            program.terminate()
            program.wait(timeout=scaled(30))
        self.switch.shutdown()


@pytest.fixture(scope="module")
def lab(env: object, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A lab for these tests. It needs no target, but takes a minute, so it runs only with one."""
    found = Lab(tmp_path_factory.mktemp("coordinator"))
    yield found
    found.stop()


TAKE = "labgrid-client reserve board=rpi3 && labgrid-client -p pi-1 lock && labgrid-client -p pi-1 power on"


@pytest.fixture
def running(lab: Lab, tmp_path: Path) -> subprocess.Popen[str]:
    """A long job that has its board, which is on."""
    job = lab.job(f"{TAKE} && touch {tmp_path}/ready && exec sleep 600")
    deadline = time.monotonic() + scaled(120)
    while not (tmp_path / "ready").exists():
        assert job.poll() is None, job.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert SimpleRestSwitch.is_on
    assert not lab.is_free()
    return job


def test_what_a_job_leaves_behind_is_given_back(lab: Lab) -> None:
    job = lab.job(f"{TAKE}; exit 7")
    printed = job.communicate(timeout=scaled(120))[0]
    assert "ci-rpi3 still holds pi-1" in printed
    assert job.returncode == 7
    assert lab.is_free()


def test_a_job_that_is_cancelled_powers_off_and_unlocks(lab: Lab, running: subprocess.Popen[str]) -> None:
    running.send_signal(signal.SIGTERM)
    running.communicate(timeout=scaled(60))
    assert running.returncode == 143
    assert lab.is_free()


def test_after_a_job_that_was_killed_the_next_one_cleans_up(lab: Lab, running: subprocess.Popen[str]) -> None:
    running.kill()
    running.wait(timeout=scaled(60))
    assert not lab.is_free()
    job = lab.job("echo $1; labgrid-client -p pi-1 show | grep acquired")
    printed = job.communicate(timeout=scaled(120))[0]
    assert "rpi3-remote\n" in printed
    assert "acquired: None" in printed
    assert job.returncode == 0
    assert lab.is_free()


def test_places_of_people_are_left_alone(lab: Lab) -> None:
    lab.client("-p", "pi-1", "lock")
    try:
        job = lab.job("true")
        assert job.wait(timeout=scaled(60)) == 0
        assert not lab.is_free()
    finally:
        lab.client("-p", "pi-1", "unlock")


def test_without_a_coordinator_it_is_a_failure_of_the_infrastructure(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(lab.environment, "LG_COORDINATOR", f"127.0.0.1:{free_port()}")
    assert lab.job("true").wait(timeout=scaled(60)) == 11


REMOTE = """
targets:
  main:
    resources:
      - RemotePlace: {name: ''}
    drivers: {}
options:
  place: {board: BOARD}
paths: {deploy: nowhere}
"""


def doctor(lab: Lab, board: str) -> dict[str, dict[str, object]]:
    path = lab.folder / "remote.yaml"
    path.write_text(REMOTE.replace("BOARD", board))
    command = [str(BIN / "tzml"), "lab", "doctor", str(path), "--json"]
    done = subprocess.run(command, env=lab.environment, capture_output=True, text=True, check=False)
    return {check["what"]: check for check in json.loads(done.stdout)}


def test_doctor_finds_a_place_and_who_has_it(lab: Lab) -> None:
    found = doctor(lab, "rpi3")
    assert found["coordinator"]["ok"]
    assert found["place board=rpi3"]["ok"]
    assert found["place pi-1 is free"]["ok"]
    assert found["place pi-1 has resources"]["ok"]
    lab.client("-p", "pi-1", "lock")
    try:
        held = doctor(lab, "rpi3")["place pi-1 is free"]
    finally:
        lab.client("-p", "pi-1", "unlock")
    assert not held["ok"]
    assert not held["needed"]  # it will be free some time
    assert str(held["found"]).startswith("held by ")


def test_doctor_knows_that_no_place_fits(lab: Lab) -> None:
    found = doctor(lab, "toaster")["place board=toaster"]
    assert not found["ok"]
    assert found["found"] == "the coordinator has: pi-1"
    assert "labgrid-client -p NAME create" in str(found["remedy"])
