"""The model that is attacked, and copies of it that a thief trains, all on this host."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tzml.bundle import Bundle
from tzml.bundle.checkpoint import read_checkpoint
from tzml.client import Model, TensorInfo, Trainer, World, open_model
from tzml.compiler import CompileOptions, InputSpec
from tzml.compiler.ir.progress import Progress, no_progress
from tzml.compiler.passes.cut import cut
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
    """The model, compiled for this host with programs to train it. Raises CompileError where it cannot be trained.

    `private` are its last layers (as for --tee) where the layers before are public: everybody has them, and nobody
    trains them. The others take what those compute of the inputs.
    """

    def __init__(
        self, path: Path, inputs: dict[str, InputSpec], progress: Progress = no_progress, private: str | None = None
    ) -> None:
        self.options = CompileOptions("host", inputs=inputs, secure_memory=NO_LIMIT)
        self.layered = LayeredModel(path, self.options, progress)
        self.first, self._before, imported = 0, None, self.layered.imported
        if private is not None:
            inside = self._last(private)
            self.first = inside.start
            _, imported = cut(imported, self.layered.layers, [range(inside.start), inside])
            self._before, _ = self.layered.halves(inside.start)
            self._names = imported.input_names
        train = TrainOptions("adam", micro_batch=MICRO_BATCH)
        self.trainable: TrainableModel = compile_trainable(path, imported, self.options, train, progress)

    def _last(self, private: str) -> range:
        inside = self.layered.range_of(private)
        if not inside.start or inside.stop != len(self.layered.layers):
            raise TzmlError(
                f"{self.layered.path} has {len(self.layered.layers)} layers, and {private} are not the last "
                "of them behind others that could be public",
                "give the last layers to --tee, as slice_1..softmax of a model that tzml slices made",
            )
        return inside

    def taken(self, samples: Samples) -> Samples:
        """The samples as the layers take them that can be trained: what public layers before compute of them."""
        if self._before is None:
            return samples
        with open_model(self._before.encode(), World.ree) as model, self.open(self.trainable.bundle) as copy:
            (given,) = model.inputs
            examples = copy.trainer.examples
            found = np.empty((len(samples), *examples.shape[1:]), examples.dtype)
            for i in range(len(samples)):
                values = {given.name: samples.inputs[i : i + 1]}
                values |= model.run(samples.inputs[i : i + 1]).outputs
                for name, field in zip(self._names, examples.dtype.names or [None], strict=True):
                    (found[field] if field else found)[i] = values[name][0]
        return Samples(found, samples.labels)

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
        return Copy(at_random(self.trainable, random, [index - self.first for index in inside]))


class Copy:
    """A copy of the model, opened on this host; a context manager that closes it."""

    def __init__(self, bundle: Bundle) -> None:
        self.model: Model = open_model(bundle.encode(), World.ree)
        self.inputs = self.model.inputs  # of an inference
        self.trainer = Trainer(self.model)

    def scores(self, inputs: Array) -> Array:
        """The model's output for each input, float32 [N, classes]."""
        self.model.run(self._given(inputs[:1], self.inputs), "infer")
        (output,) = self.model.outputs
        rows = (self._given(inputs[i : i + 1], self.model.inputs) for i in range(len(inputs)))
        answers = [self.model.run(row).outputs[output.name] for row in rows]
        return np.concatenate(answers).reshape(len(inputs), -1)

    @staticmethod
    def _given(example: Array, inputs: Sequence[TensorInfo]) -> Array | dict[str, Array]:
        """An example as an inference takes it; the fields of several inputs are in their order."""
        if example.dtype.names is None:
            return example
        return {i.name: example[field] for i, field in zip(inputs, example.dtype.names, strict=True)}

    def train(self, samples: Samples, batch: int, epochs: int, seed: int) -> None:
        """Train with Adam."""
        generator = np.random.default_rng(seed)
        for _ in range(epochs):
            self.trainer.epoch(samples.inputs, samples.labels, batch, RATE, generator)

    def parameters(self, trainable: TrainableModel) -> list[NDArray[np.float32]]:
        """The parameters of `trainable`, in its order, as they are now."""
        state = self.state()
        return [
            np.frombuffer(state, np.float32, math.prod(place.shape), place.offset).reshape(place.shape)
            for place in trainable.parameters
        ]

    def state(self) -> bytes:
        """All that training changes."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "state.tzs")
            self.model.save(path)
            saved = read_checkpoint(path.read_bytes())
        return b"".join(segment for _, segment, _ in saved.segments())

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
