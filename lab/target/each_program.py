"""Runs on the target: opens a sealed bundle with a grant in the secure world, and tries its programs in turn.

usage: each_program.py BUNDLE GRANT PROGRAM…

Each is run once on threes, in one session. Prints a JSON list of their statuses.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from tzml.client import Model, RunError, World, open_model


def status(model: Model, program: str) -> str:
    """Of a run of that program."""
    try:
        model.run({info.name: np.full(info.shape, 3, info.dtype) for info in model.inputs}, program)
    except RunError as error:
        return error.status
    return "SUCCESS"


if __name__ == "__main__":
    with open_model(sys.argv[1], World.tee, Path(sys.argv[2]).read_bytes()) as opened:
        print(json.dumps([status(opened, name) for name in sys.argv[3:]]))
