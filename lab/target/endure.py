"""Runs on the target: runs a sealed bundle in the secure world many times.

usage: endure.py BUNDLE GRANT RUNS

Prints a JSON object: `memory`, the bytes in use of OP-TEE's heap and of its memory for TAs after ten runs and after
all; `answers`, how many different answers there were.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from tzml.client import World, open_model


def main() -> None:
    """See above."""
    bundle, grant, runs = sys.argv[1:]
    memory, answers = [], set()
    with open_model(bundle, World.tee, Path(grant).read_bytes()) as model:
        (info,) = model.inputs
        data = (np.arange(np.prod(info.shape)) % 16).astype(info.dtype).reshape(info.shape)
        for count in range(1, int(runs) + 1):
            answers.add(next(iter(model.run(data).outputs.values())).tobytes())
            if count in (10, int(runs)):
                used = model.memory()
                memory.append((used.heap_used, used.pool_used))
    print(json.dumps({"memory": memory, "answers": len(answers)}))


if __name__ == "__main__":
    main()
