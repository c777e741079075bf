"""`tzml postprocess`: the last step of encrypt, preprocess, compile, run, postprocess."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from tzml.cli.arrays import load_arrays
from tzml.client.description import TensorInfo, describe
from tzml.client.labels import Best, best_of, listing
from tzml.errors import TzmlError, known_names
from tzml.preprocess import parse_labels
from tzml.printable import printable

Array = NDArray[Any]


@click.command("postprocess")
@click.argument("bundle", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("outputs", type=click.Path(dir_okay=False, path_type=Path), metavar="OUTPUTS")
@click.option("--labels", "labels_file", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="Text file with a name for each value, one per line. Default: the bundle's labels, which a "
              "sealed bundle keeps to its owner.")  # fmt: skip
@click.option("--top", "count", type=click.IntRange(1), default=5, show_default=True,
              help="Number of labels to show.")  # fmt: skip
@click.option("--indices", is_flag=True,
              help="The outputs are indices, best first, as a grant's policy leaves them. Default: those of "
              "int32, if the model's are of another type.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print labels and probabilities as JSON, for scripts.")
def command(
    bundle: Path, outputs: Path, labels_file: Path | None, count: int, indices: bool, as_json: bool
) -> None:
    """Name what OUTPUTS says: the .npz or .npy file of `tzml run BUNDLE --output`."""
    about = describe(bundle)
    labels = about.metadata.labels
    if labels_file:
        labels = {about.outputs[0].name: _read_labels(labels_file)}
    if not labels:
        raise TzmlError(
            f"{bundle} has no labels that you can read",
            "give --labels FILE; `tzml seal --public-labels` leaves them readable",
        )
    found = load_arrays(outputs)
    arrays = found if isinstance(found, dict) else {about.outputs[0].name: found}
    known = {info.name: info for info in about.outputs}
    best = {}
    for name, array in arrays.items():
        if name not in known:
            raise TzmlError(f"the model has no output {name}", known_names(name, list(known)))
        if name in labels:
            of_index = indices or (array.dtype == np.int32 and known[name].dtype != np.int32)
            quantization = about.metadata.quantization.get(name)
            best[name] = [
                best_of(sample, labels[name], quantization, count, indices=of_index)
                for sample in _samples(known[name], array)
            ]
    if not best:
        raise TzmlError(f"{outputs} has no output with labels", f"the bundle has labels for {', '.join(labels)}")
    click.echo(json.dumps(best) if as_json else printable("\n".join(_lines(best))))


def _read_labels(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise TzmlError(f"cannot read {path}: {error}", "give a text file in UTF-8 with a name per line") from error
    return parse_labels(text.splitlines(), str(path))


def _samples(info: TensorInfo, array: Array) -> list[Array]:
    """What each run gave: they are stacked along the first axis. Raises TzmlError."""
    if array.ndim != len(info.shape) or not array.ndim:
        raise TzmlError(f"the array for {info} has {array.ndim} dimensions", "give what `tzml run --output` wrote")
    rows = info.shape[0]
    if len(array) % rows:
        raise TzmlError(f"the array for {info} has {len(array)} rows", "give what `tzml run --output` wrote")
    return [array[at : at + rows] for at in range(0, len(array), rows)]


def _lines(best: dict[str, list[Best]]) -> list[str]:
    lines = []
    for name, samples in best.items():
        if len(best) > 1:
            lines.append(f"{name}:")
        lines += listing(samples)
    return lines
