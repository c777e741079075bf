"""`tzml lab doctor`: what this host and an environment lack, and the command that mends it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tzml_lab.doctor.check import Check
from tzml_lab.doctor.environment import check_environment
from tzml_lab.doctor.host import check_host

__all__ = ["Check", "diagnose"]


def diagnose(environment: Path, results: Path) -> Iterator[Check]:
    """Look at everything that a run of this environment needs; `results` is where it would leave its folder."""
    yield from check_host(results)
    yield from check_environment(environment)
