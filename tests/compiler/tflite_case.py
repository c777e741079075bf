"""What a TFLite file of one operator is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from tflite_models import Tensor, TfliteFile

Array = NDArray[Any]
SAME, VALID = 0, 1


@dataclass(frozen=True)
class Const:
    """An operand that is in the file; with `scale` it is quantized."""

    data: Array
    scale: ArrayLike | None = None
    zero: ArrayLike = 0
    axis: int = 0


@dataclass(frozen=True)
class State:
    """An operand that is an input with a scale, or the state of a recurrent operator, zeros at first."""

    data: Array
    scale: ArrayLike | None = None
    zero: ArrayLike = 0
    axis: int = 0
    is_input: bool = False


@dataclass(frozen=True)
class Case:
    """An operator with its operands, None where one is left out, and the shapes and types of its results."""

    operator: str
    operands: tuple[Array | Const | State | None, ...]
    results: tuple[Tensor, ...]
    options: str = ""
    values: dict[str, Any] = field(default_factory=dict)

    @property
    def inputs(self) -> list[Array]:
        return [
            operand.data if isinstance(operand, State) else operand
            for operand in self.operands
            if isinstance(operand, np.ndarray) or (isinstance(operand, State) and operand.is_input)
        ]

    @property
    def is_quantized(self) -> bool:
        return any(result.scale is not None for result in self.results)

    @property
    def kind(self) -> str:
        """The type of its numbers, as it is counted."""
        if self.is_quantized:
            return next(result.kind for result in self.results if result.scale is not None)
        scaled = any(isinstance(operand, Const | State) and operand.scale is not None for operand in self.operands)
        kinds = {str(x.dtype) for x in self.inputs}
        return "integer weights" if scaled else "float32" if "float32" in kinds else "other types"

    def quantized(self, number: int, real: Array) -> Array:
        """Real numbers in the steps of a result; those that have none as they are."""
        result = self.results[number]
        if result.scale is None:
            return real
        about = np.iinfo(result.kind)
        steps = np.round(real.astype(np.float64) / np.asarray(result.scale)) + np.asarray(result.zero)
        return np.asarray(np.clip(steps, about.min, about.max).astype(result.kind))

    def file(self, version: int = 5, shapes: Sequence[tuple[int, ...]] | None = None) -> bytes:
        made = TfliteFile(version)
        numbers = []
        for operand in self.operands:
            if operand is None:
                numbers.append(-1)
            elif isinstance(operand, np.ndarray):
                numbers.append(made.input(Tensor(operand.shape, str(operand.dtype))))
            else:
                about: dict[str, Any] = {"scale": operand.scale, "zero": operand.zero, "axis": operand.axis}
                kind = str(operand.data.dtype)
                if isinstance(operand, Const):
                    numbers.append(made.constant(operand.data, **about))
                elif operand.is_input:
                    numbers.append(made.input(Tensor(operand.data.shape, kind, **about)))
                else:
                    numbers.append(made.tensor(Tensor(operand.data.shape, kind, variable=True, **about)))
        results = list(self.results)
        if shapes is not None:
            results = [Tensor(s, r.kind, r.scale, r.zero) for s, r in zip(shapes, results, strict=True)]
        made.operator(self.operator, numbers, *results, options=self.options, **self.values)
        return made.to_bytes()


def floats(*shape: int) -> Array:
    """Of both signs, and none near a limit of a function."""
    return np.random.default_rng(3).uniform(-3, 3, shape).astype(np.float32)


def positive(*shape: int) -> Array:
    return np.random.default_rng(4).uniform(0.2, 2.5, shape).astype(np.float32)


def whole(*shape: int, kind: str = "int32") -> Array:
    return np.random.default_rng(5).integers(1, 9, shape).astype(kind)


def bools(*shape: int) -> Array:
    return np.random.default_rng(6).integers(0, 2, shape).astype(bool)


def ints(*numbers: Any, scalar: bool = False) -> Const:
    return Const(np.array(numbers[0] if scalar else numbers, np.int32))


def case(
    operator: str, *operands: Any, kind: str = "float32", results: int = 1, options: str = "",
    scale: ArrayLike | None = None, zero: ArrayLike = 0, **values: Any,
) -> Case:  # fmt: skip
    """A case whose results have the shapes that LiteRT gives them."""
    kinds = kind.split()
    made = tuple(Tensor((), kinds[min(i, len(kinds) - 1)], scale, zero) for i in range(results))
    return Case(operator, operands, made, options, values)
