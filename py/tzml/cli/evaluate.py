"""`tzml evaluate`: how often a model is right, and whether a protected one is as good as the unprotected one."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from tzml.cli.arrays import load_arrays
from tzml.client import World, open_model
from tzml.errors import TzmlError, known_names

Array = NDArray[Any]


@dataclass(frozen=True)
class Score:
    """How many samples were right: first, and among the first five (None where a policy hides that)."""

    bundle: str
    world: str
    samples: int
    top_1: int
    top_5: int | None
    first: list[int]

    def __str__(self) -> str:
        fifth = "not given" if self.top_5 is None else f"{self.top_5 / self.samples:.2%}"
        return (
            f"{self.bundle} in the {self.world.upper()}: top-1 {self.top_1 / self.samples:.2%}, top-5 {fifth} "
            f"of {self.samples} samples"
        )


@click.command("evaluate")
@click.argument("bundle", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--data", required=True, type=click.Path(dir_okay=False, path_type=Path),
              help="A .npz file: the samples under the name of the model's input, stacked along the first axis, "
              "and their classes as integers under `labels`.")  # fmt: skip
@click.option("--against", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="The unprotected bundle, which is run in the normal world on the same samples.")  # fmt: skip
@click.option("--grant", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="The grant (.tzg) for a sealed bundle. Default: one that is appended to it.")  # fmt: skip
@click.option("--world", type=click.Choice([w.name for w in World]), default="tee", show_default=True,
              help="Where BUNDLE runs: the secure world, or this process.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print counts and predicted classes as JSON, for scripts.")
def command(bundle: Path, data: Path, against: Path | None, grant: Path | None, world: str, as_json: bool) -> None:
    """Run BUNDLE on labelled samples, and count how often the right class is first and among the first five.

    The classes are those of the first output, by its last dimension. With --against, the exit code is 1 if the two
    models are not right equally often, or put different classes first.
    """
    arrays = load_arrays(data)
    if not isinstance(arrays, dict):
        raise TzmlError(f"{data} has one array", "give a .npz file with the samples and `labels`")
    scores = [_score(bundle, World[world], grant, arrays, data)]
    if against:
        scores.append(_score(against, World.ree, None, arrays, data))
    equal = len(scores) < 2 or _equal(*scores)
    if as_json:
        click.echo(json.dumps({"scores": [asdict(score) for score in scores], "equal": equal}))
    else:
        for score in scores:
            click.echo(str(score))
        if against:
            click.echo("both put the same classes first" if equal else "they differ")
    if not equal:
        raise SystemExit(1)


def _equal(one: Score, two: Score) -> bool:
    fifth = None in (one.top_5, two.top_5) or one.top_5 == two.top_5
    return one.top_1 == two.top_1 and fifth and one.first == two.first


def _score(bundle: Path, world: World, grant: Path | None, arrays: dict[str, Array], data: Path) -> Score:
    """Run a model on all samples. Raises TzmlError if the data does not fit it."""
    with open_model(bundle, world, grant.read_bytes() if grant else None) as model:
        if len(model.inputs) != 1:
            raise TzmlError(f"{bundle} has {len(model.inputs)} inputs, and one is expected", "use `tzml run`")
        (info,) = model.inputs
        for name in (info.name, "labels"):
            if name not in arrays:
                raise TzmlError(f"{data} has no array {name}", known_names(name, list(arrays)))
        samples, labels = arrays[info.name], arrays["labels"].reshape(-1)
        if labels.dtype.kind not in "iu" or not len(labels):
            raise TzmlError(
                f"labels in {data} has {len(labels)} values of {labels.dtype}", "give integers, one a sample"
            )
        if samples.shape != (len(labels), *info.shape[1:]) or info.shape[:1] != (1,):
            raise TzmlError(
                f"{info.name} in {data} has the shape {list(samples.shape)} for {len(labels)} labels",
                f"give one {info} a sample, stacked along the first axis",
            )
        indices = model.output_policy.gives_indices
        output = model.outputs[0].name
        first, fifth, hidden = [], 0, False
        for at, label in enumerate(labels):
            answer = model.run(samples[at : at + 1]).outputs[output].reshape(-1)
            order = answer if indices else np.argsort(-answer.astype(np.float64), kind="stable")
            hidden |= indices and len(order) < 5  # the policy leaves fewer
            first.append(int(order[0]))
            fifth += int(label) in order[:5]
    right = sum(one == int(label) for one, label in zip(first, labels, strict=True))
    return Score(str(bundle), world.name, len(labels), right, None if hidden else fifth, first)
