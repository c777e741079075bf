"""Latency against the number of devices, as a plot. Needs the extra `report`."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from tzml.files import write_file
from tzml.fleet.simulate import Failures, Load, SimulatedStage, simulate

_POINTS = 8


def latency_plot(stages: Sequence[SimulatedStage], load: Load, failures: Failures, path: Path) -> None:
    """Write the plot as SVG, of fleets from half the devices of each stage to twice as many. Raises TzmlError."""
    with mpl.rc_context({"svg.hashsalt": "tzml", "svg.fonttype": "none"}):
        figure = Figure(figsize=(7, 4), layout="constrained")
        axes = figure.add_subplot()
        factors = [0.5 + 1.5 * i / (_POINTS - 1) for i in range(_POINTS)]
        fleets = [[replace(s, devices=max(1, round(s.devices * factor))) for s in stages] for factor in factors]
        found = [(sum(s.devices for s in fleet), simulate(fleet, load, failures)) for fleet in fleets]
        stable = sorted({count: result for count, result in found if result.stable}.items())
        for percentile in (50, 99, 99.9):
            axes.plot(
                [count for count, _ in stable], [r.latency[percentile] * 1e3 for _, r in stable], "o-",
                label=f"{percentile:g} %",
            )  # fmt: skip
        axes.set(xlabel="devices", ylabel="ms", yscale="log", title=f"{load.rate:g} requests a second")
        axes.grid(visible=True, alpha=0.3)
        axes.legend()
        buffer = io.BytesIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    write_file(path, buffer.getvalue())
