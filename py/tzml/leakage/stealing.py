"""Model stealing: a thief has the layers outside of the TEE, and labels of as many inputs as it may ask for.

The attack is that of Orekondy, Schiele and Fritz (Knockoff Nets, CVPR 2019), of the Adversarial Robustness Toolbox.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tzml.leakage.adversarial import Adversary, Fooled
from tzml.leakage.victim import Copy, Samples, Victim, numpy_seed

Array = NDArray[Any]
_BATCH = 50
_STEPS = 120
"""That a thief trains: so many whatever it may ask, for examples that repeat teach nothing after that."""


@dataclass(frozen=True)
class Stolen:
    """How good copies are, by seed: the share of right answers, and of those that are the victim's (fidelity).

    `fooled` is what adversarial examples made on them do to the victim, if there is an adversary.
    """

    queries: int
    accuracy: tuple[float, ...]
    fidelity: tuple[float, ...]
    fooled: tuple[Fooled, ...] = ()

    @property
    def mean_fidelity(self) -> float:
        """Over the seeds."""
        return float(np.mean(self.fidelity))


@dataclass(frozen=True)
class Exhibit:
    """A network, its layers that a thief does not know, and samples to ask about and to judge on, as it takes them.

    `network` takes what `Victim.taken` gives.
    """

    network: Victim
    inside: Collection[int]
    pool: Samples
    test: Samples


def steal(
    victim: Exhibit,
    queries: int,
    seeds: Sequence[int],
    own: Exhibit | None = None,
    adversary: Adversary | None = None,
) -> Stolen:
    """Copies of a model some of whose layers are secret, by thieves that ask for labels of `queries` inputs.

    Inputs are drawn from the pool; the copies are judged on the test samples. Thieves who know nothing of the model
    train a network of their `own`, with the same samples in the same order. The `adversary` gets each copy.
    """
    accuracy, fidelity, fooled = [], [], []
    own = own or victim
    test = victim.test
    with victim.network.open(victim.network.trainable.bundle) as original:
        truth = original.scores(test.inputs).argmax(1)
        for seed in seeds:
            with own.network.thief(own.inside, seed) as copy:
                if own.inside:
                    _extract(original, copy, (victim.pool.inputs, own.pool.inputs), queries, seed)
                found = copy.scores(own.test.inputs).argmax(1)
                if adversary:
                    fooled.append(adversary.fool(copy, own.network, seed))
            accuracy.append(float(np.mean(found == test.labels)))
            fidelity.append(float(np.mean(found == truth)))
    return Stolen(queries, tuple(accuracy), tuple(fidelity), tuple(fooled))


def _extract(original: Copy, copy: Copy, pools: tuple[Array, Array], queries: int, seed: int) -> None:
    """Train `copy` with the attack of the toolbox; the pools are the same samples, as each network takes them."""
    from art.attacks.extraction import KnockoffNets
    from art.estimators.classification import BlackBoxClassifier

    from tzml.leakage.art_classifier import ThiefClassifier, chosen

    classes = original.trainer.classes
    numbers = np.arange(len(pools[0]), dtype=np.float32)[:, None]
    black_box = BlackBoxClassifier(lambda x: original.scores(chosen(pools[0], x)), (1,), classes)
    with numpy_seed(seed):
        KnockoffNets(
            black_box, batch_size_fit=min(_BATCH, queries), batch_size_query=queries,
            nb_epochs=max(1, round(_STEPS * _BATCH / max(_BATCH, queries))), nb_stolen=queries,
            sampling_strategy="random", use_probability=False, verbose=False,
        ).extract(numbers, thieved_classifier=ThiefClassifier(copy, pools[1], classes, seed))  # fmt: skip
