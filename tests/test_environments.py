"""Environments of their own, for what cannot be installed beside tzml."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tzml.environments import ENVIRONMENTS, make_environment
from tzml.errors import TzmlError

MXNET = ENVIRONMENTS["mxnet"]


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZML_CACHE", str(tmp_path))


def test_what_is_not_made_says_how() -> None:
    with pytest.raises(TzmlError, match=r"reading MXNet models takes .*; tzml environment mxnet"):
        MXNET.interpreter()


def test_every_package_is_locked_by_hash() -> None:
    for environment in ENVIRONMENTS.values():
        lines = [line for line in environment.lock.decode().splitlines() if not line.lstrip().startswith("#")]
        packages = [line for line in lines if line and not line.startswith(" ")]
        assert packages
        assert all("==" in line and line.endswith("\\") for line in packages), environment.name


def test_a_python_that_is_missing_is_named() -> None:
    with pytest.raises(TzmlError, match=r"takes Python 3\.2, which is not installed; install python3\.2"):
        make_environment(replace(MXNET, python="3.2"), lambda _: None)


def test_one_that_failed_is_not_taken_for_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(MXNET), "lock", b"tzml-no-such-package==1 --hash=sha256:00\n")
    here = replace(MXNET, python=f"{sys.version_info.major}.{sys.version_info.minor}")
    with pytest.raises(TzmlError, match="pip ended with 1 and said: ERROR"):
        make_environment(here, lambda _: None)
    assert not here.is_made
