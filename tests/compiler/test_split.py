"""Layers with large weights are split along their outputs; the parts share kernels and need no copy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from tzml.bundle import Bundle, Region
from tzml.client import World, open_model
from tzml.compiler import CompileOptions, compile_model

Floats = NDArray[np.float32]


def network(shape: tuple[int, ...], *nodes: onnx.NodeProto, **constants: Floats) -> bytes:
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


def difference(folder: Path, data: bytes, bundle: Bundle, shape: tuple[int, ...]) -> float:
    """How far the answer is from ONNX Runtime's."""
    x = weights(*shape)
    [theirs] = onnxruntime.InferenceSession(data).run(None, {"x": x})
    bundle.write(folder / "model.tzm")
    with open_model(folder / "model.tzm", World.ree) as model:
        model.run(x)
        ours = model.run(x).outputs["y"]
    return float(np.abs(ours - theirs).max())


DENSE = network(
    (1, 200),
    helper.make_node("Gemm", ["x", "w", "b"], ["h"], transB=1),
    helper.make_node("Relu", ["h"], ["r"]),
    helper.make_node("MatMul", ["r", "v"], ["y"]),
    w=weights(512, 200), b=weights(512), v=weights(512, 10) / 100,
)  # fmt: skip


def test_a_dense_layer_runs_in_less_memory_than_its_weights_take(tmp_path: Path, libtzml: Path) -> None:
    bundle = build(tmp_path, DENSE, 200_000)
    large = [call for call in bundle.plan.calls if any(a.size > 10_000 for a in call.arguments)]
    assert bundle.plan.weights_size < 512 * 200 * 4 / 2
    assert len(large) > 2
    assert len({call.kernel for call in large[:-1]}) == 1
    assert len(bundle.plan.calls) == len(large) + 1  # bias and activation are in the parts, and nothing is copied
    assert difference(tmp_path, DENSE, bundle, (1, 200)) < 1e-4


def test_a_convolutions_parts_write_into_one_buffer(tmp_path: Path, libtzml: Path) -> None:
    data = network(
        (1, 16, 6, 6),
        helper.make_node("Conv", ["x", "w", "b"], ["h"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("Add", ["r", "c"], ["s"]),
        helper.make_node("MaxPool", ["s"], ["y"], kernel_shape=[2, 2]),
        w=weights(96, 16, 3, 3) / 12, b=weights(96), c=weights(96, 1, 1),
    )  # fmt: skip
    bundle = build(tmp_path, data, 70_000)
    *parts, pool = bundle.plan.calls
    assert len(parts) > 1
    inside = pool.arguments[0]
    written = [call.arguments[-2 if len(call.arguments) > 5 else -1] for call in parts]
    assert all(inside.offset <= a.offset < inside.offset + inside.size for a in written if a.region == Region.arena)
    assert difference(tmp_path, data, bundle, (1, 16, 6, 6)) < 1e-4


@pytest.mark.parametrize(
    ("axis", "calls"), [(1, 3), (2, 4)], ids=["back to back: no copy", "interleaved: one more call"]
)
def test_a_concatenation_along_the_leading_axis_is_no_call(
    tmp_path: Path, libtzml: Path, axis: int, calls: int
) -> None:
    data = network(
        (1, 4, 4, 4),
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node("Sigmoid", ["x"], ["b"]),
        helper.make_node("Concat", ["a", "b"], ["c"], axis=axis),
        helper.make_node("MaxPool", ["c"], ["y"], kernel_shape=[2, 2]),
    )
    bundle = build(tmp_path, data)
    assert len(bundle.plan.calls) == calls
    assert difference(tmp_path, data, bundle, (1, 4, 4, 4)) < 1e-6


@pytest.mark.parametrize("parts", [["a", "a"], ["x", "a"], ["a", "k"]], ids=["twice", "input", "constant"])
def test_what_cannot_be_a_part_is_copied(tmp_path: Path, libtzml: Path, parts: list[str]) -> None:
    data = network(
        (1, 4, 4, 4),
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node("Concat", parts, ["c"], axis=1),
        helper.make_node("Concat", ["a", "c"], ["d"], axis=1),
        helper.make_node("MaxPool", ["d"], ["y"], kernel_shape=[2, 2]),
        k=weights(1, 4, 4, 4),
    )
    assert difference(tmp_path, data, build(tmp_path, data), (1, 4, 4, 4)) == 0
