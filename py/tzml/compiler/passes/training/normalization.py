"""Batch normalisation: by the statistics of a micro-batch in training, and by running ones otherwise."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from tvm import relax

from tzml.compiler.ir.graph import StateBuffer
from tzml.compiler.ir.rewrite import Expr, const, constant, shape_of

NAME = "relax.nn.batch_norm"
MOMENTUM = 0.1
"""Share of a micro-batch in the running statistics: PyTorch's default, and ONNX's, which says 0.9 for the rest."""

op = relax.op
Emit = Callable[[Expr], Expr]


@dataclass(frozen=True)
class Normalization:
    """A batch normalisation that is trained; `mean` and `variance` are its running statistics in the state."""

    variable: Any
    layer: str
    mean: StateBuffer
    variance: StateBuffer

    @classmethod
    def of(cls, variable: Any, call: Any, name: str) -> Normalization:
        """`name` is the layer's."""
        found = []
        for position, what in ((3, "mean"), (4, "variance")):
            value = constant(call.args[position])
            assert value is not None
            found.append(
                StateBuffer(value.nbytes, initial=value.tobytes(), name=f"{name}.{what}", shape=value.shape)
            )
        return cls(variable, name, *found)


@dataclass(frozen=True)
class Statistics:
    """Mean and variance of each channel, of rank 1, and the variance that the running one follows."""

    mean: Expr
    variance: Expr
    unbiased: Expr


def statistics(emit: Emit, call: Any, data: Expr, count: Expr) -> Statistics:
    """Those of the first `count` examples of `data` (int32, rank 0), of which there is at least one."""
    shape, axis = shape_of(data), int(call.attrs.axis) % len(shape_of(data))
    others = [i for i in range(len(shape)) if i != axis]
    places = math.prod(shape[i] for i in others if i)
    one = relax.const(1, "float32")
    left = emit(op.subtract(emit(op.astype(count, "float32")), const(np.arange(shape[0], dtype=np.float32))))
    counts = emit(op.minimum(emit(op.maximum(left, relax.const(0, "float32"))), one))
    mask = emit(op.reshape(counts, [shape[0]] + [1] * (len(shape) - 1)))
    number = emit(op.maximum(emit(op.multiply(emit(op.sum(counts)), relax.const(float(places), "float32"))), one))
    mean = emit(op.divide(emit(op.sum(emit(op.multiply(data, mask)), axis=others)), number))
    centred = emit(op.subtract(data, _along(emit, mean, len(shape), axis)))
    squares = emit(op.multiply(emit(op.multiply(centred, centred)), mask))
    total = emit(op.sum(squares, axis=others))
    fewer = emit(op.maximum(emit(op.subtract(number, one)), one))
    return Statistics(mean, emit(op.divide(total, number)), emit(op.divide(total, fewer)))


def normalized(emit: Emit, call: Any, data: Expr, gamma: Expr, beta: Expr, mean: Expr, variance: Expr) -> Expr:
    """(data - mean) * gamma / sqrt(variance + epsilon) + beta, all but `data` of rank 1."""
    rank, axis = len(shape_of(data)), int(call.attrs.axis) % len(shape_of(data))
    scale = emit(op.sqrt(emit(op.add(variance, relax.const(float(call.attrs.epsilon), "float32")))))
    scale = emit(op.divide(gamma if call.attrs.scale else relax.const(1, "float32"), scale))
    centred = emit(op.subtract(data, _along(emit, mean, rank, axis)))
    result = emit(op.multiply(centred, _along(emit, scale, rank, axis)))
    return emit(op.add(result, _along(emit, beta, rank, axis))) if call.attrs.center else result


def _along(emit: Emit, numbers: Expr, rank: int, axis: int) -> Expr:
    """One number for each place of an axis, as an operand of a tensor of that rank."""
    (count,) = shape_of(numbers)
    return emit(op.reshape(numbers, [count if i == axis else 1 for i in range(rank)]))
