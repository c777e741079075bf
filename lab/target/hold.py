"""Runs on the target: keeps a model open while others look at the machine's memory.

usage: hold.py BUNDLE WORLD GRANT FOLDER

Opens BUNDLE in the world `tee` or `ree`, with the file GRANT unless that is empty, runs it once on all threes, and
makes FOLDER/open. When there is FOLDER/close it closes the model, and makes FOLDER/closed. It ends when there is
FOLDER/end, so that its memory can be looked at before.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np

from tzml.client import World, open_model


def wait_for(path: Path) -> None:
    """Until it is there, for ten minutes at most."""
    for _ in range(6000):
        if path.exists():
            return
        time.sleep(0.1)
    raise TimeoutError(path)


def main() -> None:
    """See above."""
    bundle, world, grant, folder = sys.argv[1], World[sys.argv[2]], sys.argv[3], Path(sys.argv[4])
    with open_model(bundle, world, Path(grant).read_bytes() if grant else None) as model:
        (info,) = model.inputs
        model.run(np.full(info.shape, 3, info.dtype))
        (folder / "open").touch()
        wait_for(folder / "close")
    (folder / "closed").touch()
    wait_for(folder / "end")


if __name__ == "__main__":
    main()
