"""Membership inference: whether an example was one that the model was trained on, told from what leaves the TEE.

The attack is that of Shokri et al. (Membership Inference Attacks against Machine Learning Models, S&P 2017) with a
random forest, of the Adversarial Robustness Toolbox. It is given half of the members and half of the others, and
judged on the rest. Beside it is the plain one of Yeom et al. (Privacy Risk in Machine Learning, CSF 2018), which
takes for members those whose class has a high score; where examples are few, it is the better one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tzml.leakage.victim import Samples, Victim, numpy_seed


@dataclass(frozen=True)
class Membership:
    """The area under the ROC curve, from 0.5 (nothing is told) to 1: from labels alone, and from scores."""

    labels: float
    scores: float


def infer_membership(victim: Victim, members: Samples, others: Samples, seed: int = 0) -> Membership:
    """How well members are told from others."""
    from art.attacks.inference.membership_inference import MembershipInferenceBlackBox
    from art.estimators.classification import BlackBoxClassifier

    count = min(len(members), len(others))
    halves = [slice(0, count // 2), slice(count // 2, count)]
    with victim.open(victim.trainable.bundle) as original:
        shape, classes = members.inputs.shape[1:], original.trainer.classes
        scores = [original.scores(samples.inputs[:count]) for samples in (members, others)]
        black_box = BlackBoxClassifier(original.scores, shape, classes)
    attack = MembershipInferenceBlackBox(black_box, attack_model_type="rf")
    known, judged = halves
    with numpy_seed(seed):
        attack.fit(
            y=members.labels[known], test_y=others.labels[known], pred=scores[0][known], test_pred=scores[1][known]
        )
    shown = [(own[judged], samples.labels[judged]) for samples, own in zip((members, others), scores, strict=True)]
    learned, confident, right = [], [], []
    for own, labels in shown:
        learned.append(np.ravel(attack.infer(None, labels, pred=own, probabilities=True)))
        confident.append(own[np.arange(len(own)), labels])
        right.append(own.argmax(1) == labels)
    return Membership(_area(*right), max(_area(*learned), _area(*confident)))


def _area(members: np.ndarray, others: np.ndarray) -> float:
    """The area under the ROC curve, in which equal numbers count half."""
    from sklearn.metrics import roc_auc_score

    truth = np.r_[np.ones(len(members)), np.zeros(len(others))]
    return float(roc_auc_score(truth, np.r_[members, others].astype(np.float64)))
