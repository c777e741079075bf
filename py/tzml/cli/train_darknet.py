"""`tzml train --cfg`: a network of Darknet is trained as its .cfg and a data set say."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from tzml.bundle import SectionType, read_section
from tzml.client import Model, Trainer, TrainingScore, World, open_model
from tzml.client.image import load_image
from tzml.darknet.cfg import read_cfg
from tzml.darknet.data import read_data
from tzml.darknet.training import read_training
from tzml.errors import TzmlError
from tzml.metadata import read_metadata
from tzml.preprocess import Preprocessing

Array = NDArray[Any]
_KEPT = 0.9
"""Of the mean loss, in each step: Darknet's."""
_AT_ONCE = 100  # images that are evaluated together


@dataclass(frozen=True)
class TrainingStep:
    """One step: losses are None where the output policy hides them; bytes are the most that was taken so far."""

    step: int
    loss: float | None
    mean_loss: float | None
    rate: float
    seconds: float
    user_seconds: float
    kernel_seconds: float
    normal_peak: int
    secure_peak: int

    def __str__(self) -> str:
        loss = "" if self.loss is None else f"loss {self.loss:.4f}, mean {self.mean_loss:.4f}, "
        peak = f"normal {self.normal_peak:,}" + (f", secure {self.secure_peak:,}" if self.secure_peak else "")
        return (
            f"step {self.step}: {loss}rate {self.rate:.6g}; {self.seconds:.3f} s, CPU user "
            f"{self.user_seconds:.3f}, kernel {self.kernel_seconds:.3f}; bytes at most: {peak}"
        )


def train_darknet(
    bundle: Path,
    cfg: Path,
    data: Path,
    steps: int | None,
    seed: int,
    world: World,
    grant: Path | None,
    *,
    as_json: bool,
) -> None:
    """Train a bundle, and tell each step; at the end, how often it is right on the images of `valid`.

    Raises TzmlError for a network or a data set that is not understood, and for images that do not fit.
    """
    how, data_set = read_training(read_cfg(cfg)), read_data(data)
    steps = steps or how.steps
    if not steps:
        raise TzmlError(f"{cfg} has no max_batches", "say how many steps with --steps")
    images = data_set.images("train")
    valid = data_set.images("valid") if "valid" in data_set.options else []
    found: list[TrainingStep] = []
    with open_model(bundle, world, grant.read_bytes() if grant else None) as model:
        load = _Loader(bundle, model)
        trainer, mean = Trainer(model), None
        batches = _batches(len(images), how.batch, np.random.default_rng(seed))
        for number in range(1, steps + 1):
            chosen = [images[index] for index in next(batches)]
            rate = how.rate(number) * how.gradient_factor
            x, y = load(chosen)
            before, begin = model.usage(), time.monotonic()
            score = trainer.step(x, y, rate)
            seconds, after = time.monotonic() - begin, model.usage()
            if score.loss is not None:
                mean = score.loss if mean is None else _KEPT * mean + (1 - _KEPT) * score.loss
            step = TrainingStep(
                number, score.loss, mean, rate, seconds, after.user_seconds - before.user_seconds,
                after.kernel_seconds - before.kernel_seconds, after.peak_memory, model.memory().secure_peak,
            )  # fmt: skip
            found.append(step)
            if not as_json:
                click.echo(str(step))
        test = _evaluated(trainer, load, valid)
    if as_json:
        click.echo(
            json.dumps({"world": world.name, "steps": list(map(asdict, found)), "valid": test and asdict(test)})
        )
    elif test and test.correct is not None:
        click.echo(f"right on {test.correct} of {test.examples} images of valid, {test.accuracy:.2%}")


class _Loader:
    """Reads images as the bundle says."""

    def __init__(self, bundle: Path, model: Model) -> None:
        metadata = read_metadata(
            read_section(bundle, SectionType.metadata), {info.name: info.shape for info in model.inputs}
        )
        if not metadata.images:
            raise TzmlError(
                f"{bundle} does not say how an image becomes the input", "compile the network's .cfg file"
            )
        self.preprocessing: Preprocessing
        (self.preprocessing,) = metadata.images.values()

    def __call__(self, images: Sequence[tuple[Path, int]]) -> tuple[Array, Array]:
        """The images, stacked, and their classes."""
        arrays = [load_image(path, self.preprocessing) for path, _ in images]
        return np.concatenate(arrays), np.array([number for _, number in images], np.int32)


def _batches(count: int, size: int, generator: np.random.Generator) -> Iterator[Array]:
    """Indices of images, without end: every image once, in an order of its own each time, in whole batches."""
    waiting = np.empty(0, np.int64)
    while True:
        while len(waiting) < size:
            waiting = np.concatenate([waiting, generator.permutation(count)])
        yield waiting[:size]
        waiting = waiting[size:]


def _evaluated(trainer: Trainer, load: _Loader, images: Sequence[tuple[Path, int]]) -> TrainingScore | None:
    scores = [trainer.evaluate(*load(images[at : at + _AT_ONCE])) for at in range(0, len(images), _AT_ONCE)]
    if not scores:
        return None
    losses = [s.loss * s.examples for s in scores if s.loss is not None]
    correct = [s.correct for s in scores if s.correct is not None]
    examples = sum(s.examples for s in scores)
    return TrainingScore(sum(losses) / examples if losses else None, sum(correct) if correct else None, examples)
