"""ONNX files from anywhere: weights in other files, damaged and hostile ones, what has no kernel."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper
from small_models import Array, CompileAndRun, floats, onnx_model

from tzml.compiler import CompileOptions, InputSpec, compile_model
from tzml.compiler.frontends import import_file
from tzml.compiler.ir.errors import CompileError


def add_weights(weights: Array) -> onnx.ModelProto:
    return onnx_model(helper.make_node("Add", ["x", "w"], ["y"], "sum"), w=weights)


def external(model: onnx.ModelProto, **fields: str) -> onnx.ModelProto:
    """The model with its weights in another file; `fields` say where."""
    (tensor,) = model.graph.initializer
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in fields.items():
        tensor.external_data.add(key=key, value=value)
    return model


def save(model: onnx.ModelProto, folder: Path) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def refusal(model: onnx.ModelProto, folder: Path) -> str:
    with pytest.raises(CompileError) as caught:
        import_file(save(model, folder), {}, lambda _: None)
    return str(caught.value)


def test_weights_may_be_in_a_file_beside_the_model(tmp_path: Path, compile_and_run: CompileAndRun) -> None:
    weights = floats(1, 8)
    (tmp_path / "w.bin").write_bytes(bytes(16) + weights.tobytes())
    path = save(external(add_weights(weights), location="w.bin", offset="16", length="32"), tmp_path)
    x = floats(1, 1, 8) * 2
    assert (compile_and_run(path, x) == x + weights).all()


@pytest.mark.parametrize("location", ["../secret", "/etc/passwd", "sub/../../secret", ""])
def test_weights_outside_the_models_folder_are_refused(tmp_path: Path, location: str) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(bytes(32))
    message = refusal(external(add_weights(floats(1, 8)), location=location), folder)
    assert "the weights w are at" in message
    assert "outside the model's folder; save the model with its weights" in message


def test_a_link_out_of_the_models_folder_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(bytes(32))
    (folder / "w.bin").symlink_to(tmp_path / "secret")
    assert "outside the model's folder" in refusal(external(add_weights(floats(1, 8)), location="w.bin"), folder)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"offset": "1"}, "has 32 bytes, and is to be at 1 of w.bin with 32 of 32"),
        ({"offset": "4611686018427387904"}, "has an offset or a length of '4611686018427387904'"),
        ({"offset": "-1"}, "has an offset or a length of '-1'"),
        ({"length": "4"}, "has 32 bytes, and is to be at 0 of w.bin with 4 of 32"),
        ({"location": "missing.bin"}, "cannot read missing.bin, which has the weights w"),
    ],
    ids=["beyond", "huge", "negative", "short", "missing"],
)
def test_places_in_other_files_are_checked(tmp_path: Path, fields: dict[str, str], message: str) -> None:
    (tmp_path / "w.bin").write_bytes(bytes(32))
    assert message in refusal(external(add_weights(floats(1, 8)), **{"location": "w.bin"} | fields), tmp_path)


def _dims(*dims: int) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        del model.graph.initializer[0].dims[:]
        model.graph.initializer[0].dims.extend(dims)

    return change


def _data_type(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].data_type = 99


def _no_nodes(model: onnx.ModelProto) -> None:
    del model.graph.node[:]


def _open(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "N"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_dims(2, 8), "the tensor w has 32 bytes, not 64"),
        (_dims(-1, 8), "the tensor w has the shape [-1, 8]"),
        (_dims(1 << 40, 1 << 40), "the tensor w has the shape"),
        (_data_type, "the tensor w has no known data type"),
        (_no_nodes, "the graph is empty"),
        (_open, "input x has open dimensions: ['N', 8]; give --input x=1x8"),
    ],
    ids=["size", "negative", "huge", "type", "empty", "open"],
)
def test_what_a_file_says_of_itself_is_checked(
    tmp_path: Path, change: Callable[[onnx.ModelProto], None], message: str
) -> None:
    model = add_weights(floats(1, 8))
    change(model)
    assert message in refusal(model, tmp_path)


def test_a_truncated_file_is_refused_wherever_it_ends(tmp_path: Path) -> None:
    path, data = tmp_path / "model.onnx", add_weights(floats(1, 8)).SerializeToString()
    gc.freeze()  # each refusal collects garbage, which takes long among all that other tests left
    try:
        for size in range(len(data)):
            path.write_bytes(data[:size])
            with pytest.raises(CompileError):
                import_file(path, {}, lambda _: None)
    finally:
        gc.unfreeze()


def test_unsupported_operators_are_named_with_their_layers(tmp_path: Path) -> None:
    model = onnx_model(
        helper.make_node("NonZero", ["x"], ["a"], "find"),
        helper.make_node("FusedMatMul", ["x", "x"], ["b"], "fused", domain="com.microsoft"),
        helper.make_node("Relu", ["x"], ["y"]),
    )
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    message = refusal(model, tmp_path)
    assert "no support for the operator com.microsoft::FusedMatMul (layer fused)" in message
    assert "export the model without a runtime's own optimisations" in message


def test_a_shape_that_depends_on_the_data_is_refused(tmp_path: Path) -> None:
    model = onnx_model(
        helper.make_node("NonZero", ["x"], ["a"], "find"),
        helper.make_node("Cast", ["a"], ["y"], "cast", to=TensorProto.FLOAT),
        out=(2, "n"),
    )
    assert "depends on the data" in refusal(model, tmp_path)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_no_numbers_are_warned_of(tmp_path: Path, value: float) -> None:
    warnings: list[str] = []
    path = save(add_weights(np.full((1, 8), value, np.float32)), tmp_path)
    compile_model(path, CompileOptions("host"), warn=warnings.append)
    assert warnings == ["there are NaN or infinite values in the weights w"]


def test_a_dtype_on_the_command_line_is_compared_with_the_models(tmp_path: Path) -> None:
    path = save(add_weights(floats(1, 8)), tmp_path)
    with pytest.raises(CompileError, match="input x has elements of type float32, not int8"):
        import_file(path, {"x": InputSpec((1, 8), "int8")}, lambda _: None)


@pytest.mark.parametrize(
    ("kind", "gates", "linear", "direction"),
    [("LSTM", 4, 0, "bidirectional"), ("GRU", 3, 0, "reverse"), ("GRU", 3, 1, "forward"), ("RNN", 1, 0, "forward")],
)
def test_recurrent_layers_agree_with_onnx_runtime(
    kind: str, gates: int, linear: int, direction: str, tmp_path: Path, compile_and_run: CompileAndRun
) -> None:
    time, hidden, features = 3, 4, 5
    directions = 2 if direction == "bidirectional" else 1
    attributes = {"linear_before_reset": linear} if kind == "GRU" else {}
    model = onnx_model(
        helper.make_node(
            kind, ["x", "w", "r", "b"], ["y"], "layer", hidden_size=hidden, direction=direction, **attributes
        ),
        shape=(time, 1, features), out=(time, directions, 1, hidden),
        w=floats(directions, gates * hidden, features), r=floats(directions, gates * hidden, hidden),
        b=floats(directions, 2 * gates * hidden),
    )  # fmt: skip
    x = floats(1, time, 1, features)
    theirs = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x[0]})[0]
    np.testing.assert_allclose(compile_and_run(save(model, tmp_path), x)[0], theirs, atol=1e-6)


def test_indices_that_are_data_cannot_reach_beyond_what_they_index(
    tmp_path: Path, compile_and_run: CompileAndRun
) -> None:
    model = onnx_model(
        helper.make_node("Cast", ["x"], ["i"], to=TensorProto.INT64),
        helper.make_node("Gather", ["table", "i"], ["y"], "embedding"),
        shape=(1, 8), out=(1, 8), table=floats(10),
    )  # fmt: skip
    x = np.array([[[0, 9, 10, 1e6, -1e6, 2**31, 3, 4]]], np.float32)
    expected = floats(10)[[0, 9, 9, 9, 0, 9, 3, 4]]
    assert (compile_and_run(save(model, tmp_path), x)[0, 0] == expected).all()
