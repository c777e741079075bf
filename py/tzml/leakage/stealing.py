"""Model stealing: a thief has the layers outside of the TEE, and labels of as many inputs as it may ask for.

The attack is that of Orekondy, Schiele and Fritz (Knockoff Nets, CVPR 2019), of the Adversarial Robustness Toolbox.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tzml.leakage.victim import Copy, Samples, Victim

Array = NDArray[Any]
_BATCH = 50
_STEPS = 120
"""That a thief trains: so many whatever it may ask, for examples that repeat teach nothing after that."""


@dataclass(frozen=True)
class Stolen:
    """How good copies are, by seed: the share of right answers, and of those that are the victim's (fidelity)."""

    queries: int
    accuracy: tuple[float, ...]
    fidelity: tuple[float, ...]

    @property
    def mean_fidelity(self) -> float:
        """Over the seeds."""
        return float(np.mean(self.fidelity))


def steal(
    victim: Victim, inside: Collection[int], pool: Samples, test: Samples, queries: int, seeds: Sequence[int]
) -> Stolen:
    """Copies of a model whose layers `inside` are secret, by thieves that ask for labels of `queries` inputs.

    Inputs are drawn from `pool`; the copies are judged on `test`.
    """
    accuracy, fidelity = [], []
    with victim.open(victim.trainable.bundle) as original:
        truth = original.scores(test.inputs).argmax(1)
        for seed in seeds:
            with victim.thief(inside, seed) as copy:
                if inside:
                    _extract(original, copy, pool, queries, seed)
                found = copy.scores(test.inputs).argmax(1)
            accuracy.append(float(np.mean(found == test.labels)))
            fidelity.append(float(np.mean(found == truth)))
    return Stolen(queries, tuple(accuracy), tuple(fidelity))


def _extract(original: Copy, copy: Copy, pool: Samples, queries: int, seed: int) -> None:
    """Train `copy` with the attack of the toolbox."""
    from art.attacks.extraction import KnockoffNets
    from art.estimators.classification import BlackBoxClassifier

    from tzml.leakage.art_classifier import ThiefClassifier

    shape, classes = pool.inputs.shape[1:], original.trainer.classes
    black_box = BlackBoxClassifier(original.scores, shape, classes)
    before = np.random.get_state()
    np.random.seed(seed)
    try:
        KnockoffNets(
            black_box, batch_size_fit=min(_BATCH, queries), batch_size_query=queries,
            nb_epochs=max(1, round(_STEPS * _BATCH / max(_BATCH, queries))), nb_stolen=queries,
            sampling_strategy="random", use_probability=False, verbose=False,
        ).extract(pool.inputs, thieved_classifier=ThiefClassifier(copy, shape, classes, seed))  # fmt: skip
    finally:
        np.random.set_state(before)
