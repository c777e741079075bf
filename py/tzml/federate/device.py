"""What a device does in a round: take the global model, train it on its own examples, give an update."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tzml.client.model import Model
from tzml.client.trainer import Trainer
from tzml.errors import TzmlError

Array = NDArray[Any]


@dataclass(frozen=True)
class LocalPlan:
    """How a device trains in a round.

    Attributes:
        updates: Updates with noise, each of a batch of its own.
        share: Of the examples that a batch has on the average: each example is in it with this probability, apart
            from all others (Poisson sampling), as the account of a training's privacy takes it.
        rate: The learning rate.

    """

    updates: int
    share: float
    rate: float


def train_round(
    model: Model, given: Path, update: Path, examples: tuple[Array, Array], plan: LocalPlan,
    progress: Callable[[int, float | None], None] = lambda *_: None,
) -> None:  # fmt: skip
    """Train a private model from the global model in `given`, and write what leaves to `update`.

    `progress` is told each update, from 1, and the mean loss of its batch before it, None for none. Raises RunError
    if the device refuses the global model, or has made all updates that its grant allows; TzmlError for examples
    that do not fit. The device exports nothing then.
    """
    trainer = Trainer(model)
    images, labels = trainer.check(*examples)
    batch_size = round(plan.share * len(images))
    if not batch_size:
        raise TzmlError(
            f"a share of {plan.share} of {len(images)} examples is less than one", "give a larger share, or more"
        )
    generator = np.random.default_rng(secrets.randbits(256))
    model.restore(given)
    for number in range(1, plan.updates + 1):
        chosen = generator.random(len(images)) < plan.share
        score = trainer.noised_step(images[chosen], labels[chosen], plan.rate, batch_size)
        progress(number, score.loss if score else None)
    model.save(update, export=True)
