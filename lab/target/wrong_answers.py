"""Runs on the target: opens and runs a sealed bundle while tee-supplicant answers request after request wrongly.

usage: wrong_answers.py BUNDLE GRANT STORAGE STEP

tee-supplicant has hostile_supplicant.c in it. Each way of answering is tried for all requests of an opening and a
run, and for every STEPth of them alone. STORAGE, OP-TEE's folder, is put back after each. Prints a JSON object:
`requests`, how many reads and writes there were; `right`, the answer; `tried`, a list of [mode, number, the status
or the answer]; `afterwards`, the answers once tee-supplicant is honest again, after each way.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np

from tzml.client import RunError, World, open_model

CONTROL, LOG, OLD = (Path(f"/run/hostile-supplicant{end}") for end in ("", ".log", ".old"))
READS = ("flip", "half", "empty", "error", "old", "other")
WRITES = ("lost", "torn", "full")


def answer(bundle: str, grant: bytes) -> Any:
    """The status of what failed, or the first output."""
    try:
        with open_model(bundle, World.tee, grant) as model:
            (info,) = model.inputs
            outputs = model.run(np.full(info.shape, 0.5, info.dtype)).outputs
            return next(iter(outputs.values())).ravel().tolist()
    except RunError as error:
        return error.status


def order(mode: str, number: int = 0) -> None:
    CONTROL.write_text(f"{mode} {number}\n")


def replace(folder: Path, copy: Path) -> None:
    """Make `folder` what `copy` is; it stays the same folder, which tee-supplicant has open."""
    folder.mkdir(exist_ok=True)
    for path in folder.iterdir():
        path.unlink()
    shutil.copytree(copy, folder, dirs_exist_ok=True)


def main(bundle: str, grant_file: str, storage: Path, step: int) -> dict[str, Any]:
    grant = Path(grant_file).read_bytes()
    safe = OLD.with_suffix(".safe")
    order("honest")
    answer(bundle, grant)  # what an earlier test left is put in order
    replace(OLD, storage)
    right = answer(bundle, grant)
    replace(safe, storage)
    LOG.write_bytes(b"")
    answer(bundle, grant)
    requests = {"reads": LOG.read_bytes().count(b"r"), "writes": LOG.read_bytes().count(b"w")}
    tried, afterwards = [], []
    for modes, count in ((READS, requests["reads"]), (WRITES, requests["writes"])):
        for mode in modes:
            for number in (0, *range(1, count + 1, step)):
                replace(storage, safe)
                order(mode, number)
                tried.append([mode, number, answer(bundle, grant)])
            order("honest")
            replace(storage, safe)
            afterwards.append(answer(bundle, grant))
    return {"requests": requests, "right": right, "tried": tried, "afterwards": afterwards}


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]))))
