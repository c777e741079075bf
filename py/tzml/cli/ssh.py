"""`tzml ssh`: a shell or a command in the machine that `tzml boot` started."""

from __future__ import annotations

import os
from pathlib import Path

import click

from tzml.cli.options import completed
from tzml_lab.emulation.connection import find_connection
from tzml_lab.emulation.interactive import MACHINES, find_machine, machine_folder


@click.command("ssh", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("machine", default="qemu", metavar=f"[{'|'.join(MACHINES)}]",
                shell_complete=completed(lambda: MACHINES, file=True))  # fmt: skip
@click.argument("arguments", nargs=-1, metavar="[COMMAND]...")
@click.option("--folder", type=click.Path(file_okay=False, path_type=Path),
              help="Folder of the machine's disk, as given to `tzml boot`.")  # fmt: skip
def command(machine: str, arguments: tuple[str, ...], folder: Path | None) -> None:
    """Open a shell in the machine that `tzml boot` started, or run COMMAND there.

    The exit code is the command's; 255 if the machine does not answer.
    """
    line = find_connection(machine_folder(find_machine(machine), folder), machine).ssh(*arguments)
    os.execvp(line[0], line)  # noqa: S606
