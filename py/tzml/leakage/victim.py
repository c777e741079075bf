"""The model that is attacked, and copies of it that a thief trains, all on this host."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tzml.bundle import Bundle
from tzml.client import Model, Trainer, World, open_model
from tzml.compiler import CompileOptions, InputSpec
from tzml.compiler.ir.progress import Progress, no_progress
from tzml.compiler.passes.training.options import TrainOptions
from tzml.errors import TzmlError
from tzml.leakage.trainable import TrainableModel, compile_trainable
from tzml.partitioning.layered import LayeredModel

Array = NDArray[Any]
NO_LIMIT = 1 << 40
MICRO_BATCH = 10
RATE = 1e-3
"""Of Adam, with which thieves train."""


@dataclass(frozen=True)
class Samples:
    """Inputs, stacked along the first axis, and their classes."""

    inputs: Array
    labels: Array

    def __len__(self) -> int:
        return len(self.inputs)

    def part(self, which: Array | slice) -> Samples:
        """Those at some places."""
        return Samples(self.inputs[which], self.labels[which])


class Victim:
    """The model, compiled for this host with programs to train it. Raises CompileError if it cannot be trained."""

    def __init__(self, path: Path, inputs: dict[str, InputSpec], progress: Progress = no_progress) -> None:
        self.options = CompileOptions("host", inputs=inputs, secure_memory=NO_LIMIT)
        self.layered = LayeredModel(path, self.options, progress)
        train = TrainOptions("adam", micro_batch=MICRO_BATCH)
        self.trainable: TrainableModel = compile_trainable(
            path, self.layered.imported, self.options, train, progress
        )

    def check(self, samples: Samples, what: str) -> None:
        """Raise TzmlError unless the model takes the samples and knows their classes."""
        with self.open(self.trainable.bundle) as copy:
            copy.trainer.check(samples.inputs, samples.labels)
            if not copy.trainer.classes:
                raise TzmlError(f"{what}: the model has no classes that could be compared")

    def open(self, bundle: Bundle) -> Copy:
        """A copy of the model with the parameters of that bundle."""
        return Copy(bundle)

    def thief(self, inside: Collection[int], seed: int) -> Copy:
        """What a thief begins with: the layers outside as they are, and random numbers in those inside."""
        random = np.random.default_rng(seed)
        return Copy(at_random(self.trainable, random, inside))


class Copy:
    """A copy of the model, opened on this host; a context manager that closes it."""

    def __init__(self, bundle: Bundle) -> None:
        self.model: Model = open_model(bundle.encode(), World.ree)
        self.trainer = Trainer(self.model)

    def scores(self, inputs: Array) -> Array:
        """The model's output for each input, float32 [N, classes]."""
        self.model.run(inputs[:1], "infer")
        (output,) = self.model.outputs
        answers = [self.model.run(inputs[i : i + 1], "infer").outputs[output.name] for i in range(len(inputs))]
        return np.concatenate(answers).reshape(len(inputs), -1)

    def train(self, samples: Samples, batch: int, epochs: int, seed: int) -> None:
        """Train with Adam."""
        generator = np.random.default_rng(seed)
        for _ in range(epochs):
            self.trainer.epoch(samples.inputs, samples.labels, batch, RATE, generator)

    def __enter__(self) -> Copy:
        return self

    def __exit__(self, *_: object) -> None:
        self.model.close()


@contextmanager
def numpy_seed(seed: int) -> Iterator[None]:
    """Seed NumPy's global generator, from which the toolbox draws, while the context is open."""
    before = np.random.get_state()
    np.random.seed(seed)
    try:
        yield
    finally:
        np.random.set_state(before)


def at_random(trainable: TrainableModel, random: np.random.Generator, inside: Collection[int]) -> Bundle:
    """The model with random numbers for the parameters of some layers (their indices)."""
    return trainable.with_values(
        {
            index: random_parameter(random, place.shape, bias=place.name.endswith(".bias"))
            for index, place in enumerate(trainable.parameters)
            if place.layer in inside
        }
    )


def random_parameter(random: np.random.Generator, shape: tuple[int, ...], *, bias: bool) -> NDArray[np.float32]:
    """Glorot and Bengio's numbers for weights, whatever the order of axes: the channels are the longest two."""
    if bias:
        return np.zeros(shape, np.float32)
    *window, inner, outer = sorted(shape) if len(shape) > 1 else [1, *shape]
    scale = math.sqrt(2 / (math.prod(window) * (inner + outer)))
    return (random.standard_normal(shape) * scale).astype(np.float32)
