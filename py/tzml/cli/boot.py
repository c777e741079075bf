"""`tzml boot`: the lab's machine, with its console on this terminal."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from tzml_lab.interactive import describe


@click.command("boot")
@click.argument("environment", default="qemu", metavar="[ENVIRONMENT]")
@click.option("--fresh", is_flag=True, help="Discard what the machine wrote to its disk before.")
@click.option("--folder", type=click.Path(file_okay=False, path_type=Path),
              help="Keep its disk there (default: build/boot/ENVIRONMENT).")  # fmt: skip
@click.option("--secure-console", is_flag=True,
              help="Show OP-TEE's console on this terminal, too.")  # fmt: skip
@click.option("--print", "only_print", is_flag=True, help="Print QEMU's command line and do nothing else.")
def command(environment: str, fresh: bool, folder: Path | None, secure_console: bool, only_print: bool) -> None:
    """Boot the image of ENVIRONMENT (qemu) as the tests do, with its console on this terminal.

    The machine's disk keeps what is written to it until the image changes. Log in as root, without a
    password; Ctrl-A X leaves at once.
    """
    machine = describe(environment, folder, both_consoles=secure_console)
    if only_print:
        click.echo(shlex.join(machine.command))
        return
    machine.lock()
    if fresh:
        machine.discard()
    machine.prepare()
    click.echo(f"OP-TEE's console: {machine.secure_log}", err=True)
    if machine.ssh:
        click.echo(f"ssh:              {shlex.join(machine.ssh)}", err=True)
    click.echo("leave with:       Ctrl-A X\n", err=True)
    machine.run()
