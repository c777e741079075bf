"""Runs on the target: many clients at once, each a process that opens a bundle and runs it once.

usage: crowd.py CLIENTS WAIT BUNDLE INPUT

Each waits up to WAIT seconds for room. Prints a JSON object: `answered`, how many got an answer; `different`, how
many answers there are; `refused`, the messages of the others.
"""

from __future__ import annotations

import json
import sys
from multiprocessing import get_context

import numpy as np

from tzml.client import RunError, open_model


def ask(bundle: str, path: str, wait: float) -> tuple[str, str]:
    """An answer, or an empty one and the message."""
    try:
        with open_model(bundle, wait=wait) as model:
            return model.run(np.load(path)).outputs.popitem()[1].tobytes().hex(), ""
    except RunError as error:
        return "", f"{error.status}: {error}"


def main() -> None:
    """See above."""
    clients, wait, bundle, path = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3], sys.argv[4]
    with get_context("fork").Pool(clients) as pool:
        found = pool.starmap(ask, [(bundle, path, wait)] * clients, chunksize=1)
    answers = [answer for answer, _ in found if answer]
    refused = [message for _, message in found if message]
    print(json.dumps({"answered": len(answers), "different": len(set(answers)), "refused": refused}))


if __name__ == "__main__":
    main()
