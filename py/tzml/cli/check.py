"""`tzml check`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from tzml.bundle import Tensor
from tzml.cli.child import Tell, in_child
from tzml.cli.compile import parse_inputs
from tzml.cli.encrypted import ModelKey, key_options, opened_model
from tzml.cli.options import parse_size, weights_option
from tzml.cli.progress import progress_bar, told
from tzml.compiler import TARGETS, InputSpec
from tzml.compiler.compile.check import ModelCheck, check_model
from tzml.printable import printable
from tzml.text_table import text_table

_REFUSED = 1


@click.command("check")
@click.argument("model", type=click.Path(exists=True, path_type=Path))
@click.option("--target", type=click.Choice(sorted(TARGETS)), default="qemu", show_default=True, help="The device.")
@click.option("--secure-memory", default="8M", show_default=True, callback=parse_size, metavar="SIZE",
              help="Secure memory that the model may take, in bytes or with K or M.")  # fmt: skip
@click.option("--input", "inputs", metavar="NAME=SHAPE[:DTYPE]", multiple=True, callback=parse_inputs,
              help="Shape of an input, if the model leaves it open, as in image=1x3x224x224.")  # fmt: skip
@weights_option
@key_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    model: Path,
    target: str,
    secure_memory: int,
    inputs: dict[str, InputSpec],
    weights: str,
    key: ModelKey,
    as_json: bool,
) -> None:
    """Say what would become of MODEL, without compiling it.

    Lists the layers that would be refused with the reason of each; for a model that would be compiled, its layers,
    in how many parts each would be computed to fit, and the secure memory that it would take. What its code takes
    is estimated. The exit code is 1 for a model that would be refused.
    """
    warnings: list[str] = []

    def warn(what: str) -> None:
        click.echo(f"tzml: warning: {model}: {what}", err=True)
        warnings.append(what)

    def work(tell: Tell) -> tuple[dict[str, Any], str]:
        path = opened(warn) if opened else model
        with progress_bar(model.name) as show:
            found = check_model(path, target, secure_memory, inputs, told(tell, show), warn, weights)
        about = {
            "model": str(model),
            "target": target,
            "limit": secure_memory,
            **_about(found),
            "warnings": warnings,
        }
        return about, _text(model, target, secure_memory, found)

    with opened_model(model, key) as opened:
        about, text = in_child(work, str(model))
    click.echo(json.dumps(about, indent=1) if as_json else printable(text))
    if about["refused"]:
        sys.exit(_REFUSED)


def _about(found: ModelCheck) -> dict[str, Any]:
    memory = found.memory
    return {
        "format": found.format,
        "refused": [{"operator": r.operator, "layer": r.layer, "why": r.why} for r in found.refusals],
        "inputs": list(map(_tensor, found.inputs)),
        "outputs": list(map(_tensor, found.outputs)),
        "layers": [
            {
                "number": checked.layer.number,
                "name": checked.layer.name,
                "operator": checked.layer.operator,
                "shape": checked.layer.shape,
                "weights": checked.layer.weights,
                "parts": checked.parts,
            }
            for checked in found.layers
        ],
        "kernel_calls": found.calls,
        "memory": None
        if memory is None
        else {
            "secure_memory": memory.total,
            "arena": memory.arena,
            "weights": memory.weights,
            "code_estimate": memory.code,
            "loaded_each_inference": memory.streamed,
        },
    }


def _tensor(tensor: Tensor) -> dict[str, Any]:
    return {"name": tensor.name, "dtype": tensor.dtype.name, "shape": list(tensor.shape)}


def _text(model: Path, target: str, limit: int, found: ModelCheck) -> str:
    lines = [f"{model}: {found.format}, for {target} with {limit:,} bytes of secure memory"]
    rows = [("layer", "weights", "output", "operator", "name", "")] + [
        (
            str(checked.layer.number),
            f"{checked.layer.weights:,}",
            "x".join(map(str, checked.layer.shape)),
            checked.layer.operator,
            checked.layer.name,
            f"in {checked.parts} parts" if checked.parts > 1 else "",
        )
        for checked in found.layers
    ]
    if found.layers:
        lines += text_table(rows, range(3))
    lines += [f"refused: {_refusal(r.operator, r.layer)}{r.why}" for r in found.refusals]
    memory = found.memory
    if memory is not None:
        loaded = f", {memory.streamed:,} of them loaded in each inference" if memory.streamed else ""
        lines.append(
            f"{found.calls} kernel calls; about {memory.total:,} bytes of secure memory: arena {memory.arena:,}, "
            f"weights {memory.weights:,}{loaded}, code about {memory.code:,}"
        )
    return "\n".join(lines)


def _refusal(operator: str, layer: str) -> str:
    if not operator:
        return ""
    return f"{operator} (layer {layer}): " if layer else f"{operator}: "
