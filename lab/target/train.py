"""Runs on the target: trains a model in both worlds with the same batches.

usage: train.py BUNDLE EXAMPLES.npz STEPS BATCH RATE [OTHER]

OTHER is what the normal world trains, instead of BUNDLE.
EXAMPLES has `images` and `labels`; batches follow each other in their order, and begin anew at the end. Prints a
JSON object: for each world the bits of each step's loss, the bits of what `infer` gives afterwards, loss and right
answers of all examples, the median seconds of a step, and the bytes of secure memory and of OP-TEE's heap after
each step.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tzml.client import Trainer, World, open_model

Array = NDArray[Any]


class Session:
    """A model in one world, and what its steps gave."""

    def __init__(self, bundle: str, world: World) -> None:
        self.model = open_model(bundle, world)
        self.trainer = Trainer(self.model)
        self.losses: list[float] = []
        self.seconds: list[float] = []
        self.heap: list[int] = []
        self.mapped: list[int] = []

    def step(self, images: Array, labels: Array, rate: float) -> None:
        """One batch."""
        begin = time.monotonic()
        loss = self.trainer.step(images, labels, rate).loss
        self.seconds.append(time.monotonic() - begin)
        self.losses.append(np.nan if loss is None else loss)
        memory = self.model.memory()
        self.heap.append(memory.heap_used)
        self.mapped.append(memory.mapped)

    def about(self, images: Array, labels: Array) -> dict[str, Any]:
        """What is said above, of one world."""
        score = self.trainer.evaluate(images, labels)
        answer = self.model.run(images[:1], "infer").outputs
        return {
            "losses": [np.float64(loss).tobytes().hex() for loss in self.losses],
            "answer": next(iter(answer.values())).tobytes().hex(),
            "first": self.losses[0],
            "loss": score.loss,
            "correct": score.correct,
            "seconds": statistics.median(self.seconds),
            "heap": self.heap,
            "mapped": self.mapped,
            "mapped_peak": self.model.memory().mapped_peak,
            "secure_peak": self.model.memory().secure_peak,
        }


def main() -> None:
    """See above. The worlds take turns, so that both have the same machine."""
    bundle, examples, steps, batch, rate, *other = sys.argv[1:]
    data = dict(np.load(examples))
    images, labels = data["images"], data["labels"]
    bundles = {World.tee: bundle, World.ree: other[0] if other else bundle}
    sessions = {world.name: Session(path, world) for world, path in bundles.items()}
    for step in range(int(steps)):
        chosen = np.arange(step * int(batch), (step + 1) * int(batch)) % len(images)
        for session in sessions.values():
            session.step(images[chosen], labels[chosen], float(rate))
    print(json.dumps({name: session.about(images, labels) for name, session in sessions.items()}))


if __name__ == "__main__":
    main()
