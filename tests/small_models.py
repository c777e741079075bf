"""Small models that tests compile."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from tzml.bench.kernels import Kernels
from tzml.bundle import Bundle
from tzml.compiler import TARGETS, CompileOptions, compile_model

# files that frameworks wrote: tests/frontends/make_fixtures.py
DATA = Path(__file__).parent / "compiler" / "data"
Array = NDArray[Any]
# from a model file, samples, and input shapes by name
CompileAndRun = Callable[..., Array]


def onnx_model(
    *nodes: onnx.NodeProto,
    shape: tuple[int | str, ...] = (1, 8),
    out: tuple[int | str, ...] | None = None,
    **constants: Any,
) -> onnx.ModelProto:
    """An ONNX model from `x` to `y`, both float32; `constants` are its initializers."""
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape if out is None else out)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def run_kernels(model: onnx.ModelProto, x: Array, target: str = "host") -> tuple[Bundle, Array]:
    """Compile a model with one input and run its kernels, here or under QEMU: bundle and first output."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        onnx.save(model, folder / "model.onnx")
        bundle = compile_model(folder / "model.onnx", CompileOptions(target))
        kernels = Kernels(bundle, TARGETS[target].cc, folder, [x])
        kernels.measure(1)
        return bundle, kernels.result()


def floats(*shape: int) -> Array:
    """Numbers around 0, the same each time."""
    return np.random.RandomState(3).standard_normal(shape).astype(np.float32)
