"""Export of a run to other tools: Bencher and github-action-benchmark."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tzml.results.run import Run, Series

# Bencher Metric Format: a benchmark has measures, each with a value and optional bounds. Bencher has a built-in
# measure `latency`, in nanoseconds, and creates the others when it first sees them.
_BENCHER = {"s": ("latency", 1e9), "bytes": ("memory", 1.0), "ratio": ("ratio", 1.0)}


def to_bencher(run: Run) -> dict[str, Any]:
    """The run in Bencher Metric Format; the bounds are the median ± the median absolute deviation."""
    found = {}
    for name, series in run.series.items():
        measure, factor = _BENCHER[series.unit]
        found[f"{run.context.board}/{name}"] = {
            measure: {
                "value": series.median * factor,
                "lower_value": (series.median - series.mad) * factor,
                "upper_value": (series.median + series.mad) * factor,
            }
        }
    return found


def to_github_action_benchmark(run: Run) -> list[dict[str, Any]]:
    """The run as github-action-benchmark reads it for the tool `customSmallerIsBetter`."""
    return [
        {
            "name": f"{run.context.board}/{name}",
            "unit": series.unit,
            "value": series.median,
            "range": f"± {series.mad:.3g}",
            "extra": _extra(run, series),
        }
        for name, series in run.series.items()
    ]


def _extra(run: Run, series: Series) -> str:
    return (
        f"median of {series.n}, MAD {series.mad:.3g}, p95 {series.p95:.3g}\nimage {run.context.image.sha256[:12]}"
    )


FORMATS: dict[str, Callable[[Run], Any]] = {
    "bencher": to_bencher,
    "github-action-benchmark": to_github_action_benchmark,
}
