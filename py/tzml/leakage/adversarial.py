"""Adversarial examples: inputs that are changed a little on a thief's copy, so that the victim mistakes them.

The attacks are FGSM (Goodfellow, Shlens and Szegedy, Explaining and Harnessing Adversarial Examples, ICLR 2015) and
PGD (Madry et al., Towards Deep Learning Models Resistant to Adversarial Attacks, ICLR 2018), of the Adversarial
Robustness Toolbox. They follow gradients of the copy, and never ask the victim.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tzml.errors import TzmlError
from tzml.leakage.victim import Copy, Samples, Victim, numpy_seed

Array = NDArray[Any]
_MOST = 200
_STEPS = 20
_STEP_SHARE = 2.5 / _STEPS
_BATCH = 50


@dataclass(frozen=True)
class Fooled:
    """The share of samples that the victim knew, and mistakes after each attack."""

    fgsm: float
    pgd: float


class Adversary:
    """Changes samples of which the victim knows the class, each number by at most `epsilon` of their range.

    The first 200 samples are tried, as the model file's input takes them. Raises TzmlError if the victim knows none
    of them, and for inputs that are no real numbers, not finite, or all equal.
    """

    def __init__(self, victim: Victim, samples: Samples, epsilon: float, what: str) -> None:
        tried = samples.part(slice(0, _MOST))
        if tried.inputs.dtype != np.float32:
            raise TzmlError(
                f"{what} has samples of {tried.inputs.dtype}, and adversarial examples are of float32",
                "leave out --epsilon, or give a model that takes float32",
            )
        self.victim, self.epsilon = victim, epsilon
        self.samples = tried.part(self._answers(tried.inputs) == tried.labels)
        if not len(self.samples):
            raise TzmlError(
                f"{what}: the model answers none of the first {len(tried)} samples for judging rightly, so that "
                "adversarial examples could change nothing",
                "give samples of its task with their labels, or leave out --epsilon",
            )
        self.low, self.high = (float(f(samples.inputs)) for f in (np.min, np.max))
        self.change = epsilon * (self.high - self.low)
        if not 0 < self.change < np.inf:
            raise TzmlError(
                f"{what} has numbers from {self.low:g} to {self.high:g}, so that --epsilon says nothing",
                "give samples of the model's task",
            )

    def fool(self, copy: Copy, network: Victim, seed: int) -> Fooled:
        """What examples do to the victim that were made on a copy, which is one of `network`."""
        import torch
        from art.attacks.evasion import FastGradientMethod, ProjectedGradientDescent
        from art.estimators.classification import PyTorchClassifier

        from tzml.compiler.passes.training.torch_network import TorchNetwork

        own = TorchNetwork(network.layered.imported, copy.parameters(network.trainable))
        few = self.samples.part(slice(0, 8))
        own.check(few.inputs, copy.scores(network.taken(few).inputs))
        classifier = PyTorchClassifier(
            own, torch.nn.CrossEntropyLoss(), self.samples.inputs.shape[1:], copy.trainer.classes,
            clip_values=(self.low, self.high), device_type="cpu",
        )  # fmt: skip
        attacks = (
            FastGradientMethod(classifier, eps=self.change, batch_size=_BATCH),
            ProjectedGradientDescent(
                classifier, eps=self.change, eps_step=_STEP_SHARE * self.change, max_iter=_STEPS, num_random_init=1,
                batch_size=_BATCH, verbose=False,
            ),
        )  # fmt: skip
        labels = np.eye(copy.trainer.classes, dtype=np.float32)[self.samples.labels]
        with numpy_seed(seed):
            return Fooled(*(self._mistaken(attack.generate(self.samples.inputs, labels)) for attack in attacks))

    def noise(self, seed: int) -> float:
        """What as large a change does to the victim whose signs are drawn at random."""
        signs = np.random.default_rng(seed).choice([-1, 1], self.samples.inputs.shape)
        changed = np.clip(self.samples.inputs + self.change * signs, self.low, self.high)
        return self._mistaken(changed.astype(np.float32))

    def _mistaken(self, inputs: Array) -> float:
        return float(np.mean(self._answers(inputs) != self.samples.labels))

    def _answers(self, inputs: Array) -> Array:
        taken = self.victim.taken(Samples(inputs, np.zeros(len(inputs), np.int64)))
        with self.victim.open(self.victim.trainable.bundle) as original:
            found: Array = original.scores(taken.inputs).argmax(1)
        return found
