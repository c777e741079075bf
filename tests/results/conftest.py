"""Runs as the lab leaves them, written by the lab's own code."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import pytest

from tzml.results.run import Course, Run, RunResults, read_run
from tzml_lab.results.timings import Timings

FIRST_NIGHT = datetime(2026, 11, 1, 2, 0, tzinfo=UTC)
SERIES: dict[str, tuple[list[float], str]] = {
    "boot/bl1": ([0.01, 0.02], "s"),
    "boot/login": ([29.0, 31.0], "s"),
    "digits/tee/inference": ([0.0052, 0.0053, 0.0051], "s"),
    "digits/ree/inference": ([0.0034, 0.0033, 0.0035], "s"),
    "digits/tee-to-ree": ([1.5], "ratio"),
    "digits/secure-peak": ([565248], "bytes"),
    "xtest/part": ([80.0], "s"),
}
# as pytest writes it (xunit1)
CASES = """\
<testcase classname="lab.test_xtest" name="test_case[regression_1001]" time="12.5"><properties>
<property name="seconds" value="12.5" /></properties></testcase>
<testcase classname="lab.test_xtest" name="test_case[regression_1015]" time="0.0">
<skipped type="pytest.skip" message="CFG_LOCKDEP=n">/lab/test_xtest.py:63: CFG_LOCKDEP=n</skipped></testcase>
<testcase classname="lab.test_inference" name="test_it_is_as_good_as_it_was_trained_to_be[digits-tee]" time="0.1">
<properties><property name="accuracy" value="0.984" /></properties></testcase>
"""
FAILED = """\
<testcase classname="lab.test_boot" name="test_linux_finds_optee" time="1.0"><properties>
<property name="failure_class" value="boot" /></properties>
<failure message="boot failure: no login prompt&#10;last lines">long text</failure></testcase>
"""

MakeRun = Callable[..., RunResults]


def context(board: str = "rpi3", night: int = 0, **changes: Any) -> dict[str, Any]:
    image = {"machine": "rpi3", "feed": "debian", "image": "tzml-image", "sha256": f"{night:064x}"}
    return {
        "environment": board,
        "started": (FIRST_NIGHT + timedelta(days=night)).isoformat(),
        "host": {"machine": "x86_64", "cpu": "Epyc", "cpus": 2, "system": "Linux"},
        "image": image | {"components": {"linux": f"6.12.{night}"}},
    } | changes


def run_maker(results: Path) -> MakeRun:
    """Writes a run's folder and reads it: series (name: factor on SERIES, or None to leave it out), tests of 3 that
    ended, context.
    """

    def make(
        night: int = 0,
        factors: Mapping[str, float | None] = {},
        cases: str = CASES,
        ended: int | None = None,
        **about: Any,
    ) -> RunResults:
        timings = Timings(context(night=night, **about))
        if ended is not None:
            timings.course = Course(selected=3, ended=ended, seconds=900, load_before=0.5, load_after=2.5)
        for name, (samples, unit) in SERIES.items():
            factor = factors.get(name, 1.0)
            if factor is not None:
                timings.add(name, [sample * factor for sample in samples], unit)
        folder = results / f"night{night}-{timings.context['environment']}"
        folder.mkdir(parents=True, exist_ok=True)
        timings.write(folder / "results.json")
        suite = f"<testsuites><testsuite name={quoteattr('pytest')}>{cases}</testsuite></testsuites>"
        (folder / "junit.xml").write_text(suite)
        return read_run(folder)

    return make


def twelve_nights(make: MakeRun) -> list[Run]:
    """On one board, within 1 % of each other."""
    noise = [0.0, 0.004, -0.006, 0.01, -0.002, 0.003, -0.008, 0.001, 0.006, -0.004, 0.002, -0.001]
    return [make(night, {name: 1 + part for name in SERIES if not name.endswith("peak")}).run
            for night, part in enumerate(noise)]  # fmt: skip


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    return run_maker(tmp_path / "results")


@pytest.fixture
def nights(make_run: MakeRun) -> list[Run]:
    return twelve_nights(make_run)
