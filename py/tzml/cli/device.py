"""`tzml device`."""

from __future__ import annotations

import json
import secrets
from pathlib import Path

import click

from tzml.cli.options import OutputFile
from tzml.device import DeviceRecord, owners_of
from tzml.errors import TzmlError
from tzml.protection import huk_warning


@click.group("device")
def command() -> None:
    """Give this device an identity, and show it."""


@command.command("enroll")
@click.option(
    "--owner",
    "owners",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    multiple=True,
    required=True,
    help="Public key (PEM) of an owner whose models may run here. May be repeated.",
)
@click.option(
    "--verifier",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="64 random bytes from whoever checks the evidence: 32 for the key, 32 as nonce.",
)
@click.option(
    "-o",
    "--output",
    type=OutputFile(),
    default=Path("device.tzd"),
    show_default=True,
    help="The device's record, for owners.",
)
@click.option("--replace", is_flag=True, help="Give up an identity that is there. Its grants end with it.")
def enroll(owners: tuple[Path, ...], verifier: Path | None, output: Path, replace: bool) -> None:
    """Make this device's key in the TEE, for models of these owners.

    The key is as secret as the best of three sources: the verifier's bytes, the device's own secret, and OP-TEE's
    random numbers. Without --verifier the bytes come from Linux.
    """
    from tzml.client import enroll_device

    keys = owners_of(owners)
    seed = verifier.read_bytes() if verifier else secrets.token_bytes(64)
    if len(seed) != 64:
        raise TzmlError(f"{verifier} has {len(seed)} bytes, not 64", "write 64 random bytes to it")
    enrolment = enroll_device(seed[:32], seed[32:], keys, replace)
    record = DeviceRecord(enrolment.public_key, seed[32:], tuple(keys), enrolment.evidence)
    record.write(output)
    proof = "with OP-TEE's evidence" if record.evidence else "without evidence: this OP-TEE has no attestation"
    click.echo(f"{output}: device {record.key_id.hex()[:16]}, for {len(keys)} owner(s), {proof}")
    _warn()


@command.command("show")
@click.option("--json", "as_json", is_flag=True, help="Print the key as JSON, for scripts.")
def show(as_json: bool) -> None:
    """Show this device's public key."""
    from tzml.client import device_key

    key = device_key()
    record = DeviceRecord(key, b"", (), b"")
    if as_json:
        about = {"public_key": key.hex(), "key_id": record.key_id.hex(), "warning": huk_warning()}
        click.echo(json.dumps(about))
    else:
        click.echo(f"device {record.key_id.hex()}\npublic key {key.hex()}")
        _warn()


def _warn() -> None:
    """Say what the device's identity rests on, unless that is a key of its own."""
    if warning := huk_warning():
        click.echo(f"warning: {warning}", err=True)
