"""`tzml device`."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import click

from tzml.cli.options import OutputFile
from tzml.device import Challenge, DeviceRecord, owners_of, read_device
from tzml.errors import TzmlError
from tzml.files import check_output, write_file
from tzml.protection import huk_warning

_EXISTING = click.Path(exists=True, dir_okay=False, path_type=Path)

record_option = click.option(
    "-o", "--output", type=OutputFile(), default=Path("device.tzd"), show_default=True,
    help="The device's record, for owners.",
)  # fmt: skip


@click.group("device")
def command() -> None:
    """Give a device an identity, let it prove it, and check the proof."""


@command.command("challenge")
@click.option(
    "-o",
    "--output",
    type=OutputFile(),
    default=Path("challenge.tzc"),
    show_default=True,
    help="A new file that only you may read.",
)
def challenge(output: Path) -> None:
    """Make what a device is asked, on the host where its answer will be checked.

    Copy it to the device, and keep it for `tzml device verify`. Make a new one each time: whoever saw an answer can
    give it again.
    """
    Challenge.new().write(output)
    click.echo(f"{output}: for `tzml device enroll --challenge` or `attest --challenge`, and then `verify`")


@command.command("enroll")
@click.option(
    "--owner",
    "owners",
    type=_EXISTING,
    multiple=True,
    required=True,
    help="Public key (PEM) of an owner whose models may run here. May be repeated.",
)
@click.option(
    "--challenge", "asked", type=_EXISTING,
    help="What `tzml device challenge` wrote where the evidence will be checked.",
)  # fmt: skip
@record_option
@click.option("--replace", is_flag=True, help="Give up an identity that is there. Its grants end with it.")
def enroll(owners: tuple[Path, ...], asked: Path | None, output: Path, replace: bool) -> None:
    """Make this device's key in the TEE, for models of these owners.

    The key is as secret as the best of three sources: the challenge's bytes, the device's own secret, and OP-TEE's
    random numbers. Without --challenge the bytes come from Linux, and nobody can check the evidence.
    """
    from tzml.client import RunError, attest_device, enroll_device

    keys = owners_of(owners)
    question = Challenge.read(asked) if asked else Challenge.new()
    enroll_device(question.key_bytes, keys, replace)
    try:
        record = attest_device(question.nonce)
    except RunError as error:
        raise TzmlError(
            f"the device has its identity, but could not prove it: {error}", "run `tzml device attest`"
        ) from error
    _write_record(record, output)


@command.command("attest")
@click.option(
    "--challenge", "asked", type=_EXISTING, required=True,
    help="What `tzml device challenge` wrote where the evidence will be checked.",
)  # fmt: skip
@record_option
def attest(asked: Path, output: Path) -> None:
    """Let this device prove its identity again, as after an update of the TA. Grants stay."""
    from tzml.client import attest_device

    _write_record(attest_device(Challenge.read(asked).nonce), output)


def _write_record(record: DeviceRecord, output: Path) -> None:
    record.write(output)
    proof = "without evidence: this OP-TEE has no attestation"
    if record.evidence:
        proof = f"with evidence by OP-TEE's key {record.evidence.key_id.hex()}"
    click.echo(f"{output}: device {record.key_id.hex()[:16]}, for {len(record.owners)} owner(s), {proof}")
    _warn()


@command.command("show")
@click.option("--json", "as_json", is_flag=True, help="Print the key as JSON, for scripts.")
def show(as_json: bool) -> None:
    """Show this device's public key."""
    from tzml.client import device_key

    key = device_key()
    record = DeviceRecord(key, b"", (), None)
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


@command.command("verify")
@click.argument("device", type=_EXISTING)
@click.option("--challenge", "asked", type=_EXISTING, required=True, help="What the device was asked.")
@click.option(
    "--image",
    type=click.Path(exists=True, path_type=Path),
    required=True,
    help="The image.json of the image that is on the device, or its folder.",
)
@click.option("--owner", "owners", type=_EXISTING, multiple=True, help="An owner for whom it must be enrolled.")
@click.option("--key", metavar="ID", help="The id of OP-TEE's key, as the device showed it to you.")
@click.option("--register", type=click.Path(file_okay=False, path_type=Path), help="Folder that lists devices.")
@click.option("--factory", "recorded", flag_value="factory", help="Record the key: you hold the device.")
@click.option("--field", "recorded", flag_value="field", help="Record the key: it was sent to you.")
@click.option("--eat", type=OutputFile(), help="Write the claims (RFC 9711) as JSON.")
@click.option("--json", "as_json", is_flag=True, help="Print what was found as JSON, for scripts.")
def verify(
    device: Path, asked: Path, image: Path, owners: tuple[Path, ...], key: str | None, register: Path | None,
    recorded: str | None, eat: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Check a device's evidence, on the owner's host.

    It proves that a TA with the image's code, under the image's OP-TEE, has the key in the record DEVICE, for these
    owners. That holds as far as OP-TEE's key is known to be a device's: it was recorded while the owner held
    the device (--factory), or is given (--key).

    Exit codes: 20 no evidence, 21 another challenge, 22 a wrong signature, 23 another TA, 24 another OP-TEE,
    25 another owner, 26 a key of OP-TEE that is not known.
    """
    if not find_spec("tzml.owner"):
        raise TzmlError("a device has no `tzml device verify`", "call it on the owner's host")
    from tzml.owner.attestation import EvidenceError, check_evidence, read_measurements
    from tzml.owner.eat import claims
    from tzml.owner.known import known_key
    from tzml.owner.register import Recorded, Register

    if recorded and not register:
        raise click.UsageError("--factory and --field need --register")
    if eat:
        check_output(eat, [device, asked])
    record, expected = read_device(device), read_measurements(image)
    listed = Register(register) if register else None
    try:
        evidence = check_evidence(record, Challenge.read(asked), expected, owners_of(owners))
        known = known_key(record, evidence, key, listed, Recorded(recorded) if recorded else None)
    except EvidenceError as error:
        click.echo(f"tzml: {device}: {error}", err=True)
        click.get_current_context().exit(int(error.refusal))
    warnings = [*known.warnings, *expected.warnings]
    for warning in warnings:
        click.echo(f"tzml: warning: {warning}", err=True)
    if eat:
        write_file(eat, json.dumps(claims(record, known.how), indent=1) + "\n")
    if as_json:
        about = {
            "device": record.key_id.hex(),
            "public_key": record.public_key.hex(),
            "owners": [owner.hex() for owner in record.owners],
            "nonce": record.nonce.hex(),
            "ta": evidence.ta.hash.hex(),
            "core": evidence.core.hash.hex(),
            "attestation_key": evidence.key_id.hex(),
            "recorded": known.how,
            "warnings": warnings,
        }
        click.echo(json.dumps(about))
        return
    click.echo(
        f"{device}: device {record.key_id.hex()}\n"
        f"  answers {asked}\n"
        f"  TA as in {image}: {evidence.ta.hash.hex()}\n"
        f"  OP-TEE as in {image}: {evidence.core.hash.hex()}\n"
        f"  owners: {', '.join(f'{owner.hex()[:16]}…' for owner in record.owners)}\n"
        f"  signed by OP-TEE's key {evidence.key_id.hex()}, {known.text}"
    )
