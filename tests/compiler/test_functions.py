"""The functions of a number that kernels compute agree with the host's libm: in vectors, and number by number."""

from __future__ import annotations

import ctypes
import math
import re
import subprocess
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from relax_networks import by_tzml, graph, network
from tvm import te, tirx

from tzml.compiler.codegen.kernels.functions import BY_LLVM, FUNCTIONS, OF_FLOAT64
from tzml.compiler.ir.operators import OPERATORS

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

MATH = resources.files("tzml.compiler.codegen") / "support" / "math.c"
# the functions of math.c, with their numbers of operands
DEFINED = {
    name: arguments.count("float")
    for name, arguments in re.findall(r"^float (\w+)\(([^)]*)\)\n\{", MATH.read_text(), re.MULTILINE)
}
# those of float64
OF_DOUBLES = {
    name: arguments.count("double")
    for name, arguments in re.findall(r"^(?:double|_Float16) (\w+)\(([^)]*)\)\n\{", MATH.read_text(), re.MULTILINE)
}
IN_VECTORS = [name for name, function in FUNCTIONS.items() if not isinstance(function.vector, str)]
LIBM = ctypes.CDLL("libm.so.6")


def test_no_function_is_in_c_alone_or_in_the_table_alone() -> None:
    assert DEFINED.keys() | OF_DOUBLES.keys() == {
        *(function.c for function in FUNCTIONS.values()), *OF_FLOAT64.values(), *BY_LLVM
    }  # fmt: skip


def test_every_function_is_of_an_operator_and_no_operator_calls_another() -> None:
    assert {name for row in OPERATORS.values() for name in row.functions} == set(FUNCTIONS)


def exact(name: str, *x: Floats) -> Doubles:
    """By the host's libm, in double."""
    if name == "sigmoid":
        with np.errstate(all="ignore"):
            result: Doubles = 1 / (1 + np.exp(-x[0].astype(np.float64)))
            return result
    function = getattr(LIBM, name)
    function.restype, function.argtypes = ctypes.c_double, [ctypes.c_double] * len(x)
    return np.array([function(*map(float, numbers)) for numbers in zip(*x, strict=True)])


def samples() -> Floats:
    """Floats of every magnitude, by their bits, and the special ones."""
    bits = np.arange(0, 1 << 32, 250_007, dtype=np.uint64).astype(np.uint32)
    special = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1, -1, 88.7, -103.9, 1e-45], np.float32)
    return np.concatenate([bits.view(np.float32), special])


# Number by number


