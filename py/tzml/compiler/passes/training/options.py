"""How a model is trained."""

from __future__ import annotations

from dataclasses import dataclass

OPTIMIZERS = ("sgd", "adam")
LOSSES = ("cross-entropy", "mse")


@dataclass(frozen=True)
class TrainOptions:
    """What decides the programs of a model that can be trained.

    Attributes:
        optimizer: One of OPTIMIZERS.
        loss: One of LOSSES.
        micro_batch: Examples that one run of `accumulate` or `evaluate` takes; their number decides the memory.
        momentum: Of SGD; 0 for none.
        decay: Of the weights, as a part of the gradient (L2).
        freeze: Ranges of layers that are not trained (passes/layer_range.py).
        clip: Length that the gradient of each example is limited to; 0 for none.
        noise: Deviation of the noise that each update adds to the sum of clipped gradients, in clips; 0 for none.

    """

    optimizer: str
    loss: str = "cross-entropy"
    micro_batch: int = 8
    momentum: float = 0.0
    decay: float = 0.0
    freeze: tuple[str, ...] = ()
    clip: float = 0.0
    noise: float = 0.0
