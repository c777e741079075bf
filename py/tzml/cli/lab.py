"""`tzml lab`: commands about the lab itself."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterable
from pathlib import Path

import click

from tzml.boards import boards
from tzml.cli.options import completed
from tzml_lab.doctor import Check, diagnose
from tzml_lab.environment import ROOT, EnvironmentFile, find, names, set_variables
from tzml_lab.session import console_server


@click.group("lab")
def command() -> None:
    """Commands about the lab itself. Its tests run with `pytest lab/ --lg-env ENVIRONMENT`."""


@command.command("doctor")
@click.argument("environment", default="qemu", metavar="[ENVIRONMENT]", shell_complete=completed(names, file=True))
@click.option("--results", type=click.Path(file_okay=False, path_type=Path), default=ROOT / "results",
              help="Folder for the results of runs.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list of all checks.")
def doctor(environment: str, results: Path, as_json: bool) -> None:
    """Say what this host lacks for ENVIRONMENT (default: qemu), with the command that fixes it.

    Checks packages, disk space, the environment's file and variables, its image, programs, serial and USB devices
    with their permissions, power switch, and place. It starts and changes nothing.

    Exit codes: 0 ready, 1 something is missing, 2 wrong input.
    """
    set_variables()
    checks = list(diagnose(find(environment), results))
    ready = all(check.ok for check in checks if check.needed)
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(check) for check in checks], indent=1))
    else:
        for check in checks:
            _show(check)
        click.echo(f"\n{environment}: {'ready' if ready else 'not ready'}")
    sys.exit(0 if ready else 1)


@command.command("attach")
@click.argument("run", default=ROOT / "results" / "latest", type=click.Path(path_type=Path))
def attach(run: Path) -> None:
    """Connect this terminal to the console of a machine that `pytest lab --lg-keep` has kept after a failure.

    RUN is the folder of the run (default: results/latest). Ctrl-] leaves; the machine is kept further. Without a
    terminal, standard input is typed and what the console says within two seconds is printed.
    """
    console_server.attach(run)


@command.command("images")
@click.argument("environment", shell_complete=completed(names, file=True))
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
def images(environment: str, as_json: bool) -> None:
    """Print the machines whose images a run of ENVIRONMENT needs, one per line.

    `kas build kas/MACHINE.yml` builds each image.
    """
    _print_list(EnvironmentFile.read(find(environment)).images, as_json=as_json)


@command.command("environments")
@click.option(
    "--nightly", is_flag=True, help="Only environments that CI tests every night on hosts without boards."
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
def environments(nightly: bool, as_json: bool) -> None:
    """Print the names of the environments that come with tzml, one per line."""
    found = [name for board in boards().values() for name in board.ci.nightly] if nightly else names()
    _print_list(found, as_json=as_json)


def _print_list(items: Iterable[str], *, as_json: bool) -> None:
    click.echo(json.dumps(list(items)) if as_json else "\n".join(items))


def _show(check: Check) -> None:
    word, colour = ("ok", "green") if check.ok else ("missing", "red") if check.needed else ("note", "yellow")
    click.echo(f"{click.style(f'{word:8}', fg=colour)}{check.what}: {check.found}")
    if not check.ok and check.remedy:
        click.echo(f"{'':8}  {check.remedy}")
