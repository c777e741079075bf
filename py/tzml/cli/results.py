"""`tzml results`: the history of runs, verdicts about a run, and export to other tools."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

import click
from rich.console import Console
from rich.table import Table

from tzml.report.units import NONE, human, percent
from tzml.results.export import FORMATS
from tzml.results.history import History
from tzml.results.run import Run, RunResults, read_run
from tzml.results.verdict import BASELINE_MIN, Change, Verdict, baseline_of, verdicts

RUNS = (Path("results/latest"),)
REGRESSION = 14  # docs/lab.md has the exit codes of all classes of failure

_run = click.argument("folder", metavar="[RUN]", default=RUNS[0], type=click.Path(path_type=Path))
_history = click.option(
    "--history", type=click.Path(dir_okay=False, path_type=Path),
    help="The history file (default: history.jsonl next to RUN).",
)  # fmt: skip


def history_path(history: Path | None, folder: Path) -> Path:
    """The history file to use: the given one, or that of the results folder that contains the run."""
    return history or folder.resolve().parent / "history.jsonl"


def read_history(history: Path | None, found: Sequence[RunResults]) -> list[Run]:
    """All runs in the history; unreadable lines are reported and skipped. Raises TzmlError."""
    kept = History(history_path(history, found[0].folder))
    runs = kept.runs()
    for number in kept.damaged:
        click.echo(f"tzml: {kept.path}:{number} is not a run and was skipped", err=True)
    return runs


@click.group("results")
def command() -> None:
    """Compare lab runs with the history, and export them to other tools."""


@command.command("record")
@_run
@_history
def record(folder: Path, history: Path | None) -> None:
    """Add RUN to the history.

    The lab does this at the end of each run. Use the command for a history that is kept elsewhere, such as that
    of CI. A run that is already in the history is not added again.
    """
    kept = History(history_path(history, folder))
    added = kept.add(read_run(folder).run)
    click.echo(f"{kept.path}: {'added' if added else 'already contains it'}")


@command.command("check")
@_run
@_history
@click.option("--all", "show_all", is_flag=True, help="Also show figures that have not changed.")
def check(folder: Path, history: Path | None, show_all: bool) -> None:
    """Compare RUN with earlier runs on the same board.

    Only runs with the same kind of image count. A figure is worse if it exceeds the median of the earlier runs by
    more than six times their spread (median absolute deviation times 1.4826) and by more than 5 % (memory: 1 %).
    Seconds of an emulator are shown but not judged.

    Exit codes: 0 no regression (or too few runs to tell), 14 regression, 2 wrong input.
    """
    results = read_run(folder)
    known = read_history(history, [results])
    found = verdicts(results.run, known)
    interesting = [v for v in found if show_all or v.change not in (Change.same, Change.new)]
    regressions = [v for v in found if v.is_regression]
    if interesting:
        Console(highlight=False, width=None if sys.stdout.isatty() else 120).print(_table(interesting))
    click.echo(_summary(results.run, known, regressions))
    if regressions:
        sys.exit(REGRESSION)


@command.command("export")
@_run
@click.option("--format", "format_name", type=click.Choice(sorted(FORMATS)), required=True)
@click.option(
    "-o", "--output", type=click.File("w"), default="-", help="The output file (default: standard output)."
)
def export(folder: Path, format_name: str, output: TextIO) -> None:
    """Write RUN in the format of another tool.

    Bencher reads it with `bencher run --adapter json --file FILE`, github-action-benchmark as the tool
    customSmallerIsBetter.
    """
    json.dump(FORMATS[format_name](read_run(folder).run), output, indent=1)
    output.write("\n")


def _summary(run: Run, known: Sequence[Run], regressions: Sequence[Verdict]) -> str:
    count = len(baseline_of(run, known))
    against = f"{run.name}, against {count} comparable runs"
    if count < BASELINE_MIN:
        return f"{against}: a verdict needs {BASELINE_MIN}"
    if not regressions:
        return f"{against}: no regression"
    return f"{against}: {len(regressions)} got worse: {', '.join(v.series for v in regressions)}"


def _table(found: Sequence[Verdict]) -> Table:
    table = Table(box=None)
    for title in ("what", "this run", "earlier", "change", "tolerated", "verdict"):
        table.add_column(title, justify="left" if title in ("what", "verdict") else "right")
    for v in found:
        table.add_row(
            v.series,
            NONE if v.value is None else human(v.value, v.unit),
            NONE if v.baseline is None else human(v.baseline, v.unit),
            percent(v.relative),
            f"± {human(v.margin, v.unit)}" if v.margin else NONE,
            v.change.value if v.judged else f"{v.change.value} (not judged)",
            style="red" if v.is_regression else "",
        )
    return table
