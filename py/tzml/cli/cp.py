"""`tzml cp`: copy files to and from the machine that `tzml boot` started."""

from __future__ import annotations

import os
from pathlib import Path

import click

from tzml_lab.emulation.connection import find_connection
from tzml_lab.emulation.interactive import MACHINES, find_machine, machine_folder


@click.command("cp")
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@click.argument("target")
@click.option("--folder", type=click.Path(file_okay=False, path_type=Path),
              help="Folder of the machine's disk, as given to `tzml boot`.")  # fmt: skip
def command(sources: tuple[str, ...], target: str, folder: Path | None) -> None:
    """Copy files and folders to or from the machine that `tzml boot` started.

    A path there begins with the machine's name and a colon, or only a colon for qemu, as in
    `tzml cp model.tzm qemu:/tmp/` and `tzml cp :/tmp/outputs.npy .` The exit code is that of scp.
    """
    *there_from, there = split = [_split(path) for path in (*sources, target)]
    machines = {machine for machine, _ in split if machine}
    if len(machines) != 1 or bool(there[0]) == any(machine for machine, _ in there_from):
        raise click.UsageError("give paths of one machine as sources, or as the target, such as qemu:/tmp/")
    if not there[0] and not all(machine for machine, _ in there_from):
        raise click.UsageError("give sources of one side: all of this host, or all of the machine")
    (machine,) = machines
    found = find_connection(machine_folder(find_machine(machine), folder), machine)
    paths = [f":{path}" if name else str(Path(path).absolute()) for name, path in split]
    line = found.scp(paths[:-1], paths[-1])
    os.execvp(line[0], line)  # noqa: S606


def _split(path: str) -> tuple[str, str]:
    """Machine and path: "" for a path of this host."""
    name, colon, rest = path.partition(":")
    return (name or "qemu", rest) if colon and name in ("", *MACHINES) else ("", path)
