"""Attack a range of layers through what crosses in the clear, and judge the copy that this gives."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tzml.bundle import Bundle, Worlds
from tzml.client import Trainer
from tzml.compiler.compile import CompileOptions
from tzml.compiler.passes.training.options import TrainOptions
from tzml.leakage.oracle import PartRunner, solve
from tzml.leakage.trainable import compile_trainable
from tzml.leakage.victim import MICRO_BATCH, RATE, Samples, Victim, at_random

Array = NDArray[Any]
Apply = Callable[[Array], Array]
_EPOCHS = 40


@dataclass(frozen=True)
class OracleAttack:
    """What asking layers about activations gave.

    Attributes:
        solved: whether the layers were solved, and not learned
        queries: how many activations they were asked about
        fidelity: the share of test inputs for which the model with the copy in it gives the victim's class

    """

    solved: bool
    queries: int
    fidelity: float


def question(victim: Victim, inside: range, pool: Samples, test: Samples, queries: int) -> OracleAttack | None:
    """Solve the layers `inside`, or learn them from `queries` activations; None where they are no oracle.

    They are none if nothing crosses in the clear, and they cannot be asked so if several tensors cross. Raises
    CompileError for layers that cannot be trained.
    """
    cut_model = victim.layered.cut(inside)
    made = victim.layered.partition(inside, victim.options.secure_memory)
    place = next(number for number, (_, worlds) in enumerate(made.parts) if worlds == Worlds.tee)
    bundles = [bundle for bundle, _ in made.parts]
    if not cut_model.is_oracle or not all(map(_is_chain, bundles)):
        return None
    with ExitStack() as stack:
        parts = [stack.enter_context(PartRunner(bundle)) for bundle in bundles]
        head, secret, tail = parts[:place], parts[place], parts[place + 1 :]
        truth = np.array([_through(parts, x).argmax() for x in test.inputs])

        def fidelity(apply: Apply) -> float:
            found = [_through(tail, apply(_through(head, x))).argmax() for x in test.inputs]
            return float(np.mean(np.array(found) == truth))

        solved = solve(secret.ask, secret.inputs)
        if solved is not None:
            return OracleAttack(True, solved.queries, fidelity(solved))
        activations = np.stack([_through(head, x) for x in pool.inputs[:queries]])
        answers = np.stack([secret.ask(x) for x in activations])
        copy = stack.enter_context(_learned(victim, cut_model.secure, activations, answers))
        return OracleAttack(False, len(activations), fidelity(copy.ask))


class _Learned(PartRunner):
    """Layers that were learned."""

    def __init__(self, bundle: Bundle, activations: Array, answers: Array) -> None:
        super().__init__(bundle)
        trainer = Trainer(self.model)
        x = activations.reshape(-1, *self._taken.shape[1:]).astype(np.float32)
        y = answers.reshape(-1, *self._given.shape[1:]).astype(np.float32)
        generator = np.random.default_rng(0)
        for _ in range(_EPOCHS):
            trainer.epoch(x, y, 5 * MICRO_BATCH, RATE, generator)
        self.model.select(0)


def _learned(victim: Victim, secure: Any, activations: Array, answers: Array) -> _Learned:
    options = CompileOptions("host", secure_memory=victim.options.secure_memory)
    train = TrainOptions("adam", loss="mse", micro_batch=MICRO_BATCH)
    trainable = compile_trainable(victim.layered.path, secure, options, train)
    layers = {parameter.layer for parameter in trainable.parameters}
    return _Learned(at_random(trainable, np.random.default_rng(0), layers), activations, answers)


def _is_chain(bundle: Bundle) -> bool:
    return len(bundle.program.inputs) == len(bundle.program.outputs) == 1


def _through(parts: list[PartRunner], x: Array) -> Array:
    found = x.astype(np.float64).ravel()
    for part in parts:
        found = part.ask(found)
    return found
