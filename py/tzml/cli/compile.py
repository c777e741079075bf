"""`tzml compile`."""

from __future__ import annotations

import re
from pathlib import Path

import click

from tzml.cli.progress import progress_bar
from tzml.compiler import TARGETS, CompileOptions, compile_model
from tzml.signing import load_signing_key


def _parse_shape(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> dict[str, tuple[int, ...]]:
    shapes = {}
    for value in values:
        match = re.fullmatch(r"(.+)=([1-9]\d*(?:x[1-9]\d*)*)", value)
        if not match:
            raise click.BadParameter(f"{value!r} is not NAME=SHAPE, as in image=1x3x224x224")
        shapes[match[1]] = tuple(map(int, match[2].split("x")))
    return shapes


def _parse_size(_: click.Context, __: click.Parameter, value: str) -> int:
    match = re.fullmatch(r"([1-9]\d*)([KM]?)", value)
    if not match:
        raise click.BadParameter(f"{value!r} is not a number of bytes, as in 8M, 512K or 8388608")
    return int(match[1]) << {"": 0, "K": 10, "M": 20}[match[2]]


@click.command("compile")
@click.argument("model", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Default: MODEL.tzm.")
@click.option("--target", type=click.Choice(sorted(TARGETS)), required=True, help="The device.")
@click.option(
    "--sign-key",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="RSA private key (PEM) that the device's image was built with; "
    "without it, the bundle runs in the normal world only.",
)
@click.option("--input", "shapes", metavar="NAME=SHAPE", multiple=True, callback=_parse_shape,
              help="Shape of an input that the model leaves open, as in image=1x3x224x224.")  # fmt: skip
@click.option("--secure-memory", default="8M", show_default=True, callback=_parse_size, metavar="SIZE",
              help="Secure memory that the model may take, in bytes or with K or M; "
              "weights that do not fit are streamed in each inference.")  # fmt: skip
@click.option("--name", default="", help="The model's name. Default: the file's, without its ending.")
@click.option("--model-version", default=1, show_default=True, type=click.IntRange(0, 2**63 - 1))
def command(
    model: Path,
    output: Path | None,
    target: str,
    sign_key: Path | None,
    shapes: dict[str, tuple[int, ...]],
    secure_memory: int,
    name: str,
    model_version: int,
) -> None:
    """Compile the trained network in the ONNX file MODEL into a bundle (.tzm)."""
    options = CompileOptions(
        target=target,
        signing_key=load_signing_key(sign_key) if sign_key else None,
        shapes=shapes,
        secure_memory=secure_memory,
        name=name,
        model_version=model_version,
    )
    path = output or model.with_suffix(".tzm")
    with progress_bar(model.name) as progress:
        bundle = compile_model(model, options, progress)
    bundle.write(path)
    plan = bundle.plan
    worlds = "both worlds" if bundle.kernels_tee else "the normal world only"
    click.echo(
        f"{path}: {path.stat().st_size:,} bytes for {target}, {worlds}; {len(plan.calls)} kernel calls; "
        f"bytes of weights {plan.weights_size:,}, arena {plan.arena_size:,}, "
        f"secure memory {bundle.secure_memory:,}"
    )
