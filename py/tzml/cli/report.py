"""`tzml report`: one HTML page about lab runs."""

from __future__ import annotations

from pathlib import Path

import click

from tzml.cli.options import OutputFile
from tzml.cli.results import RUNS, read_history
from tzml.files import is_stdout, write_file
from tzml.report.page import render, section_of
from tzml.results.run import read_run


@click.command("report")
@click.argument("runs", nargs=-1, metavar="[RUN]...", type=click.Path(path_type=Path))
@click.option("-o", "--output", default="report.html", show_default=True, type=OutputFile(),
              help="The page to write.")  # fmt: skip
@click.option("--history", type=click.Path(dir_okay=False, path_type=Path),
              help="The history to compare with (default: history.jsonl next to the first RUN).")  # fmt: skip
def command(runs: tuple[Path, ...], output: Path, history: Path | None) -> None:
    """Write one HTML page about the runs in the folders RUN (default: results/latest). It links to their logs.

    The page shows boot stages, inference times, TEE overhead, secure memory and xtest of each run, and compares
    them with earlier runs on the same board. `tzml results check` reports the same verdicts by its exit code.
    """
    found = [read_run(folder) for folder in runs or RUNS]
    known = read_history(history, found)
    page = render([section_of(results, known, output.parent) for results in found])
    write_file(output, page)
    click.echo(f"{output}: {len(found)} {'run' if len(found) == 1 else 'runs'}", err=is_stdout(output))
