"""Runs on the target: opens a bundle again and again, until there is no room for another session.

usage: sessions.py BUNDLE INPUT

Prints a JSON object: `sessions`, how many were open at once; `status` and `message` of the one that was refused;
`memory`, after each opening, the bytes in use of OP-TEE's heap and of its memory for TAs, with the sizes of both;
`answers`, whether all sessions gave the same answer to INPUT while all were open; `after`, whether there is room
when one is closed.
"""

from __future__ import annotations

import json
import sys

import numpy as np

from tzml.client import Model, RunError, open_model


def main() -> None:
    """See above."""
    bundle, sample = sys.argv[1], np.load(sys.argv[2])
    models: list[Model] = []
    memory = []
    found: dict[str, object] = {}
    while not found:
        try:
            models.append(open_model(bundle))
        except RunError as error:
            found = {"status": error.status, "message": str(error)}
        used = models[-1].memory()
        memory.append((used.heap_used, used.pool_used))
    found |= {"sessions": len(models), "memory": memory, "heap_size": used.heap_size, "pool_size": used.pool_size}
    answers = {b"".join(a.tobytes() for a in model.run(sample).outputs.values()) for model in models}
    found["answers"] = len(answers) == 1
    models.pop().close()
    models.append(open_model(bundle))
    found["after"] = len(models) == found["sessions"]
    for model in models:
        model.close()
    print(json.dumps(found))


if __name__ == "__main__":
    main()