@pytest.fixture(scope="module")
def support(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    library = tmp_path_factory.mktemp("support") / "support.so"
    with resources.as_file(MATH) as path:
        flags = ["-O2", "-shared", "-fPIC", "-ffreestanding", "-fno-math-errno", "-Wl,-Bsymbolic"]
        subprocess.run(["gcc", *flags, path, "-o", library], check=True)
    return ctypes.CDLL(str(library))


def operands(count: int) -> list[Floats]:
    """For a function of so many numbers: of every kind, and those that powers are usually of."""
    if count == 1:
        return [samples()]
    random = np.random.default_rng(1)
    x = np.concatenate([random.uniform(-20, 20, 20_000).astype(np.float32), samples()[::4]])
    y = np.concatenate(
        [
            random.uniform(-9, 9, 10_000).astype(np.float32),
            random.integers(-9, 9, 10_000).astype(np.float32),
            random.choice(samples(), len(x) - 20_000),
        ]
    )
    return [x, y]


def distance(got: Floats, expected: Doubles) -> Doubles:
    """How far, in units in the last place of the exact result as a float32."""
    with np.errstate(all="ignore"):
        rounded = expected.astype(np.float32)
        same = (got == rounded) | (np.isnan(got) & np.isnan(rounded))
        unit = np.maximum(np.spacing(np.abs(rounded)), np.float32(1e-45)).astype(np.float64)
        return np.where(same, 0, np.abs(got.astype(np.float64) - expected) / unit)


@pytest.mark.parametrize("name", DEFINED)
def test_a_function_of_c_is_within_one_unit_in_the_last_place(support: ctypes.CDLL, name: str) -> None:
    function = getattr(support, name)
    function.restype, function.argtypes = ctypes.c_float, [ctypes.c_float] * DEFINED[name]
    x = operands(DEFINED[name])
    got = np.array([function(*map(float, numbers)) for numbers in zip(*x, strict=True)], np.float32)
    assert distance(got, exact(name.removesuffix("f"), *x)).max() <= 1


def doubles() -> Doubles:
    """Of every magnitude, by their bits, those near the ends of what has a result, and the special ones."""
    random = np.random.default_rng(2)
    special = np.array(
        [0.0, -0.0, np.inf, -np.inf, np.nan, 1, -1, 709.78, 709.79, -745.1, -745.2, -708.5, 5e-324, -5e-324,
         2.3e-308, 2.2e-308, 1.7976931348623157e308, 65504, 65519.99, 65520, 6e-8, 2.98e-8, 2.99e-8, 6.1e-5]
    )  # fmt: skip
    near = random.uniform(-1, 1, 4000)
    return np.concatenate(
        [random.integers(0, 1 << 64, 4000, np.uint64).view(np.float64), special, random.uniform(-760, 760, 4000),
         near, 1 + near / 1000, np.exp2(random.uniform(-30, 20, 4000)) * np.sign(near)]
    )  # fmt: skip


@pytest.mark.parametrize("name", sorted(OF_FLOAT64.keys() - {"sigmoid"}))
def test_a_function_of_doubles_is_within_one_unit_in_the_last_place(support: ctypes.CDLL, name: str) -> None:
    function = getattr(support, name)
    function.restype, function.argtypes = ctypes.c_double, [ctypes.c_double]
    x = doubles()
    got = np.array([function(number) for number in x.tolist()])
    with np.errstate(all="ignore"):
        exactly = getattr(np, name)(x.astype(np.longdouble))
        rounded = exactly.astype(np.float64)
        same = (got == rounded) | (np.isnan(got) & np.isnan(rounded))
        unit = np.maximum(np.spacing(np.abs(rounded)), 5e-324)
        error = np.where(same, 0, np.abs(got - exactly) / unit)
    assert np.finfo(np.longdouble).nmant > 60
    assert error.max() < 1


def test_the_remainder_of_doubles_is_exact(support: ctypes.CDLL) -> None:
    support.fmod.restype, support.fmod.argtypes = ctypes.c_double, [ctypes.c_double] * 2
    random = np.random.default_rng(3)
    x, y = random.choice(doubles(), (2, 40_000))
    got = np.array([support.fmod(*numbers) for numbers in zip(x.tolist(), y.tolist(), strict=True)])
    with np.errstate(invalid="ignore"):
        expected = np.fmod(x, y)
    same = (got.view(np.uint64) == expected.view(np.uint64)) | (np.isnan(got) & np.isnan(expected))
    assert same.all()


HALVES = np.arange(0x7C00, dtype=np.uint16).view(np.float16).astype(np.float64)


@pytest.mark.parametrize("target", ["host", "rpi3"])
def test_the_nearest_half_of_a_double_is_found_in_one_step(target: str) -> None:
    """By way of a float32, what is just beside the middle between two halves becomes the wrong one."""
    middle = (HALVES[:-1] + HALVES[1:]) / 2
    x = np.concatenate([HALVES, middle, np.nextafter(middle, 0), np.nextafter(middle, 1e9), -middle, doubles()])
    x = x[: len(x) // 16 * 16]

    def halves(data: te.Tensor) -> te.Tensor:
        return te.compute(data.shape, lambda i: tirx.Cast("float16", data(i)), name="halves")

    got = by_tzml(network(x.shape, lambda bb, data: bb.call_te(halves, data), kind="float64"), x, target)
    with np.errstate(over="ignore"):
        expected = x.astype(np.float16)
    assert got.dtype == np.float16
    np.testing.assert_array_equal(got.view(np.uint16)[~np.isnan(x)], expected.view(np.uint16)[~np.isnan(x)])
    assert np.isnan(got[np.isnan(x)]).all()


# In vectors


def in_vectors(name: str, x: Floats, target: str = "host") -> Floats:
    """What a kernel computes that does nothing else."""

    def function(data: te.Tensor) -> te.Tensor:
        return te.compute(data.shape, lambda i: getattr(tirx, name)(data(i)), name=name)

    return by_tzml(network(x.shape, lambda bb, data: bb.call_te(function, data)), x, target)


@pytest.mark.parametrize("name", IN_VECTORS)
def test_a_function_in_vectors_is_as_exact_as_the_table_says(name: str) -> None:
    """But beyond e to the 88, which takes part in several of them and is limited."""
    x = np.concatenate([samples(), np.linspace(-20, 20, 65536, dtype=np.float32)])
    x = x[: len(x) // 16 * 16]
    got, expected = in_vectors(name, x), exact(name, x)
    with np.errstate(all="ignore"):
        ordinary = np.isfinite(expected) & (np.abs(x) < 88)
        error = np.abs(got - expected) / np.maximum(1, np.abs(expected))
    assert error[ordinary].max() <= FUNCTIONS[name].error


@pytest.mark.parametrize("target", ["host", "rpi3"])
def test_what_is_between_two_integers_is_rounded_to_the_even_one(target: str) -> None:
    x = np.array(
        [0.5, 1.5, 2.5, -0.5, -1.5, 0.49999997, -0.49999997, 4194303.5, 4194304.5, 8388609, -4194303.5, 1e30, -1e30,
         np.inf, -np.inf, 7.4999995],
        np.float32,
    )  # fmt: skip
    np.testing.assert_array_equal(in_vectors("nearbyint", x, target), np.rint(x))


@pytest.mark.parametrize("target", ["host", "rpi3"])
def test_what_is_no_number_is_told_from_others(target: str) -> None:
    x = np.array([math.nan, 1, math.inf, -math.inf] * 4, np.float32)
    np.testing.assert_array_equal(in_vectors("isnan", x, target), np.isnan(x))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_only_a_function_without_a_way_in_vectors_is_called(name: str, tmp_path: Path) -> None:
    def function(data: te.Tensor) -> te.Tensor:
        numbers = [data(0)] * (DEFINED[FUNCTIONS[name].c])
        return te.compute(data.shape, lambda i: getattr(tirx, name)(data(i), *numbers[1:]), name=name)

    [kernel] = graph(network((64,), lambda bb, data: bb.call_te(function, data))).objects.values()
    (tmp_path / "kernel.o").write_bytes(kernel)
    shown = subprocess.run(
        ["aarch64-linux-gnu-nm", "-u", tmp_path / "kernel.o"], capture_output=True, text=True, check=True
    )
    called = set(shown.stdout.split()) - {"U"}
    assert called == (set() if name in IN_VECTORS else {FUNCTIONS[name].c})
