"""How long an inference takes tells nothing of its input.

Of every network of the zoo, the machine code is followed for all inputs at once (tzml.constant_time). Beside that,
instructions are counted, which believes nothing of how code is read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tzml.bench.kernels import Kernels
from tzml.bench.programs import CROSS_LIBC, emulated, start
from tzml.bundle import Bundle
from tzml.compiler import TARGETS
from tzml.constant_time import check_library
from tzml.owner.seal import timing_of
from tzml_zoo import models

SMALL = ("digits", "digits_int8", "gru_keywords", "lstm_keywords")

Array = NDArray[Any]


def inputs(shape: tuple[int, ...], dtype: np.dtype[Any], count: int) -> Iterator[Array]:
    """Inputs of every kind that a kernel could treat differently: special numbers, and then random ones."""
    random = np.random.default_rng(0)
    if dtype.kind == "f":
        tiny = np.finfo(dtype).smallest_subnormal
        special: tuple[float, ...] = (0, -0.0, 1, -1, tiny, -tiny, 3e38, -3e38, np.inf, -np.inf, np.nan)
    else:
        about = np.iinfo(dtype)
        special = (0, 1, about.min, about.max)
    kinds = [*(np.full(shape, number, dtype) for number in special)]
    for number in special[-3:]:
        one = np.zeros(shape, dtype)
        one.flat[one.size // 2] = number
        kinds.append(one)
    yield from kinds[:count]
    for _ in range(count - len(kinds)):
        scale = 10.0 ** random.integers(-3, 4)
        if dtype.kind == "f":
            yield (random.standard_normal(shape) * scale).astype(dtype)
        else:
            yield random.integers(about.min, about.max, shape, dtype, endpoint=True)


def instructions(bundle: Bundle, folder: Path, count: int) -> list[int]:
    """The instructions of an inference on each of `count` inputs."""
    (port,) = bundle.inputs()
    data = list(inputs(port.shape, np.dtype(port.dtype.name), count))
    Kernels(bundle, TARGETS["qemu"].cc, folder, [data[0]])
    np.stack(data).tofile(folder / "all.bin")
    output = start(emulated(["./run_plan", str(count), "all.bin"], CROSS_LIBC), folder)
    return [int(number) for number in re.findall(r"^instructions (\d+)$", output, re.MULTILINE)]


def check(bundle: Bundle) -> None:
    """No instruction of the kernels' code is left out, and none of what they compute decides about another one."""
    (library,) = bundle.libraries
    found = check_library(library.ree)
    assert found.followed > 1000
    assert (found.branches, found.accesses, found.unreached) == ((), (), ())


@pytest.mark.parametrize("name", SMALL)
def test_no_branch_and_no_address_follows_from_a_number(name: str, for_qemu: Callable[[str], Bundle]) -> None:
    check(for_qemu(name))


@pytest.mark.full
@pytest.mark.parametrize("name", models())
def test_in_no_network_a_branch_or_an_address_follows_from_a_number(
    name: str, for_qemu: Callable[[str], Bundle]
) -> None:
    check(for_qemu(name))


@pytest.mark.parametrize("name", SMALL)
def test_every_input_takes_as_many_instructions(
    name: str, for_qemu: Callable[[str], Bundle], tmp_path: Path
) -> None:
    found = instructions(for_qemu(name), tmp_path, 20)
    assert len(found) == 20
    assert set(found) == {found[0]}
    assert timing_of(for_qemu(name)) == [], "the compiler knows it"


@pytest.mark.full
@pytest.mark.parametrize("name", models())
def test_many_inputs_take_as_many_instructions(
    name: str, for_qemu: Callable[[str], Bundle], tmp_path: Path
) -> None:
    """200 inputs, and 20 where one takes a second and more."""
    count = 200 if models()[name].macs < 1e9 else 20
    found = instructions(for_qemu(name), tmp_path, count)
    assert len(found) == count
    assert set(found) == {found[0]}
    assert timing_of(for_qemu(name)) == []
