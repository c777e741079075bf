"""The plots of the report, as SVG elements for use in HTML."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tzml.report.units import human, scale_for
from tzml.results.run import Run, Series, Tally
from tzml.results.verdict import Verdict

WORLDS = {"tee": ("TEE", "#1f5fa8"), "ree": ("normal world", "#d98b28")}
PASSED, FAILED, SKIPPED = "#3a9d6a", "#c0392b", "#a0a0a0"
BLUE = WORLDS["tee"][1]
WIDTH = 8.0  # inches, matplotlib's unit; the page scales it
ROW = 0.4

STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text, which is searchable and small
    "svg.hashsalt": "tzml",  # the same data gives the same file
    "text.parse_math": False,  # a model may be called $x$
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
}


def boot(run: Run) -> str:
    """The time at which a boot reaches each stage: median, earliest and latest of all boots."""
    stages = run.boot_stages()
    figure, axes = _rows([name for name, _ in stages], "seconds since power-on")
    begin = 0.0
    for row, (_, series) in enumerate(stages):
        axes.barh(row, series.median - begin, left=begin, color=BLUE, height=0.45)
        if series.n > 1:
            axes.plot([series.min, series.max], [row, row], color="black", linewidth=1, marker="|")
        begin = series.median
    for row, (_, series) in enumerate(stages):  # once it is known how far the axis goes
        label = _over if series.n > 1 else _label
        label(axes, series.median, row, human(series.median, "s"))
    return _svg(figure)


def inference(run: Run) -> str:
    """Inference times by model and world: boxes from quartile to quartile, whiskers at 5 % and 95 %."""
    rows = [
        (f"{model}, {label}", colour, run.series[f"{model}/{world}/inference"])
        for model in run.models()
        for world, (label, colour) in WORLDS.items()
        if f"{model}/{world}/inference" in run.series
    ]
    medians = [series.median for _, _, series in rows]
    factor, unit = scale_for(medians, "s")
    figure, axes = _rows([label for label, _, _ in rows], f"{unit} per inference")
    for row, (_, colour, series) in enumerate(rows):
        values = [sample / factor for sample in series.samples or [series.median]]
        axes.boxplot(
            values, positions=[row], orientation="horizontal", widths=0.45, whis=(5, 95), showfliers=False,
            patch_artist=True, boxprops={"facecolor": colour, "alpha": 0.75}, medianprops={"color": "black"},
            manage_ticks=False,
        )  # fmt: skip
    if max(medians) > 30 * min(medians):
        axes.set_xscale("log")
    else:
        axes.set_xlim(left=0)
    for row, median in enumerate(medians):
        _over(axes, median / factor, row, human(median, "s"))
    return _svg(figure)


def bars(values: Sequence[tuple[str, Series]], what: str, *, reference: float | None = None) -> str:
    """One bar for each series. All series have the same unit. `reference` draws a line."""
    unit = values[0][1].unit
    factor, name = scale_for([series.median for _, series in values], unit)
    figure, axes = _rows([label for label, _ in values], f"{what}{'' if unit == 'ratio' else f', {name}'}")
    for row, (_, series) in enumerate(values):
        axes.barh(row, series.median / factor, color=BLUE, height=0.6)
        _label(axes, series.median / factor, row, human(series.median, unit))
    if reference is not None:
        axes.axvline(reference / factor, color="black", linewidth=1, linestyle="--")
    axes.set_xlim(left=0)
    return _svg(figure)


def xtest(tally: Tally, slowest: Sequence[tuple[str, float]]) -> str:
    """How many xtest cases passed, and which took longest (name, seconds)."""
    figure = Figure(figsize=(WIDTH, 0.9 + ROW * (len(slowest) + 1)), layout="constrained")
    heights = [1.2, max(1, len(slowest))]
    top, bottom = figure.subplots(2, 1, height_ratios=heights)
    _stack(top, [0], [tally], horizontal=True)
    top.set_yticks([0], ["cases"])
    top.set_xlim(0, max(1, tally.total))
    top.xaxis.set_major_locator(MaxNLocator(integer=True))
    top.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, frameon=False)
    _name_rows(bottom, [name for name, _ in slowest])
    bottom.set_xlabel("seconds, the slowest cases")
    for row, (_, seconds) in enumerate(slowest):
        bottom.barh(row, seconds, color=BLUE, height=0.6)
        _label(bottom, seconds, row, human(seconds, "s"))
    return _svg(figure)


def history(runs: Sequence[Run], name: str, verdict: Verdict | None) -> str:
    """A series over comparable runs, oldest first: median and MAD of each, and the range tolerated now."""
    points = [(index, run.series[name]) for index, run in enumerate(runs) if name in run.series]
    unit = points[0][1].unit
    factor, unit_name = scale_for([series.median for _, series in points], unit)
    figure, axes = _history_axes(runs, "" if unit == "ratio" else unit_name)
    x = [index for index, _ in points]
    y = [series.median / factor for _, series in points]
    spread = [series.mad / factor for _, series in points]
    if verdict and verdict.baseline is not None and verdict.margin:
        low, high = verdict.baseline - verdict.margin, verdict.baseline + verdict.margin
        axes.axhspan(low / factor, high / factor, color=BLUE, alpha=0.1, linewidth=0)
    axes.errorbar(x, y, yerr=spread, color=BLUE, marker="o", markersize=3.5, linewidth=1, capsize=2)
    if verdict and verdict.is_regression:
        axes.plot(x[-1], y[-1], "o", color=FAILED, markersize=8)
    axes.margins(y=0.25)
    return _svg(figure)


def xtest_history(runs: Sequence[Run]) -> str:
    """Numbers of xtest cases over comparable runs."""
    figure, axes = _history_axes(runs, "cases")
    _stack(axes, range(len(runs)), [run.xtest for run in runs], horizontal=False)
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, frameon=False)
    return _svg(figure)


def _stack(axes: Axes, positions: Sequence[int], tallies: Sequence[Tally], *, horizontal: bool) -> None:
    begin = [0] * len(tallies)
    for outcome, colour in (("passed", PASSED), ("failed", FAILED), ("skipped", SKIPPED)):
        numbers = [getattr(tally, outcome) for tally in tallies]
        label = f"{numbers[0]} {outcome}" if horizontal else outcome
        if horizontal:
            axes.barh(positions, numbers, left=begin, color=colour, label=label, height=0.6)
        else:
            axes.bar(positions, numbers, bottom=begin, color=colour, label=label, width=0.7)
        begin = [low + number for low, number in zip(begin, numbers, strict=True)]


def _history_axes(runs: Sequence[Run], ylabel: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(WIDTH / 2, 1.9), layout="constrained")
    axes = figure.subplots()
    step = max(1, -(-len(runs) // 6))
    # counted back from the newest run, so that it always has a tick
    places = list(range(len(runs) - 1, -1, -step))
    axes.set_xticks(places, [f"{runs[place].started:%-d %b}" for place in places])
    axes.set_xlim(-0.6, len(runs) - 0.4)
    axes.set_ylabel(ylabel)
    axes.grid(visible=False, axis="x")
    axes.yaxis.set_major_locator(MaxNLocator(4))
    return figure, axes


def _rows(labels: Sequence[str], xlabel: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(WIDTH, 0.7 + ROW * len(labels)), layout="constrained")
    axes = figure.subplots()
    _name_rows(axes, labels)
    axes.set_xlabel(xlabel)
    return figure, axes


def _name_rows(axes: Axes, labels: Sequence[str]) -> None:
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.4, -0.6)  # the first row on top
    axes.grid(visible=False, axis="y")
    axes.margins(x=0.12)  # room for the labels at the ends of the bars


def _label(axes: Axes, x: float, row: int, text: str) -> None:
    axes.annotate(text, (x, row), xytext=(5, 0), textcoords="offset points", va="center", fontsize=8)


def _over(axes: Axes, x: float, row: int, text: str) -> None:
    """A label above a mark that has others beside it, so that it stands at its own figure."""
    near_axis = axes.get_xscale() == "linear" and x < 0.05 * axes.dataLim.xmax
    beside, align = (2, "left") if near_axis else (0, "center")
    axes.annotate(text, (x, row), xytext=(beside, 8.5), textcoords="offset points", ha=align, fontsize=8)


def _svg(figure: Figure) -> str:
    """The figure as an SVG element without XML prologue."""
    stream = io.StringIO()
    figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    text = stream.getvalue()
    return text[text.index("<svg") :]
