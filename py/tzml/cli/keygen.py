"""`tzml keygen`."""

from __future__ import annotations

from pathlib import Path

import click

from tzml.cli.options import OutputFile, passphrase_option, read_passphrase
from tzml.files import check_output, write_file
from tzml.owner.keys import generate, public_pem


@click.command("keygen")
@click.option(
    "-o",
    "--output",
    type=OutputFile(),
    default=Path("owner.pem"),
    show_default=True,
    help="The private key, a new file that only you may read.",
)
@passphrase_option
def command(output: Path, passphrase_file: Path | None) -> None:
    """Make an owner's P-256 key: it signs bundles and grants, and names their owner.

    The public half goes beside it, to NAME.pub.pem: devices are enrolled with that. Whoever has the private key can
    grant your models; if it is lost, no further grants can be made.
    """
    public = output.with_suffix(".pub.pem")
    check_output(public)
    key = generate(output, read_passphrase(passphrase_file))
    write_file(public, public_pem(key.public))
    click.echo(f"{output}: private key; {public}: public key")
