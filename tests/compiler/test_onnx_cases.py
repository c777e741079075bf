"""ONNX's own examples of its operators are answered as ONNX says, or refused; none is answered otherwise."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper
from onnx_cases import Case, node_cases, outcome, recorded
from small_models import Array, CompileAndRun, floats, onnx_model

from tzml.compiler.frontends import import_file
from tzml.compiler.ir.errors import CompileError


def check(cases: Iterable[Case]) -> None:
    """Each is as it is recorded, and no refusal is in TVM's words."""
    record = recorded()
    found = [outcome(case) for case in cases]
    assert found
    other = [result for result in found if result.verdict != ("refused" if result.name in record else "right")]
    assert not other, "what has changed on purpose is recorded by tests/compiler/onnx_cases.py"
    refused = [result for result in found if result.verdict == "refused"]
    assert not [result for result in refused if "TVM" in result.detail]
    assert not [result for result in refused if result.why != record[result.name]]


def test_some_examples_are_as_recorded(libtzml: Path) -> None:
    check(list(node_cases())[::150])


@pytest.mark.full
def test_all_examples_are_as_recorded(libtzml: Path) -> None:
    check(node_cases())


def refusal(model: onnx.ModelProto, folder: Path) -> str:
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(CompileError) as caught:
        import_file(path, {}, lambda _: None)
    return str(caught.value)


IMAGE = (1, 4, 6, 6)


def one(operator: str, *inputs: str, shape: tuple[int, ...] = IMAGE, **about: Any) -> onnx.ModelProto:
    """A model of one operator; arrays are constants, what else there is are attributes."""
    constants = {name: value for name, value in about.items() if isinstance(value, np.ndarray)}
    attributes = {name: value for name, value in about.items() if name not in constants}
    results = ["y", "z"][: attributes.pop("outputs", 1)]
    node = helper.make_node(operator, ["x", *inputs], results, "layer", **attributes)
    model = onnx_model(node, shape=shape, out=tuple("abcd"[: len(shape)]), **constants)
    model.opset_import[0].version = 21
    return model


TWICE = np.array([1, 1, 2, 2], np.float32)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (one("Resize", "", "s", s=TWICE, mode="nearest", antialias=1), "antialias is 1, and its mode nearest"),
        (one("Resize", "", "s", s=TWICE, mode="smooth"), "its attribute mode is smooth, which is not known"),
        (
            one("Resize", "", "s", s=TWICE[1:], mode="linear"),
            "the operator Resize (layer layer) does not fit its inputs",
        ),
        (
            one("RoiAlign", "r", "n", r=floats(2, 4), n=np.zeros(2, np.int64)),
            "sampling_ratio must be 1 at least; export the layer with it",
        ),
        (one("ConvTranspose", "w", w=floats(4, 2, 3, 3), output_shape=[20, 20]), "output_shape has 20, where 8"),
        (one("MaxPool", kernel_shape=[2, 2], ceil_mode=1, outputs=2), "ceil_mode and auto_pad are not understood"),
    ],
    ids=lambda value: value.graph.node[0].op_type if isinstance(value, onnx.ModelProto) else "",
)
def test_an_attribute_that_nobody_heeds_is_refused(model: onnx.ModelProto, message: str, tmp_path: Path) -> None:
    assert message in refusal(model, tmp_path)


def test_a_dropout_of_training_is_refused(tmp_path: Path) -> None:
    model = one("Dropout", "ratio", "mode", ratio=np.array(0.5, np.float32), mode=np.array(True))
    assert "training_mode must be false; export the model for inference" in refusal(model, tmp_path)


@pytest.mark.parametrize("value", [0, 1])
def test_an_attribute_with_its_default_changes_nothing(value: int, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(
        one("Resize", "", "s", s=TWICE, antialias=0, exclude_outside=value, mode="cubic").SerializeToString()
    )
    import_file(path, {}, lambda _: None)


@pytest.mark.parametrize(
    ("shape", "repeats"), [((2, 3, 4, 5), (7, 4, 6, 2)), ((2, 3, 4, 3), (7, 4, 6, 1)), ((2, 8, 3), (3, 6, 1))]
)
def test_a_tensor_is_repeated(
    shape: tuple[int, ...], repeats: tuple[int, ...], tmp_path: Path, compile_and_run: CompileAndRun
) -> None:
    """LLVM's loop vectoriser reads beyond the end of what is repeated (codegen/build_kernel.py)."""
    path = tmp_path / "model.onnx"
    path.write_bytes(one("Tile", "r", shape=shape, r=np.array(repeats, np.int64)).SerializeToString())
    x = floats(1, *shape)
    assert (compile_and_run(path, x)[0] == np.tile(x[0], repeats)).all()


def test_a_pooling_may_leave_out_a_window_that_lies_outside(tmp_path: Path) -> None:
    """ONNX's own shape inference counts it, ONNX Runtime does not."""
    window = {"kernel_shape": [2, 2], "strides": [3, 3], "pads": [1, 1, 1, 1], "ceil_mode": 1}
    path = tmp_path / "model.onnx"
    path.write_bytes(one("MaxPool", shape=(1, 3, 4, 5), **window).SerializeToString())
    import_file(path, {}, lambda _: None)


def agree(
    nodes: list[onnx.NodeProto], x: Array, compile_and_run: CompileAndRun, folder: Path, **constants: Any
) -> None:
    model = onnx_model(*nodes, shape=x.shape, **constants)
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    (theirs,) = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})
    np.testing.assert_allclose(compile_and_run(path, x[None])[0], theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("compared", ["m", "x"])
def test_a_choice_behind_a_product(compared: str, tmp_path: Path, compile_and_run: CompileAndRun) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["m"]),
        helper.make_node("Less", [compared, "zero"], ["c"]),
        helper.make_node("Where", ["c", "zero", "m"], ["y"]),
    ]
    agree(nodes, floats(8, 32), compile_and_run, tmp_path, w=floats(32, 32), zero=np.zeros((), np.float32))
