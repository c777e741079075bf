"""Runs on the target: trains sealed models in the secure world, and saves and restores their state.

usage: checkpoints.py STEP…

STEP is BUNDLE,GRANT,DO…: files in the folder of this program, the grant empty for none, and what is done with the
model: train=COUNT steps on the next examples of digits.npz, answer, world=ree (before anything else), and with a
file save=, give-up=, export= and restore=. Prints a JSON list: for each step the status of what failed, or the bits
of the last answer or loss.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from tzml.bundle import BundleError
from tzml.client import Model, RunError, Trainer, World, open_model

FOLDER = Path(__file__).parent
BATCH, RATE = 16, 0.05


class Learning:
    """One opened model."""

    def __init__(self, model: Model) -> None:
        self.model, self.trainer = model, Trainer(model)
        data = dict(np.load(FOLDER / "digits.npz"))
        self.images, self.labels = data["images"], data["labels"]

    def do(self, what: str, argument: str) -> str:
        """The bits of what it gave, "" for nothing."""
        path = FOLDER / argument
        if what == "train":
            for _ in range(int(argument)):
                start = self.trainer.steps * BATCH
                chosen = np.arange(start, start + BATCH) % len(self.images)
                loss = self.trainer.step(self.images[chosen], self.labels[chosen], RATE).loss
                answer = np.float64(np.nan if loss is None else loss).tobytes().hex()
            return answer
        if what == "answer":
            return next(iter(self.model.run(self.images[:1], "infer").outputs.values())).tobytes().hex()
        if what == "restore":
            self.trainer.steps = self.model.restore(path).updates
        else:
            self.model.save(path, export=what == "export", give_up=what == "give-up")
        return ""


def step(bundle: str, grant: str, *actions: str) -> str:
    """One step."""
    answer, world = "", World.ree if "world=ree" in actions else World.tee
    try:
        with open_model(FOLDER / bundle, world, (FOLDER / grant).read_bytes() if grant else None) as model:
            session = Learning(model)
            for action in actions:
                what, _, argument = action.partition("=")
                if what != "world":
                    answer = session.do(what, argument) or answer
    except (RunError, BundleError) as error:
        return error.status
    return answer


if __name__ == "__main__":
    print(json.dumps([step(*told.split(",")) for told in sys.argv[1:]]))
