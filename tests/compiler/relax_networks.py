"""Small networks as Relax modules, where no model format has what a test needs."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import tvm
from numpy.typing import NDArray
from tvm import relax

from tzml.bench.kernels import Kernels
from tzml.compiler import TARGETS, CompileOptions, compile_model
from tzml.compiler.ir.graph import Graph
from tzml.compiler.ir.imported import Imported
from tzml.compiler.lower import lower, prepare

Array = NDArray[Any]
Expr = Any
Part = Callable[[relax.BlockBuilder, Expr], Expr]
"""From a tensor, bound to a variable, to what a part of a network makes of it."""


def network(shape: tuple[int, ...], *outputs: Part, joined: bool = False, kind: str = "float32") -> Any:
    """A module from `x` to what each part makes of it; `joined` makes one row of float32 of them."""
    builder = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType(shape, kind))
    with builder.function("main", [x]):
        with builder.dataflow():
            made = [builder.emit(output(builder, x)) for output in outputs]
            result = builder.emit_output(_join(builder, made) if joined else relax.Tuple(made))
        builder.emit_func_output(result)
    return builder.get()


def _join(bb: relax.BlockBuilder, tensors: list[Expr]) -> Expr:
    rows = [bb.emit(relax.op.reshape(bb.emit(relax.op.astype(t, "float32")), (-1,))) for t in tensors]
    while len(rows) > 1:  # a kernel has so many arguments at most
        rows = [bb.emit(relax.op.concat(rows[i : i + 32])) for i in range(0, len(rows), 32)]
    return rows[0]


def imported(module: Any) -> Imported:
    """A module with one output, as a frontend gives it."""
    return Imported(module, ("x",), ("y",))


def graph(module: Any, target: str = "rpi3") -> Graph:
    """Its kernels and their calls."""
    processor = TARGETS[target].tvm
    return lower(prepare(imported(module), processor), processor)


def by_tzml(module: Any, x: Array, target: str = "host") -> Array:
    """What a module with one output answers, here or under QEMU."""
    with (
        tempfile.TemporaryDirectory() as name,
        patch("tzml.compiler.compile.import_file", lambda *_: imported(module)),
    ):
        path = Path(name) / "model"
        path.write_bytes(b"")
        kernels = Kernels(compile_model(path, CompileOptions(target)), TARGETS[target].cc, Path(name), [x])
        kernels.measure(1)
        return kernels.result()


def by_tvm_alone(module: Any, x: Array) -> list[Array]:
    """What a module answers as TVM compiles it."""
    machine = relax.VirtualMachine(relax.build(module, tvm.target.Target({"kind": "llvm"})), tvm.cpu())
    return [array.numpy() for array in machine["main"](tvm.runtime.tensor(x))]


def constant(array: Any, kind: str = "float32") -> Expr:
    return relax.const(np.asarray(array, kind))
