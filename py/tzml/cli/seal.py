"""`tzml seal`."""

from __future__ import annotations

from pathlib import Path

import click

from tzml.bundle import read
from tzml.cli.options import OutputFile, passphrase_option
from tzml.cli.owner import new_secret, opened_owner, owner_option
from tzml.files import check_output
from tzml.owner.seal import check_timing, seal


@click.command("seal")
@click.argument("bundle", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@owner_option
@click.option(
    "-o",
    "--output",
    type=OutputFile(),
    help="Default: NAME.sealed.tzm beside BUNDLE.",
)
@click.option(
    "--key",
    "key_file",
    type=OutputFile(),
    help="The content key, a new file that only you may read. Default: OUTPUT with the suffix .tzk.",
)
@click.option(
    "--public-labels", is_flag=True, help="Leave the labels of outputs readable; they are sealed otherwise."
)
@click.option(
    "--allow-timing",
    is_flag=True,
    help="Seal the model although how long a run takes may tell of its input.",
)
@passphrase_option
def command(
    bundle: Path,
    owner: str,
    output: Path | None,
    key_file: Path | None,
    public_labels: bool,
    allow_timing: bool,
    passphrase_file: Path | None,
) -> None:
    """Encrypt the secure world's part of BUNDLE, and sign all of it.

    Only devices that get a grant (`tzml grant`) can run the result. Names, shapes and types of inputs and outputs
    stay readable, as do the sizes of all parts.
    """
    path = output or bundle.with_suffix(".sealed.tzm")
    check_output(path, [bundle])
    secret = new_secret(key_file or path.with_suffix(".tzk"))
    model = read(bundle)
    if not allow_timing:
        check_timing(model)
    with opened_owner(owner, passphrase_file) as signer:
        key = seal(model, signer, path, public_labels)
    key.write(secret)
    click.echo(f"{path}: {path.stat().st_size:,} bytes, sealed; {secret}: content key, to be kept secret")
