"""Runs on the target: keeps a model open while others look at the machine's memory.

usage: hold.py BUNDLE WORLD GRANT FOLDER

Opens BUNDLE in the world `tee` or `ree`, with the file GRANT unless that is empty, runs it once on all threes, and
makes FOLDER/open. When there is FOLDER/close it closes the model. When there is FOLDER/crash it runs the model on
an input that begins with -1, which must be the end of its TA. Then it makes FOLDER/closed. It ends when there is
FOLDER/end, so that its memory can be looked at before. When there is FOLDER/kill it writes its process to
FOLDER/running, and runs the model until it is killed.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import numpy as np

from tzml.client import Model, RunError, World, open_model


def wait_for(*paths: Path) -> Path:
    """Until one of them is there, for ten minutes at most; which it is."""
    for _ in range(6000):
        for path in paths:
            if path.exists():
                return path
        time.sleep(0.1)
    raise TimeoutError(paths)


def status(model: Model, data: np.ndarray) -> str:
    """Of a run."""
    try:
        model.run(data)
    except RunError as error:
        return error.status
    return "SUCCESS"


def main() -> None:
    """See above."""
    bundle, world, grant, folder = sys.argv[1], World[sys.argv[2]], sys.argv[3], Path(sys.argv[4])
    with open_model(bundle, world, Path(grant).read_bytes() if grant else None) as model:
        (info,) = model.inputs
        data = np.full(info.shape, 3, info.dtype)
        model.run(data)
        (folder / "open").touch()
        told = wait_for(folder / "close", folder / "crash", folder / "kill").name
        if told == "kill":
            (folder / "running").write_text(f"{os.getpid()}\n")
        while told == "kill":
            model.run(data)
        if told == "crash":
            data.flat[0] = -1
            if status(model, data) != "TA_DEAD":
                raise RuntimeError("the TA lives")
    (folder / "closed").touch()
    wait_for(folder / "end")


if __name__ == "__main__":
    main()
