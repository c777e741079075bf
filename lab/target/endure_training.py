"""Runs on the target: trains a model in the secure world for many steps, and saves its state as it goes.

usage: endure_training.py BUNDLE GRANT STEPS

Each step is a batch of random examples, so many as a micro-batch and one. Prints a JSON object: `memory`, the bytes
in use of OP-TEE's heap, of its memory for TAs, and of what the TA mapped, after 20 steps and after all; `finite`,
whether all losses were numbers; `steps`, as the model counts them.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import numpy as np

from tzml.client import Trainer, World, open_model

EARLY, EVERY, RATE = 20, 100, 0.01


def main() -> None:
    """See above."""
    bundle, grant, steps = sys.argv[1:]
    memory, finite = [], True
    numbers = np.random.default_rng(0)
    with open_model(bundle, World.tee, Path(grant).read_bytes()) as model:
        trainer = Trainer(model)
        count = trainer.micro_batch + 1
        for step in range(1, int(steps) + 1):
            examples = numbers.standard_normal((count, *trainer.examples.shape[1:]), np.float32)
            labels = numbers.integers(0, trainer.classes, count)
            loss = trainer.step(examples, labels, RATE).loss
            finite = finite and loss is not None and math.isfinite(loss)
            if step == 1 or step % EVERY == 0:
                model.save(Path(f"{bundle}.tzs"), give_up=step == 1)
            if step in (EARLY, int(steps)):
                used = model.memory()
                memory.append((used.heap_used, used.pool_used, used.mapped))
        done = model.run({"rate": np.array(0, np.float32), "batch_size": np.array(0, np.int32)}, "update").outputs
    print(json.dumps({"memory": memory, "finite": finite, "steps": float(done["step"].ravel()[0])}))


if __name__ == "__main__":
    main()
