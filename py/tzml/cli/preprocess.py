"""`tzml preprocess`: the first step of encrypt, preprocess, compile, run, postprocess."""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np

from tzml.cli.arrays import save_arrays
from tzml.cli.options import OutputFile
from tzml.client.description import describe
from tzml.client.image import inputs_of
from tzml.files import check_output, is_stdout


@click.command("preprocess")
@click.argument("bundle", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument(
    "files", nargs=-1, required=True, metavar="IMAGE...", type=click.Path(dir_okay=False, path_type=Path)
)
@click.option(
    "-o",
    "--output",
    type=OutputFile(),
    required=True,
    help="The .npz or .npy file for `tzml run --input`. Images are stacked along the first axis.",
)
def command(bundle: Path, files: tuple[Path, ...], output: Path) -> None:
    """Turn each IMAGE into the input of BUNDLE, as `tzml run BUNDLE IMAGE` does.

    The bundle may be sealed: how an image becomes an input is not secret.
    """
    check_output(output, [bundle, *files], "give another file to --output")
    about = describe(bundle)
    samples = inputs_of(files, about.inputs, about.metadata)
    (info,) = about.inputs
    array = np.concatenate([sample[info.name] for sample in samples])
    save_arrays(output, {info.name: array})
    shape = ", ".join(map(str, array.shape))
    click.echo(f"{output}: {info.name}: {array.dtype}[{shape}]", err=is_stdout(output))
