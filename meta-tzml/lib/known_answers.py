# SPDX-License-Identifier: Apache-2.0
"""Inputs for networks on a device, and whether its answers are those of another runtime.

usage: known_answers.py write FOLDER           write NAME.inputs.npy, and print the names as JSON
       known_answers.py check FOLDER WORLD...  compare NAME.WORLD.npy with what is expected

The networks, their samples and the other runtimes' answers are those of the lab.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "lab"))

from tzml_lab.inference.known_models import KNOWN

# of each network; the lab takes all
SAMPLES = 64


def write(folder: Path) -> None:
    """Write the inputs."""
    for name, model in KNOWN.items():
        np.save(folder / f"{name}.inputs.npy", model.samples[0][:SAMPLES])
    print(json.dumps(list(KNOWN)))


def check(folder: Path, worlds: list[str]) -> list[str]:
    """What is wrong with the outputs; empty if nothing is."""
    wrong = []
    for name, model in KNOWN.items():
        expected = model.reference[:SAMPLES]
        for world in worlds:
            found = np.load(folder / f"{name}.{world}.npy")
            if found.shape != expected.shape:
                wrong.append(f"{name} in {world}: expected outputs of shape {expected.shape}, found {found.shape}")
            elif not (difference := model.difference(found)) <= model.tolerance:  # also if it is no number
                wrong.append(
                    f"{name} in {world}: differs from {model.runtime} by {difference:g}, not {model.tolerance:g}"
                )
    return wrong


def main() -> None:
    if len(sys.argv) == 3 and sys.argv[1] == "write":
        write(Path(sys.argv[2]))
    elif len(sys.argv) > 3 and sys.argv[1] == "check":
        if wrong := check(Path(sys.argv[2]), sys.argv[3:]):
            sys.exit("\n".join(wrong))
    else:
        sys.exit((__doc__ or "").strip())


if __name__ == "__main__":
    main()
