"""Optimizers: how a parameter changes, given the sum of a batch's gradients. All values are rows of numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tvm import relax, tirx

from tzml.compiler.ir.rewrite import Expr
from tzml.compiler.passes.training.in_place import assign
from tzml.compiler.passes.training.options import TrainOptions


@dataclass(frozen=True)
class StepNumbers:
    """What all parameters have in common: the learning rate, and 1 / batch size, which is 0 to forget the batch.

    `scalars` are the optimizer's numbers in this step. All are of rank 0.
    """

    rate: Expr
    share: Expr
    scalars: Sequence[Expr] = ()


@dataclass(frozen=True)
class Optimizer:
    """An optimizer.

    Attributes:
        moments: How many values of a parameter's size it keeps for each.
        scalars: How many single numbers it keeps for all parameters. All begin as zeros.
        begin: Once in a step, of the builder, its scalars as they were, and `share`, to the scalars as they are.
        update: Of the builder, the parameter, its moments, the sum of gradients, and the step, to what stands for
            parameter and moments afterwards.

    """

    moments: int
    scalars: int
    begin: Callable[[Any, Sequence[Expr], Expr], Sequence[Expr]]
    update: Callable[[Any, Expr, Sequence[Expr], Expr, StepNumbers], list[Expr]]


def optimizer(options: TrainOptions) -> Optimizer:
    """The optimizer that `options` ask for."""
    return {"sgd": _sgd, "adam": _adam}[options.optimizer](options)


def unless_forgotten(share: Expr, new: Expr, old: Expr) -> Expr:
    """The new number, or the old one where the batch is forgotten, whatever the gradients are."""
    return tirx.if_then_else(share > tirx.const(0, "float32"), new, old)


def _number(value: float) -> Expr:
    """A constant that is an argument of its kernel (passes/numbers_as_arguments.py)."""
    return relax.const(value, "float32")


def _sgd(options: TrainOptions) -> Optimizer:
    """Velocity = momentum * velocity + gradient + decay * weight; weight -= rate * velocity."""
    decay, momentum = _number(options.decay), _number(options.momentum)

    def plain(builder: Any, weight: Expr, _: Any, total: Expr, step: StepNumbers) -> list[Expr]:
        def moved(w: Expr, g: Expr, rate: Expr, share: Expr, decay: Expr) -> Expr:
            return unless_forgotten(share, w - rate * (g * share + decay * w), w)

        return [assign(builder, "sgd", weight, moved, total, step.rate, step.share, decay)]

    def with_momentum(
        builder: Any, weight: Expr, moments: Sequence[Expr], total: Expr, step: StepNumbers
    ) -> list[Expr]:
        def faster(v: Expr, g: Expr, w: Expr, share: Expr, momentum: Expr, decay: Expr) -> Expr:
            return unless_forgotten(share, momentum * v + (g * share + decay * w), v)

        def moved(w: Expr, v: Expr, rate: Expr, share: Expr) -> Expr:
            return unless_forgotten(share, w - rate * v, w)

        velocity = assign(builder, "velocity", moments[0], faster, total, weight, step.share, momentum, decay)
        return [assign(builder, "move", weight, moved, velocity, step.rate, step.share), velocity]

    if options.momentum:
        return Optimizer(1, 0, lambda *_: (), with_momentum)
    return Optimizer(0, 0, lambda *_: (), plain)


_BETAS = (0.9, 0.999)
_EPSILON = 1e-8


def _adam(options: TrainOptions) -> Optimizer:
    """D. Kingma, J. Ba, "Adam: A Method for Stochastic Optimization", 2015, with its own numbers.

    What corrects the moments, 1 - beta^step, is kept as c = beta * c + (1 - beta), which loses no digits.
    """
    decay, epsilon = _number(options.decay), _number(_EPSILON)
    betas = [_number(beta) for beta in _BETAS]
    rests = [_number(1 - beta) for beta in _BETAS]

    def begin(builder: Any, scalars: Sequence[Expr], share: Expr) -> list[Expr]:
        def corrected(c: Expr, beta: Expr, rest: Expr, share: Expr) -> Expr:
            return unless_forgotten(share, beta * c + rest, c)

        return [
            assign(builder, "correct", c, corrected, beta, rest, share)
            for c, beta, rest in zip(scalars, betas, rests, strict=True)
        ]

    def update(builder: Any, weight: Expr, moments: Sequence[Expr], total: Expr, step: StepNumbers) -> list[Expr]:
        def averaged(m: Expr, g: Expr, w: Expr, share: Expr, decay: Expr, beta: Expr, rest: Expr) -> Expr:
            return unless_forgotten(share, beta * m + rest * (g * share + decay * w), m)

        def squared(m: Expr, g: Expr, w: Expr, share: Expr, decay: Expr, beta: Expr, rest: Expr) -> Expr:
            gradient = g * share + decay * w
            return unless_forgotten(share, beta * m + rest * gradient * gradient, m)

        def moved(w: Expr, m: Expr, v: Expr, c: Expr, d: Expr, rate: Expr, share: Expr, epsilon: Expr) -> Expr:
            return unless_forgotten(share, w - rate * (m / c) / (tirx.sqrt(v / d) + epsilon), w)

        given = (total, weight, step.share, decay)
        first = assign(builder, "average", moments[0], averaged, *given, betas[0], rests[0])
        second = assign(builder, "square", moments[1], squared, *given, betas[1], rests[1])
        numbers = (*step.scalars, step.rate, step.share, epsilon)
        weight = assign(builder, "adam", weight, moved, first, second, *numbers)
        return [weight, first, second]

    return Optimizer(2, 2, begin, update)
