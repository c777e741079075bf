"""`tzml zoo`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import click

from tzml.errors import TzmlError
from tzml_zoo import ZooModel, models


@click.group("zoo")
def command() -> None:
    """The networks that tzml is tested with."""


@command.command("list")
def list_models() -> None:
    """Show each network's source, weights, parameters and multiply-accumulates."""
    rows = [("name", "network", "source", "parameters", "MACs", "weights")]
    rows += [(m.name, m.title, m.paper, f"{m.parameters:,}", f"{m.macs:,}", m.weights) for m in models().values()]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for name, title, paper, parameters, macs, weights in rows:
        click.echo(
            f"{name:{widths[0]}}  {title:{widths[1]}}  {paper:{widths[2]}}  "
            f"{parameters:>{widths[3]}}  {macs:>{widths[4]}}  {weights}"
        )


@command.command("export")
@click.argument("name")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Default: NAME.FORMAT.")
@click.option("--format", "kind", type=click.Choice(["onnx", "pt2"]), default="onnx", show_default=True,
              help="pt2 needs PyTorch.")  # fmt: skip
def export(name: str, output: Path | None, kind: str) -> None:
    """Write the network NAME to a file, and its preprocessing and labels beside it, for `tzml compile`."""
    model = _find(name)
    path = output or Path(f"{name}.{kind}")
    options = ""
    try:
        if kind == "onnx":
            shutil.copyfile(model.onnx(), path)
        else:
            _save_pt2(model, path)
        if model.preprocess:
            path.with_suffix(".json").write_text(json.dumps(model.preprocess, indent=1) + "\n")
            options += f" --preprocess {path.with_suffix('.json')}"
        if model.labels:
            path.with_suffix(".txt").write_text("".join(f"{label}\n" for label in model.labels()))
            options += f" --labels {path.with_suffix('.txt')}"
    except OSError as error:
        raise TzmlError(f"cannot write {path}: {error.strerror}", "check the folder and its room") from error
    click.echo(f"{path}: {model.title}, {path.stat().st_size:,} bytes\ntzml compile {path}{options} --target host")


def _find(name: str) -> ZooModel:
    found = models()
    if name not in found:
        raise TzmlError(f"the zoo has no {name}", f"it has {', '.join(found)}")
    return found[name]


def _save_pt2(model: ZooModel, path: Path) -> None:
    try:
        from tzml_zoo.torch_twin import save_pt2
    except ModuleNotFoundError as error:
        raise TzmlError("a .pt2 file is written by PyTorch", "pip install 'tzml[pytorch]'") from error
    save_pt2(model.onnx(), model.input_shape, path)
