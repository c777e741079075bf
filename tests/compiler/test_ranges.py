"""Whatever range of a network's layers is a part of its own, the answer has the bits of the whole."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tzml.client import TensorInfo, World, open_model
from tzml.compiler import CompileOptions, compile_model
from tzml.compiler.compile import layers_of
from tzml_zoo.zoo import MODULES, models

ANYWHERE = CompileOptions("host", secure_memory=2 << 30, everywhere=True)
ALL, SOME = 40, 20  # of networks with so many layers all ranges are tried, of larger ones so many


def numbers(info: TensorInfo) -> np.ndarray:
    generator = np.random.default_rng(0)
    real = info.dtype.kind == "f"
    drawn = generator.standard_normal(info.shape) if real else generator.integers(-100, 100, info.shape)
    return drawn.astype(info.dtype)


@pytest.mark.full
@pytest.mark.parametrize("name", MODULES)
def test_every_range_gives_the_bits_of_the_whole(libtzml: Path, name: str) -> None:
    file = models()[name].onnx()
    count = len(layers_of(file))
    ranges = [(first, last) for first in range(1, count + 1) for last in range(first, count + 1)]
    if count > ALL:
        ranges = random.Random(name).sample(ranges, SOME)
    with open_model(compile_model(file, ANYWHERE).encode(), World.ree) as model:
        given = {info.name: numbers(info) for info in model.inputs}
        expected = {name: array.tobytes() for name, array in model.run(given).outputs.items()}
    differ = []
    for first, last in ranges:
        parts = compile_model(file, replace(ANYWHERE, tee=f"{first}:{last}"))
        with open_model(parts.encode(), World.ree) as model:
            found = {name: array.tobytes() for name, array in model.run(given).outputs.items()}
        if found != expected:
            differ.append(f"{first}:{last}")
    assert not differ, f"{len(differ)} of {len(ranges)} ranges"
