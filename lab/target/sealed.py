"""Runs on the target: opens sealed bundles with grants in the secure world, and says how each was answered.

usage: sealed.py STEP…

STEP is BUNDLE,GRANT,RUNS[,REQUEST]: files in the folder of this program, the grant empty for none. Each is run so
often on 0, 1, 2, … modulo 16, as the request of that id if there is one. Prints a JSON list: for each step the
status of what failed, or the last answer.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from tzml.client import RunError, World, open_model

FOLDER = Path(__file__).parent


def do(bundle: str, grant: str, runs: str, request: str = "") -> str | list[float]:
    """One step."""
    try:
        with open_model(FOLDER / bundle, World.tee, (FOLDER / grant).read_bytes() if grant else None) as model:
            (info,) = model.inputs
            data = (np.arange(np.prod(info.shape)) % 16).astype(info.dtype).reshape(info.shape)
            for _ in range(int(runs)):
                outputs = model.run(data, request=request).outputs
            return [float(number) for number in next(iter(outputs.values())).ravel()]
    except RunError as error:
        return error.status


if __name__ == "__main__":
    print(json.dumps([do(*step.split(",")) for step in sys.argv[1:]]))
