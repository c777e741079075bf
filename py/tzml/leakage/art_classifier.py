"""A copy that a thief trains, as a classifier of the Adversarial Robustness Toolbox."""

from __future__ import annotations

from typing import Any

import numpy as np
from art.estimators import BaseEstimator
from art.estimators.classification.classifier import ClassifierMixin
from numpy.typing import NDArray

from tzml.leakage.victim import Copy, Samples

Array = NDArray[Any]


class ThiefClassifier(ClassifierMixin, BaseEstimator):
    """The toolbox trains the copy with `fit` and asks it with `predict`; it sees nothing else of it.

    What it takes for inputs are the numbers of `samples`, [N, 1]: those may be of any form.
    """

    def __init__(self, copy: Copy, samples: Array, classes: int, seed: int) -> None:
        super().__init__(model=copy, clip_values=None)
        self._samples, self.nb_classes, self._seed = samples, classes, seed

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Of the number of an example."""
        return (1,)

    def fit(self, x: Array, y: Array, batch_size: int = 50, nb_epochs: int = 1, **_: Any) -> None:
        """Train on examples and one-hot labels."""
        self._model.train(Samples(chosen(self._samples, x), y.argmax(1)), batch_size, nb_epochs, self._seed)

    def predict(self, x: Array, **_: Any) -> Array:
        """The output for each example."""
        found: Array = self._model.scores(chosen(self._samples, x))
        return found


def chosen(samples: Array, numbers: Array) -> Array:
    """The samples of some numbers, [N, 1]."""
    found: Array = samples[np.ravel(numbers).astype(np.int64)]
    return found
