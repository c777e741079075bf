"""Runs on the target: how long a bundle takes in the clear, and as a stage of a pipeline with sealed records.

usage: stage_costs.py FOLDER RUNS

FOLDER has stage.tzm, stage.tzg with a grant that also gives outputs in the clear, nonce, and the records 0.tzx,
1.tzx and so on, one for each run. The session's evidence is written to session.tzd; then a release is waited for,
whose name is release.tzr once it is whole. What comes of each record is written to 0.out and so on. Prints a JSON
object: `clear` and `sealed`, the seconds of each run; `taken` and `given`, bytes of a record.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np

from tzml.client import World, open_model
from tzml.client.stage import open_stage

PATIENCE = 600  # seconds for the release


def clear_runs(folder: Path, grant: bytes, count: int) -> list[float]:
    """Seconds of each run in the clear."""
    with open_model(folder / "stage.tzm", World.tee, grant) as model:
        inputs = {info.name: np.full(info.shape, 0.5, info.dtype) for info in model.inputs}
        return [model.run(inputs).seconds for _ in range(count)]


def sealed_runs(folder: Path, grant: bytes, count: int) -> tuple[list[float], int, int]:
    """Seconds of each run on a record, and the sizes of a record that is taken and of one that is given."""
    with open_stage(folder / "stage.tzm", (folder / "nonce").read_bytes(), grant) as stage:
        stage.record.write(folder / "session.tzd")
        deadline = time.monotonic() + PATIENCE
        while not (folder / "release.tzr").exists():
            assert time.monotonic() < deadline, "no release came"
            time.sleep(0.5)
        taken = stage.join((folder / "release.tzr").read_bytes())
        seconds, given = [], b""
        for number in range(count):
            record = (folder / f"{number}.tzx").read_bytes()
            before = time.monotonic()
            given = stage.run(record)
            seconds.append(time.monotonic() - before)
            (folder / f"{number}.out").write_bytes(given)
        return seconds, taken, len(given)


if __name__ == "__main__":
    where, runs = Path(sys.argv[1]), int(sys.argv[2])
    permission = (where / "stage.tzg").read_bytes()
    clear = clear_runs(where, permission, runs)
    sealed, size_taken, size_given = sealed_runs(where, permission, runs)
    print(json.dumps({"clear": clear, "sealed": sealed, "taken": size_taken, "given": size_given}))
