"""Darknet's networks: a .cfg file, and its weights."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from tzml.compiler.frontends.checks import Warn
from tzml.compiler.frontends.darknet.network import to_onnx
from tzml.compiler.frontends.darknet.weights import RandomWeights, join_worlds, read_weights
from tzml.compiler.frontends.inputs import Inputs
from tzml.compiler.frontends.onnx.importer import import_model
from tzml.compiler.ir.errors import CompileError
from tzml.compiler.ir.imported import Imported
from tzml.darknet.cfg import DarknetNetwork, read_cfg

RANDOM = "random"
"""What stands for weights that were not trained yet, instead of a file."""
WORLDS = ("_ree", "_tee")
"""The ends of the names of files that have the layers of one world."""


def import_darknet(path: Path, inputs: Inputs, warn: Warn, weights: str = "") -> Imported:
    """Read a .cfg file with its weights.

    Those are `weights`, or lie beside it under its name; they may be RANDOM. Raises TzmlError for what is no
    network, or is not understood, and CompileError for weights of another one.
    """
    network = read_cfg(path)
    dropped = [layer.number for layer in network.layers if layer.kind == "dropout"]
    if dropped and weights == RANDOM:
        warn(f"nothing is dropped by the dropout layers {', '.join(map(str, dropped))} while the model is trained")
    if weights == RANDOM:
        return import_model(to_onnx(network, RandomWeights()), path, inputs, warn)
    files = weights_of(path, weights)
    numbers = read_weights(files[0])
    if len(files) > 1:
        numbers = join_worlds(numbers, read_weights(files[1]), _sizes(path))
    model = to_onnx(network, numbers)
    numbers.check_used_up()
    if doubts := numbers.doubts():
        warn(doubts)
    return import_model(model, path, inputs, warn)


def weights_of(path: Path, weights: str = "") -> list[Path]:
    """The file of a network's weights, or the two of both worlds. Raises CompileError if there are none."""
    file = Path(weights) if weights else path.with_suffix(".weights")
    if file.is_file():
        return [file]
    of_worlds = [file.with_name(file.name + world) for world in WORLDS]
    if all(part.is_file() for part in of_worlds):
        return of_worlds
    raise CompileError(
        f"{path} has no weights: there is neither {file} nor {of_worlds[0].name} and {of_worlds[1].name}",
        "give the file to --weights, or random for a model that is to be trained",
    )


class _Counting(RandomWeights):
    """Counts the numbers of each layer instead of reading them."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def take(self, *shape: int, fan_in: int = 0) -> Any:
        self.count += math.prod(shape)
        return np.zeros(shape, np.float32)

    def dense(self, outputs: int, inputs: int) -> Any:
        return self.take(outputs, inputs)


def _sizes(path: Path) -> list[int]:
    """How many numbers each layer has."""
    network = read_cfg(path)
    totals = [0]
    for count in range(1, len(network.layers) + 1):
        counting = _Counting()
        to_onnx(DarknetNetwork(network.net, network.layers[:count]), counting)
        totals.append(counting.count)
    return [end - start for start, end in pairwise(totals)]
