"""The functions that kernels bring along agree with the host's libm."""

from __future__ import annotations

import ctypes
import math
import subprocess
from collections.abc import Callable
from importlib import resources

import numpy as np
import pytest
from numpy.typing import NDArray

Floats = NDArray[np.float32]


@pytest.fixture(scope="module")
def support(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    library = tmp_path_factory.mktemp("support") / "support.so"
    source = resources.files("tzml.compiler.codegen") / "support" / "math.c"
    with resources.as_file(source) as path:
        flags = ["-O2", "-shared", "-fPIC", "-ffreestanding", "-Wl,-Bsymbolic"]
        subprocess.run(["gcc", *flags, path, "-o", library], check=True)
    return ctypes.CDLL(str(library))


def samples() -> Floats:
    """Floats of every magnitude, by their bits, and the special ones."""
    bits = np.arange(0, 1 << 32, 250_007, dtype=np.uint64).astype(np.uint32)
    special = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1, -1, 88.7, -103.9, 1e-45], np.float32)
    return np.concatenate([bits.view(np.float32), special])


def distance(got: Floats, exact: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far, in units in the last place of the exact result as a float32."""
    with np.errstate(all="ignore"):
        expected = exact.astype(np.float32)
        same = (got == expected) | (np.isnan(got) & np.isnan(expected))
        unit = np.maximum(np.spacing(np.abs(expected)), np.float32(1e-45)).astype(np.float64)
        return np.where(same, 0, np.abs(got.astype(np.float64) - exact) / unit)


def erf(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.array([math.erf(value) for value in values])


@pytest.mark.parametrize(
    ("name", "exact"),
    [("expf", np.exp), ("logf", np.log), ("tanhf", np.tanh), ("erff", erf)],
    ids=["expf", "logf", "tanhf", "erff"],
)
def test_a_function_is_within_one_unit_in_the_last_place(
    support: ctypes.CDLL, name: str, exact: Callable[[NDArray[np.float64]], NDArray[np.float64]]
) -> None:
    function = getattr(support, name)
    function.restype, function.argtypes = ctypes.c_float, [ctypes.c_float]
    x = samples()
    got = np.array([function(float(value)) for value in x], np.float32)
    with np.errstate(all="ignore"):
        wide = x.astype(np.float64)
        expected = exact(wide)
    assert distance(got, expected).max() <= 1


def test_powf_is_within_one_unit_in_the_last_place(support: ctypes.CDLL) -> None:
    support.powf.restype, support.powf.argtypes = ctypes.c_float, [ctypes.c_float, ctypes.c_float]
    random = np.random.default_rng(1)
    x = np.concatenate([random.uniform(-20, 20, 20_000).astype(np.float32), samples()[::4]])
    y = np.concatenate(
        [
            random.uniform(-9, 9, 10_000).astype(np.float32),
            random.integers(-9, 9, 10_000).astype(np.float32),
            random.choice(samples(), len(x) - 20_000),
        ]
    )
    got = np.array([support.powf(float(a), float(b)) for a, b in zip(x, y, strict=True)], np.float32)
    with np.errstate(all="ignore"):
        expected = np.power(x.astype(np.float64), y.astype(np.float64))
    assert distance(got, expected).max() <= 1
