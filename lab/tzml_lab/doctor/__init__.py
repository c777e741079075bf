"""`tzml lab doctor`: find out what this host lacks for an environment, and which command mends it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tzml_lab.doctor.check import Check
from tzml_lab.doctor.environment import check_environment
from tzml_lab.doctor.host import check_host

__all__ = ["Check", "diagnose"]


def diagnose(environment: Path, results: Path) -> Iterator[Check]:
    """Check everything that a run of this environment needs. `results` is the folder for its results."""
    yield from check_host(results)
    yield from check_environment(environment)
