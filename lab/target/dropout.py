"""Runs on the target: what a model with dropout says of one batch, again and again, in both worlds.

usage: dropout.py BUNDLE RUNS

Prints a JSON object: for each world the losses of so many runs of `accumulate` on the same batch, and those of
`evaluate`.
"""

from __future__ import annotations

import json
import sys

import numpy as np

from tzml.client import Trainer, World, open_model


def main() -> None:
    """See above."""
    bundle, runs = sys.argv[1:]
    numbers, found = np.random.default_rng(0), {}
    for world in (World.tee, World.ree):
        with open_model(bundle, world) as model:
            trainer = Trainer(model)
            count = trainer.micro_batch
            inputs = {
                "examples": numbers.standard_normal(trainer.examples.shape, np.float32),
                "labels": np.zeros(count, np.int32),
                "count": np.array(count, np.int32),
            }
            found[world.name] = {
                program: [float(model.run(inputs, program).outputs["loss_sum"]) for _ in range(int(runs))]
                for program in ("accumulate", "evaluate")
            }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
