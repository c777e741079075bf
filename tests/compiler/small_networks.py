"""Small networks for tests of the compiler, and how they answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from tzml.bundle import Bundle
from tzml.client import World, open_model
from tzml.compiler import CompileOptions, compile_model

Floats = NDArray[np.float32]


def network(shape: tuple[int, ...], *nodes: onnx.NodeProto, **constants: NDArray[np.floating[Any]]) -> bytes:
    """An ONNX file from `x`, of that shape, to `y`."""
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * len(shape))],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    opset = helper.make_opsetid("", 20)
    return bytes(helper.make_model(graph, opset_imports=[opset], ir_version=10).SerializeToString())


def weights(*shape: int) -> Floats:
    return np.random.default_rng(1).standard_normal(shape).astype(np.float32)


def build(folder: Path, data: bytes, secure_memory: int = 8 << 20) -> Bundle:
    (folder / "model.onnx").write_bytes(data)
    return compile_model(folder / "model.onnx", CompileOptions("host", secure_memory=secure_memory))


def notes(bundle: Bundle) -> list[str]:
    """What the compiler calls each kernel call."""
    found: list[str] = json.loads(bundle.notes)["programs"]["main"]["calls"]
    return found


def difference(folder: Path, data: bytes, bundle: Bundle, shape: tuple[int, ...]) -> float:
    """How far the answer is from ONNX Runtime's."""
    x = weights(*shape)
    [theirs] = onnxruntime.InferenceSession(data).run(None, {"x": x})
    bundle.write(folder / "model.tzm")
    with open_model(folder / "model.tzm", World.ree) as model:
        model.run(x)
        ours = model.run(x).outputs["y"]
    return float(np.abs(ours - theirs).max())
