from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from tzml_lab.results.timings import Timings, statistics_of
from tzml_lab.time_limits import scaled


def test_statistics() -> None:
    found = statistics_of([5.0, 1.0, 2.0, 3.0, 100.0])
    assert found == {"median": 3.0, "mad": 2.0, "p95": 100.0, "min": 1.0, "max": 100.0}


@pytest.mark.parametrize(("count", "p95"), [(1, 1), (19, 19), (20, 19), (21, 20), (100, 95)])
def test_p95_is_a_sample(count: int, p95: int) -> None:
    assert statistics_of(range(1, count + 1))["p95"] == p95


def test_samples_of_one_series_are_joined() -> None:
    timings = Timings({"environment": "qemu"})
    timings.add("boot/login", [30.0])
    timings.add("boot/login", [32.0, 31.0])
    series = timings.as_dict()["series"]["boot/login"]
    assert series["samples"] == [30.0, 32.0, 31.0]
    assert (series["n"], series["median"], series["unit"]) == (3, 31.0, "s")


@pytest.mark.parametrize("samples", [[], [math.nan], [1.0, math.inf]])
def test_no_number_is_an_error(samples: list[float]) -> None:
    with pytest.raises(ValueError, match="samples must be numbers"):
        Timings().add("x", samples)


def test_units_do_not_mix() -> None:
    timings = Timings()
    timings.add("x", [1])
    with pytest.raises(ValueError, match="x is in s, not bytes"):
        timings.add("x", [1], "bytes")
    with pytest.raises(ValueError, match="unit ms"):
        timings.add("y", [1], "ms")


def test_the_file_has_what_was_measured(tmp_path: Path) -> None:
    timings = Timings({"environment": "qemu"})
    timings.add("x", [1, 2])
    timings.write(tmp_path / "results.json")
    assert json.loads((tmp_path / "results.json").read_text()) == timings.as_dict()
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]


def test_budgets_are_scaled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LG_TIME_SCALE", raising=False)
    assert scaled(10) == 10
    monkeypatch.setenv("LG_TIME_SCALE", "2.5")
    assert scaled(10) == 25


@pytest.mark.parametrize("text", ["", "fast", "0", "-1", "inf", "nan"])
def test_bad_scale(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("LG_TIME_SCALE", text)
    with pytest.raises(ValueError, match="LG_TIME_SCALE"):
        scaled(1)
