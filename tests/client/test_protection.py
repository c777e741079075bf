"""Where the TEE keeps no secret, users are told; so they are where nothing is known."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from programs import run_module

from tzml.boards import HUK_WARNINGS, boards
from tzml.boards import memory_warning as warning_about
from tzml.protection import BOARD, huk_warning, memory_warning


def installed(folder: Path, machine: str, protected: bool, huk: str = "test") -> Path:
    """The file that the image's build installs."""
    done = run_module("tzml.boards", machine, str(int(protected)), huk)
    assert done.returncode == 0, done.stderr
    path = folder / BOARD.name
    path.write_text(done.stdout)
    return path


@pytest.mark.parametrize("name", boards())
def test_the_device_says_what_the_lab_says_of_its_board(tmp_path: Path, name: str) -> None:
    protected = boards()[name].secure_memory.protected
    found = memory_warning(installed(tmp_path, name, protected))
    assert found == warning_about(name, protected)
    assert ("OP-TEE's memory" in found) != protected
    assert "\n" not in found


def test_of_a_board_that_is_not_known_only_what_its_build_says_counts(tmp_path: Path) -> None:
    assert memory_warning(installed(tmp_path, "newcomer", True)) == ""
    found = memory_warning(installed(tmp_path, "newcomer", False))
    assert found.startswith("On newcomer nothing is known to protect OP-TEE's memory")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "is not there"),
        (b"", "cannot be read"),
        (b"\xff", "cannot be read"),
        (b"[]", "cannot be read"),
        (b'{"secure_memory": {"protected": true}}', "cannot be read"),
        (b'{"secure_memory": {"protected": 1, "warning": ""}}', "does not say so"),
        (b'{"secure_memory": {"protected": "yes", "warning": ""}}', "does not say so"),
        (b'{"secure_memory": {"protected": false, "warning": ""}}', "does not say so"),
        (b'{"secure_memory": {"protected": false, "warning": 7}}', "does not say so"),
    ],
)
def test_a_device_that_does_not_say_so_is_not_taken_for_protected(
    tmp_path: Path, content: bytes | None, why: str
) -> None:
    path = tmp_path / BOARD.name
    if content is not None:
        path.write_bytes(content)
    found = memory_warning(path)
    assert found.startswith(f"Nothing shows that hardware protects OP-TEE's memory on this device: {path} {why}.")
    assert "\n" not in found


def test_a_build_that_contradicts_the_boards_descriptor_fails() -> None:
    done = run_module("tzml.boards", "rpi3", "1", "test")
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert "SECURE_MEMORY_PROTECTED = 1 for rpi3" in line
    assert "secure_memory.protected = false; correct the one that is wrong" in line


def test_a_file_of_the_device_is_json_for_others_too(tmp_path: Path) -> None:
    facts = json.loads(installed(tmp_path, "hikey", False).read_text())
    assert facts["machine"] == "hikey"
    assert facts["secure_memory"]["protected"] is False


@pytest.mark.parametrize(("kind", "says"), [("zero", "all zeros"), ("test", "a test key"), ("hardware", "")])
def test_the_device_says_what_its_hardware_unique_key_is(tmp_path: Path, kind: str, says: str) -> None:
    found = huk_warning(installed(tmp_path, "qemu", True, kind))
    assert found == HUK_WARNINGS[kind]
    assert says in found
    assert bool(found) == bool(says)


@pytest.mark.parametrize(
    "content", [None, b"", b"{}", b'{"huk": {"kind": "test"}}', b'{"huk": {"kind": 1, "warning": ""}}']
)
def test_a_device_that_says_nothing_of_its_key_has_none(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / BOARD.name
    if content is not None:
        path.write_bytes(content)
    assert huk_warning(path).startswith(f"Nothing shows that this device has a secret key of its own: {path} ")


def test_a_build_that_does_not_know_its_key_fails() -> None:
    done = run_module("tzml.boards", "qemu", "1", "secret")
    assert done.returncode == 1
    assert "usage: python -m tzml.boards MACHINE 0|1 hardware|test|zero" in done.stderr
