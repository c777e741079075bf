"""The oracle attack: layers whose result crosses in the clear are asked about inputs of the attacker's choice.

A single layer of products with ReLU, or none, behind it is solved: two scaled unit vectors for each input, and
their negatives, give every weight and bias. Carlini, Jagielski and Mironov (Cryptanalytic Extraction of Neural
Network Models, CRYPTO 2020) go on from there to deeper ones. Here, what cannot be solved is learned (question.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tzml.bundle import Bundle
from tzml.client import Model, World, open_model

Array = NDArray[Any]
Ask = Callable[[Array], Array]
"""The result of the layers for one input, both as float64 vectors."""

_LOW, _HIGH = 512.0, 1024.0
_MOST_INPUTS = 4096
_CHECKED = 20
_TOLERANCE = 1e-3


@dataclass(frozen=True)
class SolvedLayer:
    """A layer as it was solved: relu(weights x + bias), or without ReLU."""

    weights: Array
    bias: Array
    rectified: bool
    queries: int

    def __call__(self, x: Array) -> Array:
        """What the layer gives for one input, by the solution."""
        found: Array = self.weights @ x + self.bias
        return np.maximum(found, 0) if self.rectified else found


def solve(ask: Ask, inputs: int) -> SolvedLayer | None:
    """The layers as one layer of products, found with 4 queries an input; None if they are something else.

    The solution is compared with answers to random inputs before it counts as one.
    """
    if inputs > _MOST_INPUTS:
        return None
    count = 0

    def counted(x: Array) -> Array:
        nonlocal count
        count += 1
        return ask(x)

    zero = counted(np.zeros(inputs))
    low, high = np.zeros((2, 2, inputs, zero.size))  # by sign, input and result
    for i in range(inputs):
        unit = np.zeros(inputs)
        unit[i] = 1
        for side, sign in enumerate((1, -1)):
            low[side, i], high[side, i] = counted(sign * _LOW * unit), counted(sign * _HIGH * unit)
        if min(low[:, i].min(), high[:, i].min()) < 0:
            return _linear(counted, inputs, zero, lambda: count)
    found = SolvedLayer(*_rectified(zero, low, high), True, count)
    return found if _agrees(found, ask, inputs) else None


def _rectified(zero: Array, low: Array, high: Array) -> tuple[Array, Array]:
    """Weights and bias of a layer with ReLU, from its results for zero and for both scales of all unit vectors."""
    positive = high[0] >= high[1]
    rising, before = np.where(positive, high[0], high[1]), np.where(positive, low[0], low[1])
    active = before > 0  # at both scales, so that the difference is the slope
    slope = np.where(active, (rising - before) / (_HIGH - _LOW), 0)
    bias = np.where(zero > 0, zero, np.nanmedian(np.where(active, before - _LOW * slope, np.nan), axis=0))
    late = ~active & (rising > 0)  # a bias far below zero hides the weight at the lower scale
    slope = np.where(late, (rising - bias) / _HIGH, slope)
    return np.where(positive, slope, -slope).T, bias


def _linear(ask: Ask, inputs: int, zero: Array, count: Callable[[], int]) -> SolvedLayer | None:
    """The layers as products without ReLU: a query an input."""
    weights = np.stack([(ask(_LOW * np.eye(inputs)[i]) - zero) / _LOW for i in range(inputs)], axis=1)
    found = SolvedLayer(weights, zero, False, count())
    return found if _agrees(found, ask, inputs) else None


def _agrees(found: SolvedLayer, ask: Ask, inputs: int) -> bool:
    random = np.random.default_rng(0)
    for _ in range(_CHECKED):
        x = random.standard_normal(inputs)
        expected = ask(x)
        if np.abs(found(x) - expected).max() > _TOLERANCE * max(1.0, np.abs(expected).max()):
            return False
    return True


class PartRunner:
    """A part of a model on this host, of one input and one output; a context manager that closes it."""

    def __init__(self, bundle: Bundle) -> None:
        self.model: Model = open_model(bundle.encode(), World.ree)
        (self._taken,), (self._given,) = self.model.inputs, self.model.outputs

    @property
    def inputs(self) -> int:
        """Numbers that it takes."""
        return int(np.prod(self._taken.shape))

    def ask(self, x: Array) -> Array:
        """Its result for a vector, as one of float64."""
        given = x.astype(self._taken.dtype).reshape(self._taken.shape)
        return self.model.run(given).outputs[self._given.name].astype(np.float64).ravel()

    def __enter__(self) -> PartRunner:
        return self

    def __exit__(self, *_: object) -> None:
        self.model.close()
