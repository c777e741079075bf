"""ONNX models whose shapes, arguments and conditions are computed, all known once the inputs' shapes are."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper
from small_models import CompileAndRun, floats, onnx_model

from tzml.compiler.frontends import InputSpec, import_file
from tzml.compiler.frontends.onnx.fold import fold
from tzml.compiler.ir.errors import CompileError

n = helper.make_node


def i64(*values: int) -> np.ndarray[Any, Any]:
    return np.array(values, np.int64)


def save(model: onnx.ModelProto, folder: Path) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def branch(operator: str, shape: tuple[int, ...]) -> onnx.GraphProto:
    """Both branches of every If call their value the same, as exporters do."""
    nodes = [n(operator, ["x"], ["inside"]), n("Neg", ["inside"], ["out"])]
    return helper.make_graph(nodes, "branch", [], [helper.make_tensor_value_info("out", TensorProto.FLOAT, shape)])


def conditional(condition: str, result: str, shape: tuple[int, ...]) -> onnx.NodeProto:
    return n(
        "If",
        [condition],
        [result],
        f"choice of {result}",
        then_branch=branch("Relu", shape),
        else_branch=branch("Abs", shape),
    )


CHAINS = {
    "cast": [
        n("Shape", ["x"], ["h"]), n("Cast", ["h"], ["c"], to=TensorProto.INT32),
        n("Slice", ["c", "v0", "v1"], ["b"]), n("Concat", ["b", "m32"], ["t"], axis=0),
        n("Cast", ["t"], ["s"], to=TensorProto.INT64), n("Reshape", ["x", "s"], ["y"]),
    ],
    "product": [
        n("Shape", ["x"], ["h"]), n("Gather", ["h", "v0"], ["a"]), n("Gather", ["h", "v1"], ["c"]),
        n("Mul", ["a", "c"], ["b"]), n("Concat", ["b", "m1"], ["s"], axis=0), n("Reshape", ["x", "s"], ["y"]),
    ],
    "shape of a result": [
        n("Transpose", ["x"], ["r"], perm=[2, 0, 1]), n("Shape", ["r"], ["h"], start=-1),
        n("Sub", ["h", "v1"], ["d"]), n("Concat", ["d", "m1"], ["s"], axis=0), n("Reshape", ["x", "s"], ["y"]),
    ],
    "range": [
        n("Shape", ["x"], ["h"]), n("Gather", ["h", "s2"], ["d"]), n("Range", ["s0", "d", "s1"], ["r"]),
        n("Cast", ["r"], ["f"], to=TensorProto.FLOAT), n("Add", ["x", "f"], ["y"]),
    ],
    "pads": [
        n("ConstantOfShape", ["v4"], ["z"], value=helper.make_tensor("v", TensorProto.INT64, [1], [0])),
        n("Concat", ["v02", "z"], ["a"], axis=0), n("Reshape", ["a", "m12"], ["b"]),
        n("Slice", ["b", "m1", "low", "v0", "m1"], ["c"]), n("Transpose", ["c"], ["d"], perm=[1, 0]),
        n("Reshape", ["d", "m1"], ["p"]), n("Pad", ["x", "p"], ["y"], mode="reflect"),
    ],
    "expand": [
        n("Shape", ["x"], ["h"]), n("Expand", ["half", "h"], ["e"]), n("Add", ["x", "e"], ["y"]),
    ],
    "constants": [
        n("Constant", [], ["a"], value_float=2.0), n("Constant", [], ["b"], value_floats=[1.0, 2.0, 3.0, 4.0]),
        n("Mul", ["x", "a"], ["t"]), n("Add", ["t", "b"], ["y"]),
    ],
    "if": [
        n("Shape", ["x"], ["h"]), n("Gather", ["h", "s0"], ["d"]), n("Equal", ["d", "s1"], ["c"]),
        n("Not", ["c"], ["e"]), conditional("c", "p", (2, 3, 4)), conditional("e", "q", (2, 3, 4)),
        n("Sub", ["p", "q"], ["y"]),
    ],
}  # fmt: skip
NUMBERS = {
    "v0": i64(0), "v1": i64(1), "v4": i64(4), "m1": i64(-1), "m32": np.array([-1], np.int32), "s0": np.int64(0),
    "s1": np.int64(1), "s2": np.int64(2), "v02": i64(0, 2), "m12": i64(-1, 2), "low": i64(-(2**63)),
    "half": np.array([0.5], np.float32),
}  # fmt: skip


@pytest.mark.parametrize("name", CHAINS)
def test_what_is_computed_of_shapes_is_known(name: str, tmp_path: Path, compile_and_run: CompileAndRun) -> None:
    nodes = CHAINS[name]
    used = {value for node in nodes for value in node.input}
    rank = 2 if name in ("cast", "product", "shape of a result") else 3
    constants = {key: value for key, value in NUMBERS.items() if key in used}
    model = onnx_model(*nodes, shape=(2, 3, 4), out=tuple("abc"[:rank]), **constants)
    x = floats(1, 2, 3, 4)
    (theirs,) = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x[0]})
    np.testing.assert_allclose(compile_and_run(save(model, tmp_path), x)[0], theirs, rtol=1e-6)


def test_an_open_dimension_may_be_written_as_minus_one(tmp_path: Path, compile_and_run: CompileAndRun) -> None:
    path = save(onnx_model(n("Relu", ["x"], ["y"]), shape=(-1, 3)), tmp_path)
    x = floats(1, 2, 3)
    assert (compile_and_run(path, x, x=(2, 3)) == np.maximum(x, 0)).all()
    with pytest.raises(CompileError, match="input x has open dimensions"):
        import_file(path, {}, lambda _: None)


def with_rate() -> onnx.ModelProto:
    model = onnx_model(n("Equal", ["sr", "rate"], ["c"]), conditional("c", "y", (1, 8)), rate=np.int64(16000))
    model.graph.input.append(helper.make_tensor_value_info("sr", TensorProto.INT64, ()))
    return model


@pytest.mark.parametrize("rate", [16000, 8000])
def test_a_scalar_input_is_fixed_when_compiling(rate: int, tmp_path: Path, compile_and_run: CompileAndRun) -> None:
    path = save(with_rate(), tmp_path)
    assert import_file(path, {"sr": InputSpec((rate,))}, lambda _: None).input_names == ("x",)
    x = floats(1, 1, 8)
    theirs = -np.maximum(x, 0) if rate == 16000 else -np.abs(x)
    assert (compile_and_run(path, x, sr=(rate,)) == theirs).all()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"sr": InputSpec((8,), "int32")}, "input sr has elements of type int64, not int32"),
        ({"sr": InputSpec((1 << 63,))}, "input sr is of type int64, which has no 9223372036854775808"),
    ],
    ids=["type", "range"],
)
def test_a_scalar_that_is_of_another_type_is_refused(given: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(CompileError, match=message):
        import_file(save(with_rate(), tmp_path), given, lambda _: None)


MORE = NUMBERS | {
    "many": i64(100, 100), "far": np.int64(5000), "minus": i64(-7, 1), "v012": i64(0, 1, 2), "v40": i64(1 << 40),
    "huge": np.int64(1 << 40), "most": i64(1 << 20, 1 << 20), "pads": i64(0, 1 << 40),
}  # fmt: skip


def of_constants(node: onnx.NodeProto) -> onnx.ModelProto:
    constants: dict[str, Any] = {name: MORE[name] for name in node.input}
    return onnx_model(node, n("Cast", ["c"], ["y"], to=TensorProto.FLOAT), **constants)


@pytest.mark.parametrize(
    "node",
    [
        n("ConstantOfShape", ["many"], ["c"]),
        n("Expand", ["half", "many"], ["c"]),
        n("Range", ["s0", "far", "s1"], ["c"]),
        n("Div", ["minus", "s2"], ["c"]),
        n("Gather", ["minus", "s2"], ["c"]),
    ],
    ids=lambda node: str(node.op_type),
)
def test_what_is_large_or_wrong_is_not_computed(node: onnx.NodeProto) -> None:
    folded, _ = fold(of_constants(node), {"x": (1, 8)}, "model")
    assert node.op_type in [kept.op_type for kept in folded.graph.node]


@pytest.mark.parametrize(
    ("node", "message"),
    [
        (n("ConstantOfShape", ["most"], ["c"]), "over 4 GiB"),
        (n("Expand", ["half", "most"], ["c"]), "over 4 GiB"),
        (n("Range", ["s0", "huge", "s1"], ["c"]), "the value c has shape [1099511627776], over 4 GiB"),
        (
            n("Range", ["s0", "s1", "s0"], ["c"]),
            "the operator Range (layer c) does not fit its inputs: its step is 0",
        ),
        (n("Tile", ["v0", "v40"], ["c"]), "over 4 GiB"),
        (n("Pad", ["v0", "pads"], ["c"]), "over 4 GiB"),
        (
            n("Add", ["minus", "v012"], ["c"]),
            "the operator Add (layer c) does not fit its inputs: Incompatible dim",
        ),
    ],
    ids=lambda value: value.op_type if isinstance(value, onnx.NodeProto) else "",
)
def test_what_is_huge_or_does_not_fit_is_refused(node: onnx.NodeProto, message: str, tmp_path: Path) -> None:
    """Before anything has its size: TVM and ONNX's inference of values allocate all of it."""
    with pytest.raises(CompileError, match=re.escape(message)):
        import_file(save(of_constants(node), tmp_path), {}, lambda _: None)


def test_names_of_branches_are_free(tmp_path: Path, compile_and_run: CompileAndRun) -> None:
    nodes = [
        n("Neg", ["x"], ["q/branch/inside"]), conditional("c", "q", (1, 8)),
        n("Sub", ["q", "q/branch/inside"], ["y"]),
    ]  # fmt: skip
    x = floats(1, 1, 8)
    path = save(onnx_model(*nodes, c=np.array(True)), tmp_path)
    np.testing.assert_allclose(compile_and_run(path, x), x - np.maximum(x, 0), rtol=1e-6)
