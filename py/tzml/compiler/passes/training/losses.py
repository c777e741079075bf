"""What is made small: losses of examples, and how many of the answers are right."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from tvm import relax

from tzml.compiler.ir.errors import CompileError
from tzml.compiler.ir.rewrite import Expr, const, shape_of

Emit = Callable[[Expr], Expr]
op = relax.op


@dataclass(frozen=True)
class Loss:
    """A loss.

    Attributes:
        target: The input that says what is right.
        output: The output besides `loss_sum`, "" for none: how many answers are right.
        type_of_target: Its shape and dtype, for results of a shape.
        each: The loss of each example, (N,), of the result and the targets; `emit` binds.
        right: 1 for each example whose answer is right, 0 for the others, (N,).
        takes_logits: Whether it takes what a softmax at the model's end would take.

    """

    target: str
    output: str
    type_of_target: Callable[[tuple[int, ...]], Any]
    each: Callable[[Emit, Expr, Expr], Expr]
    right: Callable[[Emit, Expr, Expr], Expr] | None = None
    takes_logits: bool = False


def _labels(shape: tuple[int, ...]) -> Any:
    if len(shape) != 2:
        raise CompileError(
            f"cross-entropy is of a row of numbers for each example, and the model gives {list(shape)}",
            "give a classifier, or another --loss",
        )
    return relax.TensorType((shape[0],), "int32")


def _cross_entropy(emit: Emit, logits: Expr, labels: Expr) -> Expr:
    """-log softmax(logits)[label]; NaN for a label that is no class."""
    logs, chosen = emit(op.nn.log_softmax(logits, 1)), _one_hot(emit, logits, labels)
    right = emit(op.sum(emit(op.multiply(logs, chosen)), axis=1))
    return emit(op.negative(emit(op.divide(right, emit(op.sum(chosen, axis=1))))))


def _one_hot(emit: Emit, logits: Expr, labels: Expr) -> Expr:
    """Labels as rows of zeros and a one: a kernel must not index by them (codegen/refuse_indirect.py)."""
    examples, classes = shape_of(logits)
    column = emit(op.reshape(labels, (examples, 1)))
    numbers = const(np.arange(classes, dtype=np.int32).reshape(1, -1))
    return emit(op.astype(emit(op.equal(column, numbers)), "float32"))


def _right(emit: Emit, logits: Expr, labels: Expr) -> Expr:
    """Whether the first of the largest numbers is the label's."""
    best = emit(op.astype(emit(op.argmax(logits, axis=1)), "int32"))
    return emit(op.astype(emit(op.equal(best, labels)), "float32"))


def _squared_error(emit: Emit, result: Expr, targets: Expr) -> Expr:
    """The mean of the squares of the differences."""
    difference = emit(op.subtract(result, targets))
    squares = emit(op.multiply(difference, difference))
    examples, *rest = shape_of(result)
    return emit(op.mean(emit(op.reshape(squares, (examples, math.prod(rest)))), axis=1))


LOSSES = {
    "cross-entropy": Loss("labels", "correct", _labels, _cross_entropy, _right, takes_logits=True),
    "mse": Loss("targets", "", lambda shape: relax.TensorType(shape, "float32"), _squared_error),
}


def of_count(emit: Emit, values: Expr, count: Expr) -> Expr:
    """The values (N,) of the first `count` examples (int32, rank 0), and zeros for the others."""
    (examples,) = shape_of(values)
    numbers = const(np.arange(examples, dtype=np.float32))
    left = emit(op.subtract(emit(op.astype(count, "float32")), numbers))
    ones = emit(op.minimum(emit(op.maximum(left, relax.const(0, "float32"))), relax.const(1, "float32")))
    return emit(op.multiply(values, ones))
