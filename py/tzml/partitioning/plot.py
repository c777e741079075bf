"""A picture of what ranges cost and what they leave outside the TEE."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from matplotlib import rc_context
from matplotlib.figure import Figure

from tzml.errors import TzmlError
from tzml.files import write_file
from tzml.partitioning.choose import Measure
from tzml.partitioning.costs import RangeCost
from tzml.partitioning.measure import MeasuredRange
from tzml.partitioning.profile import Unit
from tzml.report.plots import BLUE, FAILED, STYLE

_FORMATS = (".svg", ".png")
SCALES = {"instructions": (1e6, "million instructions"), "seconds": (1e-3, "ms")}
_LINES = (("#d98b28", "-"), (BLUE, "--"))


def check_format(path: Path) -> None:
    """Raise TzmlError for a file whose name ends with none of the formats that can be drawn."""
    if path.suffix not in _FORMATS:
        raise TzmlError(f"{path} is neither .svg nor .png", "give a name that ends with one of them")


def save(figure: Figure, path: Path) -> None:
    """Write a figure. Raises TzmlError."""
    stream = io.BytesIO()
    with rc_context(STYLE):
        metadata = {"Date": None, "Creator": None} if path.suffix == ".svg" else {"Software": None}
        figure.savefig(stream, format=path.suffix[1:], metadata=metadata, dpi=150)
    write_file(path, stream.getvalue())


def draw_ranges(
    path: Path,
    title: str,
    every: Sequence[RangeCost],
    fronts: Sequence[tuple[str, Sequence[RangeCost]]],
    measured: Sequence[MeasuredRange],
    chosen: RangeCost,
    *,
    normal_world: float,
    cost: Measure,
    exposed: Measure,
    unit: Unit,
    cost_label: str,
    exposed_label: str,
) -> None:
    """Draw all ranges by cost and exposure, the fronts, and what was measured of them. Raises TzmlError."""
    scale, unit_name = SCALES[unit]

    def x(found: RangeCost) -> float:
        return cost(found) / scale

    def points(found: Sequence[RangeCost]) -> tuple[list[float], list[float]]:
        return [x(c) for c in found], [exposed(c) for c in found]

    with rc_context(STYLE):
        figure = Figure(figsize=(8, 5), layout="constrained")
        axes = figure.subplots()
        axes.plot(*points(every), ".", color="#bbbbbb", label="every range that fits")
        for (label, front), (colour, line) in zip(fronts, _LINES, strict=True):
            axes.step(*points(front), line, where="post", color=colour, label=label)
            axes.plot(*points(front), "o", color=colour, markersize=3)
        if measured:
            latency = cost(measured[0].predicted) == measured[0].predicted.latency
            found = [(m.latency if latency else m.bottleneck) / scale for m in measured]
            axes.plot(
                found, [exposed(m.predicted) for m in measured], "x", color="black", label="measured as compiled"
            )
        axes.axvline(
            normal_world / scale, color="black", linewidth=1, linestyle=":", label="all in the normal world"
        )
        axes.plot([x(chosen)], [exposed(chosen)], "*", color=FAILED, markersize=14, label="chosen")
        text = f"layers {chosen.inside.start + 1} to {chosen.inside.stop}"
        axes.annotate(text, (x(chosen), exposed(chosen)), xytext=(8, 8), textcoords="offset points")
        axes.set_xlabel(f"{cost_label}, {unit_name}")
        axes.set_ylabel(exposed_label)
        axes.set_ylim(-0.04, 1.04)
        axes.set_title(title)
        axes.legend(loc="best", fontsize=8)
    save(figure, path)
