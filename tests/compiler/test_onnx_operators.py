"""Operators of ONNX that TVM's importer does not know, or computes otherwise, agree with ONNX Runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator
from small_models import Array, CompileAndRun, floats, onnx_model

n = helper.make_node
IMAGE = (1, 4, 6, 6)
BYTES = (n("QuantizeLinear", ["x", "xs", "xz"], ["q"]),)
STEP = 0.11
SCALES: dict[str, Any] = {"xs": np.float32(0.03), "xz": np.uint8(120), "ys": np.float32(STEP), "yz": np.uint8(100)}
WEIGHTS = np.random.RandomState(1).randint(-127, 128, (5, 4, 3, 3)).astype(np.int8)


def integers(*shape: int) -> Any:
    return np.random.RandomState(2).randint(-1000, 1000, shape).astype(np.int32)


def real(last: str) -> Any:
    return n("Cast", [last], ["y"], to=TensorProto.FLOAT)


CASES: dict[str, tuple[list[Any], dict[str, Any]]] = {
    "QLinearConv with a scale for each channel": (
        [*BYTES, n("QLinearConv", ["q", "xs", "xz", "w", "ws", "wz", "ys", "yz", "b"], ["c"], pads=[1, 1, 1, 1]),
         n("DequantizeLinear", ["c", "ys", "yz"], ["y"])],
        SCALES | {"w": WEIGHTS, "ws": floats(5) ** 2 / 50 + 0.01, "wz": np.zeros(5, np.int8), "b": integers(5)},
    ),
    "QLinearConv": (
        [*BYTES, n("QLinearConv", ["q", "xs", "xz", "w", "ws", "wz", "ys", "yz"], ["c"], strides=[2, 2]),
         n("DequantizeLinear", ["c", "ys", "yz"], ["y"])],
        SCALES | {"w": WEIGHTS, "ws": np.float32(0.02), "wz": np.int8(0)},
    ),
    "QLinearMatMul": (
        [*BYTES, n("QLinearMatMul", ["q", "xs", "xz", "w", "ws", "wz", "ys", "yz"], ["c"]),
         n("DequantizeLinear", ["c", "ys", "yz"], ["y"])],
        SCALES | {"w": WEIGHTS.reshape(6, 30), "ws": np.float32(0.02), "wz": np.int8(0)},
    ),
    "ConvInteger": (
        [*BYTES, n("ConvInteger", ["q", "w", "xz", "wz"], ["c"], pads=[1, 0, 1, 0], group=2), real("c")],
        SCALES | {"w": WEIGHTS[:4, :2].view(np.uint8), "wz": np.uint8(7)},
    ),
    "dynamic quantization": (
        [n("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]), n("MatMulInteger", ["q", "w", "z"], ["c"]),
         n("Cast", ["c"], ["f"], to=TensorProto.FLOAT), n("Mul", ["f", "s"], ["y"])],
        {"w": WEIGHTS.reshape(6, 30)},
    ),
    "LpNormalization": ([n("LpNormalization", ["x"], ["y"], axis=1, p=2)], {}),
    "LpNormalization of sums": ([n("LpNormalization", ["x"], ["y"], axis=-1, p=1)], {}),
    "OneHot": (
        [n("Cast", ["x"], ["i"], to=TensorProto.INT64), n("OneHot", ["i", "depth", "values"], ["y"], axis=1)],
        {"depth": np.array([3]), "values": np.array([-1, 2], np.float32)},
    ),
    "parts without elements": (
        [n("Split", ["x", "parts"], ["a", "none", "b"], axis=1), n("Neg", ["none"], ["still"]),
         n("Concat", ["b", "still", "a"], ["y"], axis=1)],
        {"parts": np.array([3, 0, 1])},
    ),
    **{
        f"CumSum {exclusive}{reverse}": (
            [n("CumSum", ["x", "axis"], ["y"], exclusive=exclusive, reverse=reverse)], {"axis": np.int64(-2)})
        for exclusive in (0, 1) for reverse in (0, 1)
    },
}  # fmt: skip


def answer_of_onnx(name: str, model: onnx.ModelProto, x: Array) -> Array:
    """What ONNX Runtime answers; for products of 8 bits, what ONNX's reference does.

    On x86-64 without VNNI, sums of two such products saturate at 16 bits in ONNX Runtime (its documentation asks
    for `reduce_range` there), so that its answer depends on the machine.
    """
    if name.startswith("QLinear") or name == "dynamic quantization":
        return np.asarray(ReferenceEvaluator(model).run(None, {"x": x})[0])
    return np.asarray(onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})[0])


@pytest.mark.parametrize("name", CASES)
def test_as_onnx_runtime(name: str, tmp_path: Path, compile_and_run: CompileAndRun) -> None:
    nodes, constants = CASES[name]
    model = onnx_model(*nodes, shape=IMAGE, out=tuple("abcd") if name != "OneHot" else tuple("abcde"), **constants)
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    x = 2 * floats(1, *IMAGE)
    theirs = answer_of_onnx(name, model, x[0])
    ours = compile_and_run(path, x)[0]
    if name.startswith("QLinear"):  # halves may be rounded to either side
        assert np.abs(ours - theirs).max() < 1.01 * STEP
        assert (np.abs(ours - theirs) > STEP / 2).mean() < 0.02
    else:
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)
