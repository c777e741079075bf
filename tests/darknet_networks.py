"""A reference for networks of Darknet: layers in NumPy as its C code computes them, and files as it writes them."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

LENET = """
[net]
batch=50
subdivisions=1
height=28
width=28
channels=3
learning_rate=0.01
momentum=0.9
decay=0.00005
policy=poly
max_batches=1000

[convolutional]
filters=6
size=5
stride=1
pad=1
activation=relu

[maxpool]
size=2
stride=2

[convolutional]
batch_normalize=1
filters=6
size=5
pad=1
activation=leaky

[maxpool]
size=2
stride=2
padding=0

[connected]
output=120
activation=relu

[dropout]
probability=.8

[connected]
output=84
activation=logistic

[connected]
output=10
activation=linear

[softmax]

[cost]
type=sse
"""


@dataclass
class Layers:
    """The numbers of LENET's layers in the order in which Darknet writes them, layer by layer."""

    numbers: list[list[Array]]

    @classmethod
    def random(cls, seed: int = 0) -> Layers:
        r = np.random.default_rng(seed)

        def normal(*shape: int) -> Array:
            numbers: Array = r.standard_normal(shape) / np.sqrt(np.prod(shape[1:] or (10,)))
            return numbers.astype(np.float32)

        def norm(count: int) -> list[Array]:
            return [1 + normal(count), normal(count), r.uniform(0.1, 2, count).astype(np.float32)]

        return cls(
            [
                [normal(6), normal(6, 3, 5, 5)],
                [],
                [normal(6), *norm(6), normal(6, 6, 5, 5)],
                [],
                [normal(120), normal(120, 294)],
                [],
                [normal(84), normal(84, 120)],
                [normal(10), normal(10, 84)],
                [],
                [],
            ]
        )

    def write(self, path: Path, version: tuple[int, int] = (0, 2), first: int = 0, end: int = 10) -> None:
        """Write some layers behind a header of this version; dense ones are transposed if it says so."""
        major, minor = version
        wide = 10 * major + minor >= 2 and max(version) < 1000
        data = struct.pack("<3i", major, minor, 0) + struct.pack("<Q" if wide else "<i", 4321)
        path.write_bytes(data + self.bytes_of(range(first, end), max(version) > 1000))

    def bytes_of(self, layers: Any, transposed: bool = False) -> bytes:
        parts = [a.T if transposed and a.ndim == 2 else a for i in layers for a in self.numbers[i]]
        return b"".join(np.ascontiguousarray(part).tobytes() for part in parts)

    def run(self, image: Array) -> Array:
        """The answer for an image [3, 28, 28]: probabilities."""
        x = image.astype(np.float64)
        bias, kernel = self.numbers[0]
        x = np.maximum(convolution(x, kernel) + bias[:, None, None], 0)
        x = maxpool(x, 2, 2, 1)
        bias, scale, mean, variance, kernel = self.numbers[2]
        x = convolution(x, kernel)
        x = (x - mean[:, None, None]) / (np.sqrt(variance.astype(np.float64)) + 0.000001)[:, None, None]
        x = x * scale[:, None, None] + bias[:, None, None]
        x = np.where(x > 0, x, 0.1 * x)
        x = maxpool(x, 2, 2, 0).reshape(-1)
        for number in (4, 6, 7):
            bias, weights = self.numbers[number]
            x = weights @ x + bias
            if number == 4:
                x = np.maximum(x, 0)
            elif number == 6:
                x = 1 / (1 + np.exp(-x))
        e = np.exp(x - x.max())
        return np.asarray(e / e.sum())


def convolution(x: Array, kernel: Array) -> Array:
    """With half the window's size of zeros around the image, and stride 1."""
    size = kernel.shape[-1]
    padded = np.pad(x, ((0, 0), (size // 2,) * 2, (size // 2,) * 2))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (size, size), axis=(1, 2))
    return np.asarray(np.einsum("chwij,ocij->ohw", windows, kernel.astype(np.float64)))


def maxpool(x: Array, size: int, stride: int, padding: int) -> Array:
    """Window by window, as maxpool_layer.c does: offset by half of the padding; outside of the image is nothing."""
    channels, height, width = x.shape
    out = [(length + padding - size) // stride + 1 for length in (height, width)]
    result = np.full((channels, *out), -np.inf)
    for i in range(out[0]):
        for j in range(out[1]):
            for n in range(size):
                for m in range(size):
                    row, column = -(padding // 2) + i * stride + n, -(padding // 2) + j * stride + m
                    if 0 <= row < height and 0 <= column < width:
                        result[:, i, j] = np.maximum(result[:, i, j], x[:, row, column])
    return result
