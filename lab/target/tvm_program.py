"""Runs on the target: a program on apache-tvm-ffi that calls a model like any TVM function.

usage: tvm_program.py WORLD BUNDLE INPUT OUTPUT

INPUT and OUTPUT are .npy files with samples stacked along the first axis. Prints the type of what it was given.
"""

from __future__ import annotations

import sys

import numpy as np
import tvm_ffi

from tzml.client import World, open_model
from tzml.client.tvm_ffi import as_function


def main() -> None:
    """See above."""
    world, bundle, source, output = World[sys.argv[1]], sys.argv[2], sys.argv[3], sys.argv[4]
    samples = np.load(source)
    with open_model(bundle, world) as model:
        function = as_function(model)
        given = [function(tvm_ffi.from_dlpack(samples[i : i + 1])) for i in range(len(samples))]
    print(type(function).__name__, type(given[0]).__name__)
    np.save(output, np.concatenate([np.from_dlpack(tensor) for tensor in given]))


if __name__ == "__main__":
    main()
