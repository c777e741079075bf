"""`tzml checkpoint`: what a checkpoint says of itself, and what its owner reads of one that was exported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import numpy as np

from tzml.bundle import BundleError, decode
from tzml.bundle.checkpoint import read_checkpoint
from tzml.cli.options import OutputFile, passphrase_option, read_passphrase
from tzml.device import read_device
from tzml.errors import TzmlError
from tzml.files import check_output, read_file, written
from tzml.owner.exported import open_exported, parameters, with_state
from tzml.owner.keys import load_private
from tzml.owner.seal import ContentKey, unsealed

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group("checkpoint")
def command() -> None:
    """Checkpoints (.tzs) that `tzml train` wrote on a device."""


@command.command("show")
@click.argument("checkpoint", type=_FILE)
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON, for scripts.")
def show(checkpoint: Path, as_json: bool) -> None:
    """Show what CHECKPOINT says of itself. Only the device can tell whether that is true."""
    found = read_checkpoint(read_file(checkpoint))
    about = {
        "kind": found.kind.name,
        "number": found.number,
        "updates": found.updates,
        "state": found.state_size,
        "model_id": str(found.model_id),
        "model_version": found.model_version,
        "bundle_digest": found.bundle_digest.hex(),
        "device": found.device.hex(),
    }
    if as_json:
        click.echo(json.dumps(about))
        return
    for name, value in about.items():
        click.echo(
            f"{name.replace('_', ' ')}: {value:,}"
            if isinstance(value, int)
            else f"{name.replace('_', ' ')}: {value}"
        )


@command.command("open")
@click.argument("checkpoint", type=_FILE)
@click.argument("bundle", type=_FILE)
@click.option("--content-key", required=True, type=_FILE, help="The content key of the bundle (.tzk).")
@click.option("--key", required=True, type=_FILE, help="The private half of the grant's export key (PEM).")
@click.option("--device", required=True, type=_FILE, help="The record (.tzd) of the device that exported it.")
@click.option(
    "-o",
    "--output",
    type=OutputFile(),
    help="The trained model: a clear bundle of the next version, to be kept secret or sealed.",
)
@click.option("--weights", type=OutputFile(), help="What was trained, by name, as NumPy arrays (.npz).")
@passphrase_option
def open_(
    checkpoint: Path,
    bundle: Path,
    content_key: Path,
    key: Path,
    device: Path,
    output: Path | None,
    weights: Path | None,
    passphrase_file: Path | None,
) -> None:
    """Open CHECKPOINT, which a device exported that trained the sealed BUNDLE.

    It was made by the device with that record, or by nobody: who lacks the device's key cannot make one that opens.
    """
    if not output and not weights:
        raise click.UsageError("give --output, --weights or both")
    for path in filter(None, (output, weights)):
        check_output(path, [checkpoint, bundle, content_key, key, device])
    found = read_checkpoint(read_file(checkpoint))
    content = ContentKey.read(content_key)
    if found.bundle_digest != content.bundle_digest:
        raise BundleError(
            "CHECKPOINT_VERSION", f"{checkpoint} is of another bundle than {content_key} is for",
            "give the sealed bundle that the device trained, and its content key",
        )  # fmt: skip
    model = unsealed(decode(read_file(bundle), content.secret))
    state = open_exported(
        found, load_private(key, read_passphrase(passphrase_file)), read_device(device).public_key
    )
    if weights:
        named: dict[str, Any] = dict(parameters(model, state))
        if not named:
            raise TzmlError(f"the notes of {bundle} do not say where its parameters lie", "give --output instead")
        with written(weights) as file:
            np.savez(file, **named)
        click.echo(f"{weights}: {len(named)} arrays, after {found.updates:,} updates")
    if output:
        trained = with_state(model, state)
        trained.write(output)
        click.echo(f"{output}: version {trained.model_version}, after {found.updates:,} updates; to be kept secret")
