"""The inputs of a model: what the file says of them, and what the user fixes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tzml.compiler.ir.errors import CompileError
from tzml.errors import known_names


@dataclass(frozen=True)
class InputSpec:
    """What the user says of an input: its shape, and its dtype as a check of what the model says."""

    shape: tuple[int, ...]
    dtype: str = ""


Inputs = Mapping[str, InputSpec]


@dataclass(frozen=True)
class Declared:
    """What the model says of an input; an open dimension is its name in the model, or "?"."""

    dimensions: tuple[int | str, ...]
    dtype: str


def settle_inputs(declared: Mapping[str, Declared], given: Inputs) -> dict[str, tuple[int, ...]]:
    """The shape of each input of the model, in the model's order.

    Raises CompileError for an input that stays open, that is given in another shape or dtype than the
    model has, or that the model does not have.
    """
    for name in given:
        if name not in declared:
            raise CompileError(f"the model has no input {name}", known_names(name, declared))
    return {name: _settle(name, kind, given.get(name)) for name, kind in declared.items()}


def _settle(name: str, kind: Declared, given: InputSpec | None) -> tuple[int, ...]:
    dimensions = list(kind.dimensions)
    if 0 in dimensions:
        raise CompileError(
            f"input {name} has no elements: its shape is {dimensions}", "export the model without it"
        )
    if given is None:
        if not all(isinstance(d, int) and d > 0 for d in dimensions):
            example = "x".join(str(d) if isinstance(d, int) and d > 0 else "1" for d in dimensions)
            raise CompileError(f"input {name} has open dimensions: {dimensions}", f"give --input {name}={example}")
        return tuple(int(d) for d in dimensions)
    if given.dtype and given.dtype != kind.dtype:
        raise CompileError(f"input {name} has elements of type {kind.dtype}, not {given.dtype}")
    shape = given.shape
    fits = len(shape) == len(dimensions) and all(
        not isinstance(d, int) or d == g for d, g in zip(dimensions, shape, strict=True)
    )
    if not fits:
        raise CompileError(f"input {name} is {dimensions}, not {list(shape)}")
    return shape
