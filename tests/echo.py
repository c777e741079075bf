"""A model that answers with its inputs, one of each dtype; no kernel is called."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from bundle_examples import BUNDLE, MEMORY, PROGRAM
from numpy.typing import NDArray

from tzml.bundle import Bundle, Direction, DType, Port, Tensor

FLOATS = ("float16", "float32", "float64")


def numbers(dtype: str) -> NDArray[np.generic]:
    """Three of them: the ends of the dtype, and one between them that no smaller dtype has."""
    if dtype == "bool":
        return np.array([False, True, True])
    if dtype in FLOATS:
        limits = np.finfo(dtype)
        return np.array([limits.min, limits.max, 1 + limits.eps], dtype)
    ends = np.iinfo(dtype)
    return np.array([ends.min, ends.max, ends.max // 2 + 2], dtype)


def echo(without: DType | None = None) -> Bundle:
    """Inputs are named like their dtypes, `int8`; the outputs `int8 again`."""
    inputs = [Tensor(dtype.name, dtype, (1, 3), Direction.input) for dtype in DType if dtype != without]
    outputs = [replace(tensor, name=f"{tensor.name} again", direction=Direction.output) for tensor in inputs]
    count = len(inputs)
    program = replace(
        PROGRAM,
        inputs=tuple(Port(i, 64 * i) for i in range(count)),
        outputs=tuple(Port(count + i, 64 * i) for i in range(count)),
        calls=(),
    )
    memory = replace(MEMORY, arena_size=64 * count, weights_size=0, chunks=())
    return replace(BUNDLE, tensors=(*inputs, *outputs), programs=(program,), memories=(memory,), chunks=())
