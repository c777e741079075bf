"""Runs on the target: opens bundles that are wrong, and says what the world that refuses them said.

usage: probe.py WORLD SOUND INPUT BUNDLE…

A session of the SOUND bundle stays open all the time. It is run after each BUNDLE, and says how much secure memory
is in use then. After each GROUP of bundles, the SOUND one is opened and run anew: under OP-TEE, that takes as long
as twenty runs in the open session.

Prints a JSON object a line, for each bundle: `status`, `message`, whether standard input is still open (`stdin`),
the bytes of secure memory in use `before` all bundles and after this one (`used`), and whether the SOUND bundle
answered as ever in the open session (`works`) and in the next new one (`opens`).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tzml.client import Model, RunError, World, open_model

GROUP = 16


def ask(model: Model, sample: NDArray[Any]) -> bytes:
    """The answer to one sample."""
    return b"".join(array.tobytes() for array in model.run(sample).outputs.values())


def refusal(path: str, world: World) -> dict[str, object]:
    """What the world says to a bundle."""
    found: dict[str, object] = {"bundle": path, "status": "SUCCESS", "message": ""}
    try:
        open_model(path, world).close()
    except RunError as error:
        found |= {"status": error.status, "message": str(error)}
    # libteec closes descriptor 0 for shared memory that was never allocated
    return found | {"stdin": Path("/proc/self/fd/0").exists()}


def answer_anew(sound: str, world: World, sample: NDArray[Any]) -> bytes | None:
    """The answer to one sample in a new session, None if there is none."""
    try:
        with open_model(sound, world) as model:
            return ask(model, sample)
    except RunError:
        return None


def main() -> None:
    """See above."""
    world, sound, sample, paths = World[sys.argv[1]], sys.argv[2], np.load(sys.argv[3]), sys.argv[4:]
    with open_model(sound, world) as witness:
        expected = ask(witness, sample)
        before = witness.memory().pool_used
        for start in range(0, len(paths), GROUP):
            group = []
            for path in paths[start : start + GROUP]:
                found = refusal(path, world) | {"before": before, "works": ask(witness, sample) == expected}
                group.append(found | {"used": witness.memory().pool_used})
            opens = answer_anew(sound, world, sample) == expected
            for found in group:
                print(json.dumps(found | {"opens": opens}), flush=True)


if __name__ == "__main__":
    main()
