"""Optimizers: how a parameter changes, given the sum of a batch's gradients. All values are rows of numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tvm import relax

from tzml.compiler.ir.rewrite import Expr
from tzml.compiler.passes.training.in_place import assign
from tzml.compiler.passes.training.options import TrainOptions


@dataclass(frozen=True)
class Optimizer:
    """An optimizer.

    Attributes:
        moments: How many values of a parameter's size it keeps for each.
        scalars: How many single numbers it keeps for all parameters. All begin as zeros.
        begin: Once in a step, what it makes of its scalars and gives to `update`: of the builder and the scalars.
        update: Of the builder, the parameter, its moments, the sum of gradients, the rate, 1 / batch size (both of
            rank 0), and what `begin` gave, to what stands for parameter and moments afterwards.

    """

    moments: int
    scalars: int
    begin: Callable[[Any, Sequence[Expr]], Sequence[Expr]]
    update: Callable[..., list[Expr]]


def optimizer(options: TrainOptions) -> Optimizer:
    """The optimizer that `options` ask for."""
    return _sgd(options)


def _number(value: float) -> Expr:
    """A constant that is an argument of its kernel (passes/numbers_as_arguments.py)."""
    return relax.const(value, "float32")


def _sgd(options: TrainOptions) -> Optimizer:
    """Velocity = momentum * velocity + gradient + decay * weight; weight -= rate * velocity."""
    decay, momentum = _number(options.decay), _number(options.momentum)

    def plain(builder: Any, weight: Expr, _: Any, total: Expr, rate: Expr, share: Expr, __: Any) -> list[Expr]:
        def moved(w: Expr, g: Expr, rate: Expr, share: Expr, decay: Expr) -> Expr:
            return w - rate * (g * share + decay * w)

        return [assign(builder, "sgd", weight, moved, total, rate, share, decay)]

    def with_momentum(
        builder: Any, weight: Expr, moments: Sequence[Expr], total: Expr, rate: Expr, share: Expr, _: Any
    ) -> list[Expr]:
        def faster(v: Expr, g: Expr, w: Expr, share: Expr, momentum: Expr, decay: Expr) -> Expr:
            return momentum * v + (g * share + decay * w)

        velocity = assign(builder, "velocity", moments[0], faster, total, weight, share, momentum, decay)
        return [assign(builder, "step", weight, lambda w, v, rate: w - rate * v, velocity, rate), velocity]

    if options.momentum:
        return Optimizer(1, 0, lambda *_: (), with_momentum)
    return Optimizer(0, 0, lambda *_: (), plain)
