"""Runs on the target: how long opening and running a bundle takes in the secure world.

usage: sealed_costs.py BUNDLE GRANT OPENINGS RUNS SAMPLES

GRANT is "" for none. The input is all 0.5; each run is of SAMPLES samples at once. Prints a JSON object: `open`,
the seconds of each opening; `run`, those of each run of the last one; `loaded`, the bytes of weights that each run
loads; `kept`, the most secure memory that the model took besides what it takes for one sample.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np

from tzml.client import Model, World, open_model


def timed_runs(model: Model, count: int, samples: int) -> tuple[list[float], float]:
    """Seconds of each run, and the bytes of weights that each loads, without those that opening loads."""
    inputs = {info.name: np.full(info.shape, 0.5, info.dtype) for info in model.inputs}
    before = sum(chunk.loads * chunk.size for chunk in model.chunks())
    if samples == 1:
        seconds = [model.run(inputs).seconds for _ in range(count)]
    else:
        seconds = [sum(a.seconds for a in model.run_samples([inputs] * samples)) for _ in range(count)]
    return seconds, (sum(chunk.loads * chunk.size for chunk in model.chunks()) - before) / count


if __name__ == "__main__":
    bundle, grant, openings, runs, samples = sys.argv[1:]
    permission = Path(grant).read_bytes() if grant else None
    opened = []
    for left in reversed(range(int(openings))):
        start = time.monotonic()
        with open_model(bundle, World.tee, permission) as model:
            opened.append(time.monotonic() - start)
            if not left:
                before = model.memory().mapped_peak
                seconds, loaded = timed_runs(model, int(runs), int(samples))
                kept = model.memory().mapped_peak - before
    print(json.dumps({"open": opened, "run": seconds, "loaded": loaded, "kept": kept}))
