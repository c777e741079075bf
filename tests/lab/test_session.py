"""After a failure: failed tests run again, and a console to attach to."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest
from programs import run_module

from tzml_lab.environment import ROOT
from tzml_lab.session.console_server import ConsoleServer

CONFTEST = """
import pytest
from tzml_lab.session.rerun import RerunFailures

def pytest_configure(config):
    config.pluginmanager.register(RerunFailures(lambda: []))

@pytest.fixture(scope="session")
def machine():
    print("machine on")
    yield
    print("machine off")

@pytest.fixture(scope="module")
def answers(machine, tmp_path_factory):
    yield tmp_path_factory.getbasetemp().parent / "counter"
"""
TESTS = """
def count(path):
    with path.open("a") as file:
        file.write("x")
    return len(path.read_text())

def test_sound(answers): pass
def test_broken(answers): assert False
def test_flaky(answers, tmp_path_factory): assert count(tmp_path_factory.getbasetemp().parent / "flaky") > 1
"""


def run_again(folder: Path, tests: str) -> tuple[subprocess.CompletedProcess[str], dict[str, list[bool]]]:
    """Pytest with the plugin: what it said, and for each test whether it passed, in order."""
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "test_it.py").write_text(tests)
    options = ("-p", "no:cacheprovider", "-c", folder / "none.ini", "-s", f"--basetemp={folder / 'base' / 'temp'}")
    (folder / "base").mkdir()
    (folder / "none.ini").write_text("[pytest]\njunit_family = xunit1\n")
    done = run_module("pytest", folder, *options, f"--junitxml={folder / 'junit.xml'}", cwd=folder)
    cases = ElementTree.parse(folder / "junit.xml").getroot().iter("testcase")
    found: dict[str, list[bool]] = {}
    for case in cases:
        passes = found.setdefault(case.get("name", ""), [])
        again = any(one.get("name") == "rerun" for one in case.iter("property"))
        assert again == bool(passes)  # the reader tells them apart by this
        passes.append(case.find("failure") is None)
    return done, found


def test_failed_tests_run_again_at_the_end(tmp_path: Path) -> None:
    done, found = run_again(tmp_path, TESTS)
    assert found == {"test_sound": [True], "test_broken": [False, False], "test_flaky": [False, True]}
    assert done.returncode == pytest.ExitCode.TESTS_FAILED
    assert "test_it.py::test_flaky: flaky: passed when it was run again" in done.stdout
    assert "test_it.py::test_broken: failed when it was run again" in done.stdout
    assert done.stdout.count("machine on") == done.stdout.count("machine off") == 1  # of the session


def test_without_failures_nothing_runs_again(tmp_path: Path) -> None:
    done, found = run_again(tmp_path, "def test_sound(answers): pass\n")
    assert found == {"test_sound": [True]}
    assert done.returncode == 0
    assert done.stdout.count("machine off") == 1


@pytest.fixture
def console(tmp_path: Path) -> Iterator[tuple[Path, list[bytes]]]:
    """A console that echoes in capitals, in a folder whose path is longer than a socket's may be."""
    folder = tmp_path / ("long" * 30)
    folder.mkdir()
    typed: list[bytes] = []
    server = ConsoleServer(folder, typed.append)
    over = threading.Event()

    def serve() -> None:
        said = 0
        while not over.is_set():
            output = b"".join(typed[said:]).upper()
            said = len(typed)
            server.serve(output, b"last lines\r\n", 0.05)
        server.close()

    thread = threading.Thread(target=serve)
    thread.start()
    yield folder, typed
    over.set()
    thread.join()


def attached(folder: Path, text: str) -> subprocess.CompletedProcess[str]:
    program = (
        "import pathlib, sys; from tzml_lab.session.console_server import attach; attach(pathlib.Path(sys.argv[1]))"
    )
    command = [sys.executable, "-c", program, str(folder)]
    return subprocess.run(command, input=text, capture_output=True, text=True, timeout=60, check=False, cwd=ROOT)


def test_a_console_can_be_attached_to_more_than_once(console: tuple[Path, list[bytes]]) -> None:
    folder, typed = console
    for _ in range(2):
        done = attached(folder, "hello\n")
        assert (done.returncode, done.stdout) == (0, "last lines\nHELLO\n"), done.stderr
    assert b"".join(typed) == b"hello\n" * 2


def test_what_follows_the_key_that_leaves_is_not_typed(console: tuple[Path, list[bytes]]) -> None:
    folder, typed = console
    assert attached(folder, "a\x1db").returncode == 0
    assert b"".join(typed) == b"a"


def test_there_is_nothing_to_attach_to(tmp_path: Path) -> None:
    done = run_module("tzml", "lab", "attach", tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(f"tzml: no machine is kept in {tmp_path}; keep one with pytest lab")
