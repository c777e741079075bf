"""Darknet's .weights files: a header, and the numbers of all layers in their order.

There are three kinds of header: with the images that were seen as 32 bits, with that as 64 bits, and one whose
version says that dense layers are transposed. DarkneTZ can also save the layers of each world in a file of their
own.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tzml.compiler.ir.errors import CompileError

Array = NDArray[np.float32]

_VERSION = struct.Struct("<3i")
_RAW_LIMIT = 1e8  # no weight that was trained is larger


class DarknetWeights(Protocol):
    """Where a network's numbers come from, layer by layer."""

    def take(self, *shape: int, fan_in: int = 0) -> Array:
        """The next numbers. `fan_in` is that of a layer's weights; 0 for what is no weight."""

    def dense(self, outputs: int, inputs: int) -> Array:
        """The weights of a dense layer, [outputs, inputs]."""


class WeightsFile:
    """The numbers of a file, or of several whose layers were put in order."""

    def __init__(self, name: str, numbers: Array, transposed: bool) -> None:
        self.name = name
        self.numbers = numbers
        self.transposed = transposed
        self._at = 0

    def take(self, *shape: int, fan_in: int = 0) -> Array:
        """The next numbers. Raises CompileError if there are too few."""
        count = math.prod(shape)
        if self._at + count > len(self.numbers):
            raise CompileError(
                f"{self.name} has {len(self.numbers):,} numbers, and the network takes more",
                "give the weights of this network",
            )
        self._at += count
        return self.numbers[self._at - count : self._at].reshape(shape)

    def dense(self, outputs: int, inputs: int) -> Array:
        """The weights of a dense layer, [outputs, inputs]."""
        return self.take(inputs, outputs).T if self.transposed else self.take(outputs, inputs)

    def check_used_up(self) -> None:
        """Raise CompileError if numbers are left: they are another network's."""
        if self._at != len(self.numbers):
            raise CompileError(
                f"{self.name} has {len(self.numbers):,} numbers, and the network takes {self._at:,}",
                "give the weights of this network",
            )

    def doubts(self) -> str:
        """What is strange about the numbers; "" for nothing."""
        finite = np.isfinite(self.numbers)
        if not finite.all() or np.abs(self.numbers).max(initial=0) > _RAW_LIMIT:
            return (
                f"{self.name} has numbers that no training gives, such as "
                f"{self.numbers[np.argmax(~finite | (np.abs(self.numbers) > _RAW_LIMIT))]}: "
                "it may be encrypted, or was decrypted with another key"
            )
        return ""


class RandomWeights:
    """Numbers to begin a training with, as Darknet draws them; the same for the same seed."""

    def __init__(self, seed: int = 0) -> None:
        self._generator = np.random.default_rng(seed)

    def take(self, *shape: int, fan_in: int = 0) -> Array:
        """Normal numbers for weights, and zeros for biases."""
        if not fan_in:
            return np.zeros(shape, np.float32)
        return (math.sqrt(2 / fan_in) * self._generator.standard_normal(shape)).astype(np.float32)

    def dense(self, outputs: int, inputs: int) -> Array:
        """Even numbers."""
        scale = math.sqrt(2 / inputs)
        return (scale * self._generator.uniform(-1, 1, (outputs, inputs))).astype(np.float32)


def read_weights(path: Path) -> WeightsFile:
    """Read one file. Raises CompileError."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CompileError(f"cannot read {path}: {error.strerror}", "check the path") from error
    if len(data) < 16:
        raise CompileError(f"{path} has {len(data)} bytes, too few for weights of Darknet", "copy it again")
    major, minor, _ = _VERSION.unpack_from(data)
    if not (0 <= major < 10_000 and 0 <= minor < 10_000):
        raise CompileError(
            f"{path} is no file of weights of Darknet: its version is {major}.{minor}", "give the .weights file"
        )
    size = 20 if 10 * major + minor >= 2 and major < 1000 and minor < 1000 else 16
    if (len(data) - size) % 4:
        raise CompileError(f"{path} has {len(data):,} bytes, no header and whole numbers", "copy it again")
    return WeightsFile(path.name, np.frombuffer(data, "<f4", offset=size), major > 1000 or minor > 1000)


def join_worlds(ree: WeightsFile, tee: WeightsFile, layers: Sequence[int]) -> WeightsFile:
    """The numbers in the order of the layers, of two files that DarkneTZ saved: of each world's layers.

    `layers` has the count of numbers of each layer. Those in the TEE follow each other; which they are follows from
    how many numbers its file has. Raises CompileError if that fits none of them, or several.
    """
    if len(ree.numbers) + len(tee.numbers) != sum(layers) or ree.transposed != tee.transposed:
        raise CompileError(
            f"{ree.name} and {tee.name} have {len(ree.numbers) + len(tee.numbers):,} numbers, and the network "
            f"takes {sum(layers):,}",
            "give the weights of this network",
        )
    ends = [0, *accumulate(layers)]
    starts = {
        start for start in ends for end in ends if end - start == len(tee.numbers) and (start < end or not start)
    }
    if len(starts) != 1:
        found = "several ranges of layers fit" if starts else "no layers that follow each other fit"
        raise CompileError(
            f"{tee.name} has {len(tee.numbers):,} numbers: {found}", "save the weights of both worlds in one file"
        )
    (start,) = starts
    numbers = np.concatenate([ree.numbers[:start], tee.numbers, ree.numbers[start:]])
    return WeightsFile(f"{ree.name} and {tee.name}", numbers, ree.transposed)
