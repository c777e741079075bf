"""Which operators take more instructions for some numbers than for others: counted, read, and as the table says.

tests/compiler/test_constant_time.py counts those of whole networks.
"""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from relax_networks import Part, imported, network
from test_constant_time import inputs
from test_functions import DEFINED, MATH, OF_DOUBLES
from test_operators import IMAGE, example

from tzml.bench.kernels import Kernels
from tzml.bench.programs import CROSS_LIBC, compile_c, emulated, source, start
from tzml.bundle import Bundle
from tzml.compiler import TARGETS, CompileOptions, compile_model
from tzml.compiler.codegen.link import CFLAGS
from tzml.compiler.ir.operators import OPERATORS, Operator
from tzml.constant_time import SecretUse, check_library

TARGET = TARGETS["qemu"]
NUMBERS = (
    0, -0.0, 1, -1, 0.5, -0.25, 2, 3, -3, 7, 1e-4, -1e-3, 0.02, 0.999, 1.001, 4.5, -21, 88, -104, 700, 1e4, 1e9,
    -1e9, 1e20, 3e38, -3e38, 1e-45, -1e-45, 1e-38, 16777217, np.inf, -np.inf, np.nan,
)  # fmt: skip


def counts(output: str) -> list[int]:
    return [int(number) for number in re.findall(r"^instructions (\d+)$", output, re.MULTILINE)]


def test_every_function_of_c_takes_as_many_instructions(tmp_path: Path) -> None:
    """Of one operand with each of the numbers, of two with each pair."""
    numbers = np.array([*NUMBERS, 1e300, -5e-324, 2.3e-308, 709.9, -745.2, 65519.99])
    types = {**dict.fromkeys(DEFINED, "float, float"), **dict.fromkeys(OF_DOUBLES, "double, double")}
    types["__truncdfhf2"] = "_Float16, double"
    defined = {**DEFINED, **OF_DOUBLES}
    listed = [f"{'ONE' if count == 1 else 'TWO'}({types[name]}, {name})" for name, count in defined.items()]
    (tmp_path / "functions.h").write_text("\n".join(listed) + "\n")
    (tmp_path / "numbers.bin").write_bytes(numbers.tobytes())
    with resources.as_file(MATH) as path:
        compile_c(TARGET.cc, [*CFLAGS, "-c", path, "-o", "math.o"], tmp_path)
    own = Path(__file__).with_name("count_functions.c")
    compile_c(TARGET.cc, [f"-I{source('.')}", "-I.", "-fno-builtin", own, "math.o", "-o", "count"], tmp_path)
    found = iter(counts(start(emulated(["./count", "numbers.bin"], CROSS_LIBC), tmp_path)))
    taken = {name: {next(found) for _ in range(len(numbers) ** n)} for name, n in defined.items()}
    assert next(found, None) is None
    assert {name: seen for name, seen in taken.items() if len(seen) != 1} == {}


def compiled(folder: Path, *parts: Part) -> Bundle:
    """A network from an image to what each part makes of it."""
    module = network(IMAGE, *parts, joined=True)
    (folder / "model").write_bytes(b"")
    with patch("tzml.compiler.compile.import_file", lambda *_: imported(module)):
        return compile_model(folder / "model", CompileOptions("qemu"))


def taken(bundle: Bundle, folder: Path, count: int = 24) -> set[int]:
    """The numbers of instructions of inferences on inputs of every kind."""
    data = list(inputs(IMAGE, np.dtype(np.float32), count))
    Kernels(bundle, TARGET.cc, folder, [data[0]])
    np.stack(data).tofile(folder / "all.bin")
    found = counts(start(emulated(["./run_plan", str(count), "all.bin"], CROSS_LIBC), folder))
    assert len(found) == count
    return set(found)


def branches(bundle: Bundle) -> tuple[SecretUse, ...]:
    """Those of the machine code that follow from numbers, of any input."""
    (library,) = bundle.libraries
    return check_library(library.ree).branches


def test_every_operator_of_the_table_takes_as_many_instructions(tmp_path: Path) -> None:
    """All in one network, which is a sum that differs if one of them does."""
    bundle = compiled(tmp_path, *(example(row) for row in OPERATORS.values() if not row.timing))
    assert len(taken(bundle, tmp_path)) == 1
    assert branches(bundle) == ()


@pytest.mark.full
@pytest.mark.parametrize("row", OPERATORS.values(), ids=list(OPERATORS))
def test_an_operator_takes_as_many_instructions_unless_its_row_says_otherwise(
    row: Operator, tmp_path: Path
) -> None:
    # beside another one, since what a shape alone decides is no network
    bundle = compiled(tmp_path, example(OPERATORS["relax.nn.relu"]), example(row))
    assert (len(taken(bundle, tmp_path)) > 1) == row.timing
    assert bool(branches(bundle)) == row.timing
