"""`tzml boot`: the lab's machine, with its console on this terminal."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from tzml.boards import find_board
from tzml_lab.emulation.interactive import MACHINES, describe


def _described(name: str) -> str:
    board = find_board(name)
    return f"{name} is {'an emulated ' if board.flashing else ''}{board.title}"


_HELP = f"""Boot an image on QEMU as the tests do, with its console on this terminal.

{", ".join(map(_described, MACHINES))}; the name or file of an environment works as well. The machine's disk keeps
what is written to it until the image changes. Log in as root, without a password. Ctrl-A X leaves immediately.
"""


@click.command("boot", help=_HELP)
@click.argument("machine", default="qemu", metavar=f"[{'|'.join(MACHINES)}]")
@click.option("--fresh", is_flag=True, help="Discard everything that the machine has written to its disk.")
@click.option("--folder", type=click.Path(file_okay=False, path_type=Path),
              help="Folder for the machine's disk (default: in build/boot).")  # fmt: skip
@click.option("--secure-console", is_flag=True,
              help="Also show OP-TEE's console on this terminal.")  # fmt: skip
@click.option("--print", "only_print", is_flag=True, help="Print QEMU's command line and do nothing else.")
def command(machine: str, fresh: bool, folder: Path | None, secure_console: bool, only_print: bool) -> None:
    found = describe(machine, folder, both_consoles=secure_console)
    if only_print:
        click.echo(shlex.join(found.command))
        return
    found.lock()
    if fresh:
        found.discard()
    found.prepare()
    click.echo(f"OP-TEE's console: {found.secure_log}", err=True)
    if found.ssh:
        click.echo(f"ssh:              {shlex.join(found.ssh)}", err=True)
    click.echo("leave with:       Ctrl-A X\n", err=True)
    found.run()
