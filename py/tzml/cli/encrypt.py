"""`tzml encrypt`."""

from __future__ import annotations

from pathlib import Path

import click

from tzml.cli.compiled import beside
from tzml.cli.options import OutputFile, weights_option
from tzml.compiler.frontends.files import model_files
from tzml.files import check_output
from tzml.owner.encrypted_model import encrypt_model
from tzml.owner.keys import load_public


@click.command("encrypt")
@click.argument("model", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--for",
    "recipients",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    multiple=True,
    required=True,
    metavar="PUBLIC_KEY",
    help="P-256 public key (PEM) of who compiles the model: the .pub.pem file of `tzml keygen`. Repeatable.",
)
@weights_option
@click.option("-o", "--output", type=OutputFile(), help="Default: MODEL.tze, beside MODEL.")
def command(model: Path, recipients: tuple[Path, ...], weights: str, output: Path | None) -> None:
    """Encrypt the trained network MODEL for whoever compiles it.

    MODEL is what `tzml compile` reads: a file, with the files of its weights if it has some, or the folder of a
    SavedModel. `tzml compile --key` takes the result. Its size and for which keys it is can be read; nothing else.
    Nobody signs it: whoever has the public key can make one.
    """
    path = output or beside(model).with_suffix(".tze")
    name, files = model_files(model, weights)
    check_output(path, [*files.values(), *recipients], "give another file to --output")
    encrypt_model(name, files, [load_public(recipient) for recipient in recipients], path)
    of = "1 file" if len(files) == 1 else f"{len(files)} files"
    click.echo(f"{path}: {path.stat().st_size:,} bytes, {of} encrypted for {len(recipients)} key"
               f"{'s' if len(recipients) > 1 else ''}")  # fmt: skip
