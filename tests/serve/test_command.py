"""`tzml serve` is tzml-serve."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import tzml
from programs import first_write_to_stderr

from .server import program


def test_it_starts_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZML_SERVE", str(program()))
    done = tzml("serve", "--help")
    assert done.returncode == 0
    assert done.stdout.startswith("usage: tzml-serve [OPTION]... [NAME=]BUNDLE...")
    done = tzml("serve", "--queue", "0", "x.tzm")
    assert done.returncode == 2
    assert "--queue takes a number" in done.stderr


def test_a_program_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TZML_SERVE", str(tmp_path / "gone"))
    done = tzml("serve", "x.tzm")
    assert done.returncode == 2
    assert f"there is no program {tmp_path}/gone; install the package tzml-serve" in done.stderr


def test_stages_are_in_the_secure_world_and_have_one_session(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZML_SERVE", str(program()))
    for more in (["--world", "ree"], ["--instances", "2"]):
        done = tzml("serve", "--stages", *more, "x.tzm")
        assert done.returncode == 2
        assert "--stages takes --world tee and one instance" in done.stderr


def test_an_error_is_one_write() -> None:
    """So that lines of several programs stay whole in a log."""
    for arguments in (["none.tzm"], ["--queue", "0", "none.tzm"]):
        assert first_write_to_stderr([program(), *arguments], {}).endswith(b"\n")
