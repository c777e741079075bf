"""Runs on the target: opens a bundle of the specification's examples in the secure world, and does what it is told.

usage: entry_points.py BUNDLE STEP…

STEP is `run` (on 0, 1, …), `fail` (on numbers that the examples' kernels fail for), `reset`, or `select=ENTRY`.
Prints a JSON object: the world of each program, for each step the first number of the answer or the status of what
failed, and the bytes of secure memory that were mapped at most.
"""

from __future__ import annotations

import json
import sys

import numpy as np

from tzml.client import Model, RunError, World, open_model


def do(model: Model, step: str) -> float | str | None:
    """One step."""
    action, _, argument = step.partition("=")
    (info,) = model.inputs
    numbers = np.arange(np.prod(info.shape), dtype=info.dtype).reshape(info.shape)
    try:
        if action == "select":
            model.select(int(argument))
        elif action == "reset":
            model.reset()
        else:
            outputs = model.run(numbers if action == "run" else np.full_like(numbers, np.nan)).outputs
            return float(next(iter(outputs.values())).ravel()[0])
    except RunError as error:
        return error.status
    return None


def main() -> None:
    """See above."""
    with open_model(sys.argv[1], World.tee) as model:
        worlds = [program.world.name if program.world else None for program in model.programs]
        results = [do(model, step) for step in sys.argv[2:]]
        print(json.dumps({"worlds": worlds, "results": results, "mapped": model.memory().mapped_peak}))


if __name__ == "__main__":
    main()
