"""Two runs in one build folder do not change what the other builds: they wait for each other, and say so."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import tzmlreservation
from conftest import ROOT
from tzmldebian import host

from .conftest import ENGINE, LAYER, Says

KAS_SCRIPT = """\
import subprocess, sys
reserved = subprocess.run([sys.executable, {reserve!r}, {build!r}, str(__import__("os").getpid())],
                          stdout=subprocess.PIPE, text=True, check=True).stdout
print(reserved.replace("\\n", " "), flush=True)
sys.stdin.read()
"""
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def kas(tmp_path: Path) -> Iterator[Start]:
    """Start a program called kas that reserves the folder, prints what it got, and ends when its input does."""
    tmp_path.joinpath("bin").mkdir()
    script = tmp_path / "bin/kas"
    script.write_text(KAS_SCRIPT.format(reserve=str(ENGINE / "reserve"), build=str(tmp_path)))
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        command = [sys.executable, str(script), *arguments]
        started.append(subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True))
        return started[-1]

    yield start
    for process in started:
        process.communicate(timeout=60)


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline().strip()


def test_a_second_run_waits_for_the_first_and_says_so(kas: Start, tmp_path: Path) -> None:
    first = kas("build", "kas/qemu.yml")
    assert line(first) == f"TZML_BUILD_HOLDER={first.pid} TZML_BUILD_WAITED="
    second = kas("build", "kas/rpi3.yml")
    assert second.stderr
    said = second.stderr.readline()
    assert said.startswith(
        f"kas: {tmp_path} is in use by `kas build kas/qemu.yml` (process {first.pid}): waiting until it ends. "
    )
    assert tzmlreservation.holder_of(tmp_path) == first.pid

    first.communicate(timeout=60)
    waited_for = f"TZML_BUILD_WAITED=`kas build kas/qemu.yml` (process {first.pid})"
    assert line(second) == f"TZML_BUILD_HOLDER={second.pid} {waited_for}"
    assert tzmlreservation.holder_of(tmp_path) == second.pid


def test_a_run_that_is_killed_does_not_keep_the_folder(kas: Start) -> None:
    first = kas("build", "kas/qemu.yml")
    line(first)
    first.kill()
    assert line(kas("build", "kas/rpi3.yml")).startswith("TZML_BUILD_HOLDER=")


def test_one_that_ends_while_it_waits_leaves_nothing(tmp_path: Path) -> None:
    with (
        tzmlreservation.acquire(tmp_path, os.getpid(), lambda _: None),
        subprocess.Popen(["sleep", "600"]) as waiting,
    ):
        end = threading.Timer(0.2, waiting.kill)
        end.start()
        with pytest.raises(tzmlreservation.GaveUpError):
            tzmlreservation.acquire(tmp_path, waiting.pid, lambda _: None)
        end.join()


def test_a_shell_for_a_person_does_not_keep_others_waiting(kas: Start) -> None:
    assert line(kas("shell", "kas/qemu.yml")) == ""
    assert line(kas("build", "kas/rpi3.yml")).startswith("TZML_BUILD_HOLDER=")


@pytest.mark.parametrize(
    ("words", "interactive"),
    [
        ("shell a.yml", True),
        ("shell a.yml -c true", False),
        ("shell --command=true a.yml", False),
        ("build a", False),
    ],
)
def test_a_shell_with_a_command_is_not_for_a_person(
    monkeypatch: pytest.MonkeyPatch, words: str, interactive: bool
) -> None:
    monkeypatch.setattr(tzmlreservation, "arguments_of", lambda _: ["python3", "kas", *words.split()])
    assert tzmlreservation.is_interactive(1) == interactive


def test_a_configuration_for_another_machine_than_the_manifests_is_refused(d: Any, one_error: Says) -> None:
    d.setVar("BBLAYERS", str(LAYER))
    d.setVar("MACHINE", "rpi3")
    d.setVar("TZML_MACHINE", "qemu")
    with one_error('this run is for the machine "qemu"', 'conf/local.conf says "rpi3"', "start kas again"):
        host.check(d)
    d.setVar("KAS_MACHINE", "rpi3")  # takes precedence over the manifest
    host.check_manifest(d)


@pytest.mark.parametrize("manifest", sorted((ROOT / "kas").glob("*.yml")), ids=lambda path: path.stem)
def test_the_machine_travels_with_the_environment(manifest: Path) -> None:
    text = manifest.read_text()
    assert f"machine: {manifest.stem}\n" in text
    assert f"  TZML_MACHINE: {manifest.stem}\n" in text
