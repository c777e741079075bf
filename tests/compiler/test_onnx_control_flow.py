"""An If on data, Scan and Loop are compiled as what they compute, and refused where that is not known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper
from small_models import Array, CompileAndRun, floats, onnx_model

from tzml.compiler.frontends import import_file
from tzml.compiler.ir.errors import CompileError

n = helper.make_node
SHAPE = (3, 8)


def value(name: str, shape: tuple[int, ...] = SHAPE, kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def branch(*nodes: onnx.NodeProto, shape: tuple[int, ...] = SHAPE) -> onnx.GraphProto:
    return helper.make_graph(nodes, "branch", [], [value(nodes[-1].output[0], shape)])


def save(model: onnx.ModelProto, folder: Path) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def agree(model: onnx.ModelProto, x: Array, folder: Path, compile_and_run: CompileAndRun) -> None:
    (theirs,) = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})
    np.testing.assert_allclose(compile_and_run(save(model, folder), x[None])[0], theirs, rtol=1e-5, atol=1e-6)


def refusal(model: onnx.ModelProto, folder: Path) -> str:
    with pytest.raises(CompileError) as caught:
        import_file(save(model, folder), {}, lambda _: None)
    return str(caught.value)


def conditional(other_shape: tuple[int, ...] = SHAPE, rank: int = 0) -> onnx.ModelProto:
    """The logarithm of x where its sum is positive, which it is not for the other branch; both use one name."""
    other = n("Neg", ["x"], ["same"]) if other_shape == SHAPE else n("ReduceMax", ["x"], ["same"], keepdims=1)
    return onnx_model(
        n("ReduceSum", ["x"], ["s"], keepdims=0),
        n("Reshape", ["s", "rank"], ["scalar"]),
        n("Greater", ["scalar", "zero"], ["c"]),
        n("If", ["c"], ["y"], "choice", then_branch=branch(n("Log", ["x"], ["same"])),
          else_branch=branch(other, shape=other_shape)),
        shape=SHAPE, zero=np.zeros((), np.float32), rank=np.ones(rank, np.int64),
    )  # fmt: skip


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("sign", [1, -1])
def test_an_if_gives_what_the_branch_of_its_condition_does(
    sign: int, rank: int, tmp_path: Path, compile_and_run: CompileAndRun
) -> None:
    """The logarithm of what is negative is NaN, which stays in the branch that is not taken."""
    agree(conditional(rank=rank), sign * np.abs(floats(*SHAPE)), tmp_path, compile_and_run)


def test_an_if_between_shapes_is_refused(tmp_path: Path) -> None:
    """One of [1, 1] would be broadcast."""
    message = refusal(conditional(other_shape=(1, 1)), tmp_path)
    assert "If (layer choice); its condition depends on the data, and its branches give tensors of diff" in message


def loop(steps: Any, **constants: Any) -> onnx.ModelProto:
    body = helper.make_graph(
        [n("Cast", ["i"], ["f"], to=TensorProto.FLOAT), n("Mul", ["f", "x"], ["p"]), n("Add", ["a", "p"], ["b"]),
         n("Less", ["i", "last"], ["more"]), n("Identity", ["c"], ["same"])],
        "body", [value("i", (), TensorProto.INT64), value("c", (), TensorProto.BOOL), value("a")],
        [value(constants.pop("condition", "same"), (), TensorProto.BOOL), value("b"), value("a")],
    )  # fmt: skip
    return onnx_model(
        n("Loop", ["steps", "", "x"], ["end", "all"], "loop", body=body),
        n("ReduceSum", ["all", "first"], ["rows"], keepdims=0),
        n("Sub", ["end", "rows"], ["y"]),
        shape=SHAPE, steps=np.array(steps, np.int64), last=np.int64(2), first=np.array([0]), **constants,
    )  # fmt: skip


@pytest.mark.parametrize("condition", ["same", "more"])
def test_a_loop_that_counts_to_what_is_known_is_unrolled(
    condition: str, tmp_path: Path, compile_and_run: CompileAndRun
) -> None:
    """With the condition `more` it ends before its trip count."""
    agree(loop(5, condition=condition), floats(*SHAPE), tmp_path, compile_and_run)


def test_a_loop_that_would_be_too_long_is_refused(tmp_path: Path) -> None:
    message = refusal(loop(10**9), tmp_path)
    assert "Loop (layer loop); it would be unrolled to more than 20,000 operators" in message


@pytest.mark.parametrize("backward", [0, 1])
def test_a_scan_is_unrolled(backward: int, tmp_path: Path, compile_and_run: CompileAndRun) -> None:
    body = helper.make_graph(
        [n("Tanh", ["a"], ["t"]), n("Add", ["t", "row"], ["b"])],
        "body", [value("a", (3,)), value("row", (3,))], [value("b", (3,)), value("t", (3,))],
    )  # fmt: skip
    model = onnx_model(
        n("Scan", ["zero", "x"], ["end", "y"], "scan", body=body, num_scan_inputs=1, scan_input_axes=[1],
          scan_output_axes=[1], scan_input_directions=[backward], scan_output_directions=[1]),
        shape=SHAPE, zero=np.zeros(3, np.float32),
    )  # fmt: skip
    agree(model, floats(*SHAPE), tmp_path, compile_and_run)


def test_weights_of_a_recurrent_layer_may_be_computed(tmp_path: Path, compile_and_run: CompileAndRun) -> None:
    """As PyTorch's exporter writes them: each matrix with an operator that adds the axis of directions."""
    weights = {"w": floats(256, 128), "r": floats(256, 64), "b": floats(1, 512)}
    model = onnx_model(
        n("Reshape", ["x", "to"], ["s"]),
        n("Unsqueeze", ["w", "axis"], ["w1"]), n("Unsqueeze", ["r", "axis"], ["r1"]),
        n("LSTM", ["s", "w1", "r1", "b"], ["", "h"], "lstm", hidden_size=64),
        n("Squeeze", ["h", "axis"], ["y"]),
        shape=(2, 128), out=(1, 64), axis=np.array([0]), to=np.array([2, 1, 128]), **weights,
    )  # fmt: skip
    agree(model, floats(2, 128), tmp_path, compile_and_run)
