"""Runs on the target: opens bundles that are wrong, and says what the world that refuses them said.

usage: probe.py WORLD SOUND INPUT BUNDLE…

After each BUNDLE the SOUND one is opened and run. Prints a JSON object a line, for each bundle:
status, message, whether standard input is still open, the secure memory in use before, and whether the
sound bundle's answer was the same as ever.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tzml.client import Model, RunError, World, open_model


def ask(model: Model, sample: NDArray[Any]) -> bytes:
    """The answer to one sample."""
    return b"".join(array.tobytes() for array in model.run(sample).outputs.values())


def main() -> None:
    """See above."""
    world, sound, sample = World[sys.argv[1]], sys.argv[2], np.load(sys.argv[3])
    with open_model(sound, world) as model:
        expected = ask(model, sample)
    for path in sys.argv[4:]:
        found: dict[str, object] = {"bundle": path, "status": "SUCCESS", "message": ""}
        try:
            open_model(path, world).close()
        except RunError as error:
            found |= {"status": error.status, "message": str(error)}
        # libteec closes descriptor 0 for shared memory that was never allocated
        found["stdin"] = Path("/proc/self/fd/0").exists()
        with open_model(sound, world) as model:
            found |= {"works": ask(model, sample) == expected, "used": model.memory().pool_before}
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
