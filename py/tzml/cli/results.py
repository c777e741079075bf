"""`tzml results`: the history of runs, verdicts about a run, and export to other tools."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from tzml.cli.options import OutputFile
from tzml.files import write_file
from tzml.report.units import NONE, duration, human, percent
from tzml.results.export import FORMATS
from tzml.results.history import History
from tzml.results.run import Run, RunResults, read_run
from tzml.results.verdict import BASELINE_MIN, Change, Verdict, baseline_of, verdicts

RUNS = (Path("results/latest"),)
HISTORY = Path("results/history.jsonl")
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
    return read_runs(History(history_path(history, found[0].folder)))


def read_runs(kept: History) -> list[Run]:
    """All runs in a history; unreadable lines are reported and skipped. Raises TzmlError."""
    runs = kept.runs()
    for number in kept.damaged:
        click.echo(f"tzml: {kept.path}:{number} is not a run and was skipped", err=True)
    return runs


@click.group("results")
def command() -> None:
    """List and compare lab runs, and export them to other tools."""


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


@command.command("list")
@click.option("--history", default=HISTORY, show_default=True, type=click.Path(dir_okay=False, path_type=Path))
@click.option("-n", "--last", "count", type=click.IntRange(min=1), help="Only the last N runs.", metavar="N")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
def list_runs(history: Path, count: int | None, as_json: bool) -> None:
    """List the runs in the history, oldest first.

    Runs are compared only if board, kind of image and selection are the same. A run that was interrupted is
    compared with nothing.
    """
    runs = read_runs(History(history))[-count if count else None :]
    if as_json:
        click.echo(json.dumps([_listed(run) for run in runs], indent=1))
    elif runs:
        _print(_list_table(runs))
    else:
        click.echo(f"{history} has no runs")


@command.command("check")
@_run
@_history
@click.option("--all", "show_all", is_flag=True, help="Also show figures that have not changed.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object with all figures.")
def check(folder: Path, history: Path | None, show_all: bool, as_json: bool) -> None:
    """Compare RUN with earlier runs on the same board.

    Only complete runs of the same tests with the same kind of image count. A figure is worse if it exceeds the
    median of the earlier runs by more than six times their spread (median absolute deviation times 1.4826) and by
    more than 5 % (memory: 1 %). Seconds of an emulator are shown but not judged.

    Exit codes: 0 no regression (or too few runs to tell), 14 regression, 2 wrong input or an interrupted run.
    """
    results = read_run(folder)
    known = read_history(history, [results])
    found = verdicts(results.run, known)
    regressions = [v for v in found if v.is_regression]
    if as_json:
        click.echo(json.dumps(_checked(results.run, known, found), indent=1))
    else:
        interesting = [v for v in found if show_all or v.change not in (Change.same, Change.new)]
        if interesting:
            _print(_table(interesting))
        click.echo(_summary(results.run, known, regressions))
    if regressions:
        sys.exit(REGRESSION)
    if not results.run.complete:
        sys.exit(2)


@command.command("export")
@_run
@click.option("--format", "format_name", type=click.Choice(sorted(FORMATS)), required=True)
@click.option("-o", "--output", type=OutputFile(), help="The output file (default: standard output).")
def export(folder: Path, format_name: str, output: Path | None) -> None:
    """Write RUN in the format of another tool.

    Bencher reads it with `bencher run --adapter json --file FILE`, github-action-benchmark as the tool
    customSmallerIsBetter.
    """
    text = json.dumps(FORMATS[format_name](read_run(folder).run), indent=1)
    if output:
        write_file(output, f"{text}\n")
    else:
        click.echo(text)


def _summary(run: Run, known: Sequence[Run], regressions: Sequence[Verdict]) -> str:
    count = len(baseline_of(run, known))
    against = f"{run.name}, against {count} comparable runs"
    if regressions:
        return f"{against}: {len(regressions)} got worse: {', '.join(v.series for v in regressions)}"
    if run.course and not run.complete:
        course = run.course
        return f"{run.name}: interrupted after {course.ended} of {course.selected} tests: there is no verdict"
    if count < BASELINE_MIN:
        return f"{against}: a verdict needs {BASELINE_MIN}"
    return f"{against}: no regression"


def _listed(run: Run) -> dict[str, Any]:
    """What a script wants to know about a run."""
    about = run.context
    return {
        "name": run.name,
        "started": about.started.isoformat(),
        "board": about.board,
        "selection": about.selection.model_dump() if about.selection else None,
        "complete": run.complete,
        "tests": run.tests.model_dump(),
        "xtest": run.xtest.model_dump(),
        "failures": [case.name for case in run.failures],
        "course": run.course.model_dump() if run.course else None,
        "commit": about.commit.model_dump() if about.commit else None,
        "image": about.image.model_dump(),
    }


def _checked(run: Run, known: Sequence[Run], found: Sequence[Verdict]) -> dict[str, Any]:
    """The verdicts about a run, for a script."""
    compared = [other.name for other in baseline_of(run, known)]
    return {
        "run": _listed(run),
        "compared_with": compared,
        "enough": len(compared) >= BASELINE_MIN,
        "regressions": [v.series for v in found if v.is_regression],
        "figures": [_figure(verdict) for verdict in found],
    }


def _figure(v: Verdict) -> dict[str, Any]:
    more = {"change": v.change.name, "relative": v.relative, "is_regression": v.is_regression}
    return dataclasses.asdict(v) | more


def _print(table: Table) -> None:
    Console(highlight=False, width=None if sys.stdout.isatty() else 160).print(table)


def _list_table(runs: Sequence[Run]) -> Table:
    table = Table(box=None)
    for title in ("run", "board", "selection", "tests", "took", "load", "commit"):
        table.add_column(title, overflow="fold")
    for run in runs:
        about, course = run.context, run.course
        table.add_row(
            run.name,
            about.board,
            str(about.selection or "not recorded"),
            _outcomes(run),
            duration(course.seconds) if course else NONE,
            f"{course.load_before:.1f}–{course.load_after:.1f}" if course else NONE,  # noqa: RUF001
            f"{about.commit.id[:10]}{' changed' if about.commit.changed else ''}" if about.commit else NONE,
            style="red" if run.tests.failed else "" if run.complete else "yellow",
        )
    return table


def _outcomes(run: Run) -> str:
    """As in "140 passed, 1 failed, interrupted at 141 of 150"."""
    numbers = {"passed": run.tests.passed, "failed": run.tests.failed, "skipped": run.tests.skipped}
    parts = [f"{number} {outcome}" for outcome, number in numbers.items() if number]
    if run.course and not run.complete:
        parts.append(f"interrupted at {run.course.ended} of {run.course.selected}")
    return ", ".join(parts) or "none"


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
