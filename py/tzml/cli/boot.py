"""`tzml boot`: the lab's machine, with its console on this terminal."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import click

from tzml.boards import find_board
from tzml.cli.options import RealNumber, completed
from tzml_lab.emulation.interactive import MACHINES, describe, find_machine


def _described(name: str) -> str:
    board = find_board(name)
    return f"{name} is {'an emulated ' if board.flashing else ''}{board.title}"


_HELP = f"""Boot an image on QEMU as the tests do, with its console on this terminal.

{", ".join(map(_described, MACHINES))}; the name or file of an environment works as well. The machine's disk
keeps what is written to it until the image changes. Log in as root, without a password. Ctrl-A X leaves at once.
While it runs, `tzml ssh` and `tzml cp` reach it from another terminal.
"""


@click.command("boot", help=_HELP)
@click.argument("machine", default="qemu", metavar=f"[{'|'.join(MACHINES)}]",
                shell_complete=completed(lambda: MACHINES, file=True))  # fmt: skip
@click.option("--fresh", is_flag=True, help="Discard everything that the machine has written to its disk.")
@click.option("--folder", type=click.Path(file_okay=False, path_type=Path),
              help="Folder for the machine's disk (default: in build/boot).")  # fmt: skip
@click.option("--secure-console", is_flag=True,
              help="Also show OP-TEE's console on this terminal.")  # fmt: skip
@click.option("--command", "shell_command", metavar="COMMAND",
              help="Run this in the machine, switch it off, and end with the command's exit code.")  # fmt: skip
@click.option("--timeout", type=RealNumber(min=0, min_open=True), metavar="SECONDS",
              help="Switch the machine off after that long, with exit code 124.")  # fmt: skip
@click.option("--port", type=click.IntRange(1, 65535), metavar="PORT",
              help="Port of this host that leads to the machine's SSH (default: any).")  # fmt: skip
@click.option("--print", "only_print", is_flag=True, help="Print QEMU's command line and do nothing else.")
def command(
    machine: str,
    fresh: bool,
    folder: Path | None,
    secure_console: bool,
    shell_command: str | None,
    timeout: float | None,
    port: int | None,
    only_print: bool,
) -> None:
    if shell_command is not None and secure_console:
        raise click.UsageError("--secure-console is for a terminal; with --command, both consoles are in log files")
    found = describe(machine, folder, both_consoles=secure_console, port=port)
    if only_print:
        click.echo(shlex.join(found.command))
        return
    found.lock()
    if fresh:
        found.discard()
    found.prepare()
    if shell_command is not None:
        sys.exit(_run(machine, found.folder, shell_command, timeout, port))
    click.echo(f"OP-TEE's console: {found.secure_log}", err=True)
    for name, line in found.connection.describe() if found.connection else ():
        click.echo(f"{name + ':':17} {line}", err=True)
    click.echo("leave with:       Ctrl-A X\n", err=True)
    found.run(timeout)


def _run(machine: str, folder: Path, shell_command: str, timeout: float | None, port: int | None) -> int:
    """Run a command in the machine: its exit code, or that of the class of failure."""
    from tzml_lab.emulation.run_command import TIMED_OUT, run_command
    from tzml_lab.failures import TargetError

    try:
        code = run_command(find_machine(machine), folder, shell_command, seconds=timeout, port=port)
    except TargetError as error:
        click.echo(f"tzml: {error}", err=True)
        return int(error.kind.value)
    if code == TIMED_OUT and timeout:
        click.echo(f"tzml: no end after {timeout:g} s; the consoles are in {folder}", err=True)
    return code
