"""What a network's outputs say in the words of its labels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tzml.errors import TzmlError
from tzml.preprocess import Quantization

Array = NDArray[Any]
Best = list[tuple[str, float | None]]
"""Labels, best first, with their probabilities where the answer has any."""


def best_of(
    output: Array, labels: Sequence[str], quantization: Quantization | None, count: int, *, indices: bool
) -> Best:
    """The `count` best labels of a sample's output. Raises TzmlError if they are not as many as its values.

    `indices`: the output is what a policy leaves, indices with the best first.
    """
    if indices:
        return named(output, labels, count)
    return list(top(dequantize(output, quantization), labels, count))


def listing(best: list[Best], names: Sequence[str] = ()) -> Iterator[str]:
    """The lines that show the labels of each sample."""
    for i, rows in enumerate(best):
        yield f"{names[i] if names else f'sample {i}'}:"
        for label, probability in rows:
            yield f"  {label}" if probability is None else f"  {probability:7.2%}  {label}"


def named(indices: Array, labels: Sequence[str], count: int) -> Best:
    """The labels of indices, best first: what an output policy leaves has no probabilities. Raises TzmlError."""
    flat = indices.reshape(-1)[:count]
    if flat.size and not 0 <= flat.min() <= flat.max() < len(labels):
        raise TzmlError(f"the answer has the index {flat.max()}, but there are {len(labels)} labels")
    return [(labels[i], None) for i in flat]


def dequantize(values: Array, quantization: Quantization | None) -> Array:
    """Convert an output to the real numbers that it represents: float32 if it is quantized."""
    if not quantization:
        return values
    return (values.astype(np.float32) - quantization.zero_point) * np.float32(quantization.scale)


def top(scores: Array, labels: Sequence[str], count: int) -> list[tuple[str, float]]:
    """The `count` labels with the highest probabilities, best first. Raises TzmlError.

    `scores` has one value for each label. Scores that are not probabilities are taken as logits, and softmax
    converts them to probabilities.
    """
    values = scores.astype(np.float64).reshape(-1)
    if len(values) != len(labels):
        raise TzmlError(f"the output has {len(values)} values, but there are {len(labels)} labels")
    # quantized probabilities add up to 1 within a few steps of 1/256
    if not (values.min() >= 0 and abs(values.sum() - 1) < 0.05):
        values = np.exp(values - values.max())
        values /= values.sum()
    best = np.argsort(-values, kind="stable")[:count]
    return [(labels[i], float(values[i])) for i in best]
