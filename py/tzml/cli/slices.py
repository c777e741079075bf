"""`tzml slices`."""

from __future__ import annotations

import secrets
from pathlib import Path

import click
import onnx

from tzml.cli.child import Tell, in_child
from tzml.cli.options import OutputFile
from tzml.compiler.compile import layers_of
from tzml.compiler.passes.layer_range import parse_range
from tzml.errors import TzmlError
from tzml.files import check_output, write_file
from tzml.partitioning.slices import PRIVATE, add_slices, default_taps


@click.command("slices")
@click.argument("backbone", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--classes", required=True, type=click.IntRange(2), help="What the slices are to tell apart.")
@click.option("--after", multiple=True, metavar="LAYER",
              help="A layer whose result a slice takes, as `tzml inspect --layers` lists it. Repeatable, in order. "
              "Default: the last layer of each of the three smallest sizes of images.")  # fmt: skip
@click.option("--width", default=32, show_default=True, type=click.IntRange(1), help="Channels of a slice.")
@click.option("--side", default=0, type=click.IntRange(0),
              help="Pixels that a slice sees, in each direction. Default: those of the last layer.")  # fmt: skip
@click.option("--seed", type=click.IntRange(0),
              help="Of the slices' random weights. Default: a secret one; who knows it knows what training "
              "began with.")  # fmt: skip
@click.option("-o", "--output", type=OutputFile(), help="Default: BACKBONE.slices.onnx.")
def command(
    backbone: Path,
    classes: int,
    after: tuple[str, ...],
    width: int,
    side: int,
    seed: int | None,
    output: Path | None,
) -> None:
    """Put small private slices behind the public network BACKBONE (ONNX), to be trained and run in the TEE.

    The network stays outside, and is the same for everybody. The slices, and they alone, learn from private
    examples.
    """
    path = output or backbone.with_suffix(".slices.onnx")
    check_output(path, [backbone], "give another file to --output")

    drawn = secrets.randbits(128) if seed is None else seed

    def work(_: Tell) -> tuple[bytes, int, int]:
        layers = layers_of(backbone)
        taps = [layers[parse_range(text, layers).stop - 1] for text in after] or default_taps(layers)
        if [tap.number for tap in taps] != sorted({tap.number for tap in taps}):
            raise TzmlError(
                "the layers of --after are not in order", "give them as `tzml inspect --layers` lists them"
            )
        if wrong := [tap for tap in taps if len(tap.shape) != 4]:
            raise TzmlError(
                f"layer {wrong[0].number} ({wrong[0].name}) gives {list(wrong[0].shape)}, and no images",
                "give a layer of convolutions or poolings to --after",
            )
        made = add_slices(onnx.load(backbone), taps, classes, width, side or min(taps[-1].shape[2:]), drawn)
        return made.SerializeToString(), len(taps), taps[-1].number

    data, count, last = in_child(work, str(backbone))
    write_file(path, data)
    click.echo(
        f"{path}: {count} slices behind layer {last} of {backbone.name}; train them in the TEE: "
        f"tzml compile {path} --tee {PRIVATE} --train adam"
    )
