"""Times and sizes measured on a target: samples, their statistics, and the conditions they were measured in.

docs/lab.md describes the file.
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tzml.files import write_file
from tzml.results.run import FORMAT, Course

UNITS = ("s", "bytes", "ratio")


def statistics_of(samples: Sequence[float]) -> dict[str, float]:
    """Median, median absolute deviation, 95th percentile (nearest rank), smallest and largest."""
    ordered = sorted(samples)
    median = statistics.median(ordered)
    return {
        "median": median,
        "mad": statistics.median(abs(sample - median) for sample in ordered),
        "p95": ordered[math.ceil(0.95 * len(ordered)) - 1],
        "min": ordered[0],
        "max": ordered[-1],
    }


class Timings:
    """The measurements of one run.

    Args:
        context: what they were measured with, and on

    """

    def __init__(self, context: Mapping[str, Any] | None = None) -> None:
        self.context = dict(context or {})
        self.course: Course | None = None
        self._series: dict[str, tuple[str, list[float]]] = {}

    def add(self, name: str, samples: Sequence[float], unit: str = "s") -> None:
        """Add samples to the series `name`, as in "boot/login" or "digits/tee/inference"."""
        if unit not in UNITS:
            raise ValueError(f"unit {unit}; known are {', '.join(UNITS)}")
        if not samples or not all(math.isfinite(sample) for sample in samples):
            raise ValueError(f"{name}: samples must be numbers, and at least one")
        known, series = self._series.setdefault(name, (unit, []))
        if known != unit:
            raise ValueError(f"{name} is in {known}, not {unit}")
        series.extend(float(sample) for sample in samples)

    def __bool__(self) -> bool:
        return bool(self._series)

    def as_dict(self) -> dict[str, Any]:
        """The content of results.json."""
        series = {
            name: {"unit": unit, "n": len(samples), **statistics_of(samples), "samples": samples}
            for name, (unit, samples) in sorted(self._series.items())
        }
        course = {"course": self.course.model_dump()} if self.course else {}
        return {"format": FORMAT, "context": self.context, **course, "series": series}

    def write(self, path: Path) -> None:
        """Write results.json, whole or not at all. Raises TzmlError."""
        write_file(path, json.dumps(self.as_dict(), indent=1) + "\n")
