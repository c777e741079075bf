"""Runs on the target: asks a model of tzml-serve, whose runs are counted, under ids.

usage: repeat.py PORT MODEL LENGTH…

The model takes an image of that shape. Prints a JSON list: the status of each request.
"""

from __future__ import annotations

import json
import sys
import urllib.error
import urllib.request


def ask(url: str, shape: list[int], number: float = 0, identity: str = "", header: str = "") -> int:
    """Send one request, and say its status."""
    size = 1
    for length in shape:
        size *= length
    image = {"name": "image", "shape": shape, "datatype": "FP32", "data": [number] * size}
    fields = {"inputs": [image], **({"id": identity} if identity else {})}
    request = urllib.request.Request(url, json.dumps(fields).encode())
    if header:
        request.add_header("X-Request-Id", header)
    try:
        with urllib.request.urlopen(request) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def main() -> None:
    """See above."""
    port, model, *shape = sys.argv[1:]
    url = f"http://127.0.0.1:{port}/v2/models/{model}/infer"
    numbers = [int(length) for length in shape]
    found = [
        ask(url, numbers, identity="a"),
        ask(url, numbers, identity="a"),
        ask(url, numbers, identity="a", header="b"),  # the field comes first
        ask(url, numbers, header="b"),
        ask(url, numbers, header="b"),
        # the budget is used up
        ask(url, numbers, 1, identity="a"),
        ask(url, numbers, header="x" * 300),
        ask(url, numbers),
        ask(url, numbers, header="b"),
    ]
    print(json.dumps(found))


if __name__ == "__main__":
    main()
