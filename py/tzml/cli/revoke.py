"""`tzml revoke`."""

from __future__ import annotations

from pathlib import Path

import click

from tzml.cli.options import OutputFile, passphrase_option
from tzml.cli.owner import devices_option, key_argument, opened_owner, owner_option
from tzml.device import read_device
from tzml.files import check_output, write_file
from tzml.owner.grant import ALL_PROGRAMS, Terms, make_grant, new_serial
from tzml.owner.seal import ContentKey


@click.command("revoke")
@key_argument
@owner_option
@devices_option("The record (.tzd) of a device that is to run it no more.")
@click.option("-o", "--output", type=OutputFile(), help="Default: KEY with the suffix .revoked.tzg.")
@passphrase_option
def command(
    key: Path, owner: str, devices: tuple[Path, ...], output: Path | None, passphrase_file: Path | None
) -> None:
    """Write a grant for no runs of the sealed bundle whose content key is in the file KEY (.tzk).

    It ends earlier grants, for good, on every device that opens the bundle with it. A device that never sees it
    goes on with what it has. A later grant of `tzml grant` allows runs again.
    """
    path = output or key.with_suffix(".revoked.tzg")
    check_output(path, [key, *devices])
    recipients = [read_device(device).public_key for device in devices]
    terms = Terms(budget=0, serial=new_serial(), programs=ALL_PROGRAMS)
    with opened_owner(owner, passphrase_file) as signer:
        data = make_grant(ContentKey.read(key), signer, recipients, terms)
    write_file(path, data)
    count = len(set(recipients))
    click.echo(f"{path}: ends earlier grants on each of {count} device(s) that opens the bundle with it")
