"""Operators that index by their data, and transforms, are as in ONNX Runtime; no index leaves its tensor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper
from small_models import Array, CompileAndRun, floats, onnx_model, run_kernels
from test_operators import IMAGE as LARGER
from test_timing import taken

from tzml.compiler import TARGETS, CompileOptions, compile_model
from tzml.compiler.frontends import import_file
from tzml.compiler.lower import prepare
from tzml.compiler.passes.timing import layers_that_tell

n = helper.make_node
IMAGE = (2, 3, 5, 7)
GRID = floats(2, 4, 6, 2) * 1.5  # also outside of the image
GRID[0, 0, 0] = 40, -30


def whole(name: str, result: str) -> onnx.NodeProto:
    return n("Cast", [name], [result], to=TensorProto.INT64)


def model_of(*nodes: onnx.NodeProto, shape: tuple[int, ...], rank: int = 4, **constants: Any) -> onnx.ModelProto:
    return onnx_model(*nodes, shape=shape, out=tuple("abcdef"[:rank]), **constants)


CASES: dict[str, onnx.ModelProto] = {
    **{
        f"GridSample {mode} {padding} {align}": model_of(
            n("GridSample", ["x", "grid"], ["y"], mode=mode, padding_mode=padding, align_corners=align),
            shape=IMAGE, grid=GRID,
        )
        for mode, padding, align in (("linear", "zeros", 0), ("cubic", "border", 1), ("nearest", "reflection", 0))
    },
    "ScatterND": model_of(
        n("ScatterND", ["x", "at", "new"], ["y"]),
        shape=(4, 3, 2), rank=3, at=np.array([[1, 2], [-1, 0], [1, -1]]), new=floats(3, 2),
    ),
    "ScatterElements": model_of(
        n("ScatterElements", ["x", "at", "new"], ["y"], axis=1, reduction="add"),
        shape=(3, 5), rank=2, at=np.array([[0, -1, 0], [2, 2, 2]]), new=floats(2, 3),
    ),
    "TopK": model_of(
        n("TopK", ["x", "k"], ["values", "at"], axis=1), n("Cast", ["at"], ["places"], to=TensorProto.FLOAT),
        n("Concat", ["values", "places"], ["y"], axis=1), shape=(3, 9, 2), rank=3, k=np.array([4]),
    ),
    "DFT": model_of(
        n("DFT", ["x", "", "axis"], ["y"], onesided=1), shape=(2, 12, 3, 1), axis=np.array(1, np.int64)
    ),
    "DFT of a longer signal": model_of(
        n("DFT", ["x", "length", "axis"], ["y"], inverse=1), shape=(2, 12, 3, 2), axis=np.array(1, np.int64),
        length=np.array(16, np.int64),
    ),
    "STFT": model_of(
        n("STFT", ["x", "step", "window"], ["y"]), shape=(2, 40, 1), step=np.array(5, np.int64),
        window=np.hanning(16).astype(np.float32),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_as_onnx_runtime(name: str, tmp_path: Path, compile_and_run: CompileAndRun) -> None:
    model, x = CASES[name], input_of(CASES[name])
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    (theirs,) = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})
    np.testing.assert_allclose(compile_and_run(path, x[None])[0], theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["GridSample linear zeros 0", "ScatterND", "TopK"])
def test_as_onnx_runtime_on_aarch64(name: str) -> None:
    model, x = CASES[name], input_of(CASES[name])
    (theirs,) = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})
    _, ours = run_kernels(model, x, "qemu")
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


def input_of(model: onnx.ModelProto) -> Array:
    return floats(*(d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim))


HOSTILE = np.array([-7, 1e9, -1e18, 2, 5, -3], np.float32)
"""As indices of an axis of 5: -3 and 2 are the same element."""


@pytest.mark.parametrize("operator", ["ScatterND", "ScatterElements"])
def test_an_index_outside_changes_nothing(operator: str, tmp_path: Path, compile_and_run: CompileAndRun) -> None:
    shape = np.array([6, 1] if operator == "ScatterND" else [6])
    path = tmp_path / "model.onnx"
    model = model_of(
        whole("x", "whole"), n("Reshape", ["whole", "shape"], ["at"]), n(operator, ["data", "at", "new"], ["y"]),
        shape=(6,), rank=1, shape_=shape, data=floats(5), new=np.arange(6, dtype=np.float32) + 10,
    )  # fmt: skip
    model.graph.node[1].input[1] = "shape_"
    path.write_bytes(model.SerializeToString())
    expected = floats(5)
    expected[2] = 15  # the last of the two
    assert (compile_and_run(path, HOSTILE[None])[0] == expected).all()


def test_a_grid_of_no_numbers_reads_inside_of_its_image(tmp_path: Path, compile_and_run: CompileAndRun) -> None:
    """The nearest pixel of what is no number is none: 0."""
    path = tmp_path / "model.onnx"
    model = model_of(
        n("GridSample", ["image", "x"], ["y"], mode="nearest"), shape=(1, 1, 3, 2), image=floats(1, 1, 4, 4)
    )
    path.write_bytes(model.SerializeToString())
    x = np.array([np.nan, 0, np.inf, np.nan, -np.inf, 1e30], np.float32).reshape(1, 1, 3, 2)
    assert (compile_and_run(path, x[None])[0] == 0).all()


@pytest.mark.parametrize("left", [True, False])
def test_bits_are_shifted(left: bool, tmp_path: Path, compile_and_run: CompileAndRun) -> None:
    """By a negative number, or by all bits, nothing but the sign is left; ONNX Runtime has no signed shift."""
    path = tmp_path / "model.onnx"
    model = model_of(
        n("Cast", ["x"], ["i"], to=TensorProto.INT32),
        n("BitShift", ["i", "by"], ["s"], direction="LEFT" if left else "RIGHT"),
        n("Cast", ["s"], ["y"], to=TensorProto.FLOAT), shape=(5,), rank=1,
        by=np.array([1, -1, 32, 3, 31], np.int32),
    )  # fmt: skip
    model.opset_import[0].version = 28
    path.write_bytes(model.SerializeToString())
    x = np.array([-5, 5, -5, 7, -1], np.float32)
    expected = [-10, 0, 0, 56, -(2**31)] if left else [-3, 0, -1, 0, -1]
    assert compile_and_run(path, x[None])[0].tolist() == expected


def test_an_output_may_be_a_constant(tmp_path: Path, libtzml: Path) -> None:
    from tzml.client import World, open_model

    model = onnx_model(n("Relu", ["x"], ["y"]), n("Identity", ["c"], ["same"]), c=floats(3, 2))
    model.graph.output.append(helper.make_tensor_value_info("same", TensorProto.FLOAT, (3, 2)))
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    compile_model(tmp_path / "model.onnx", CompileOptions("host")).write(tmp_path / "model.tzm")
    with open_model(tmp_path / "model.tzm", World.ree) as opened:
        outputs = opened.run(floats(1, 8)).outputs
    assert (outputs["same"] == floats(3, 2)).all()
    assert (outputs["y"] == np.maximum(floats(1, 8), 0)).all()


def test_instructions_do_not_depend_on_numbers(tmp_path: Path) -> None:
    """Of all of these operators in one network, with every kind of number as an index."""
    count = int(np.prod(LARGER))
    few = np.array([count // 16])
    nodes = [
        n("Reshape", ["x", "flat"], ["all"]), n("Slice", ["all", "zero", "few"], ["v"]), whole("v", "i"),
        n("Reshape", ["v", "pairs"], ["grid"]), n("GridSample", ["x", "grid"], ["o0"]),
        n("TopK", ["v", "three"], ["o1", "at"], axis=0),
        n("ReverseSequence", ["sequences", "i"], ["o2"]),
        *(n("ReduceSum", [f"o{k}"], [f"s{k}"], keepdims=0) for k in range(3)),
        n("Sum", [f"s{k}" for k in range(3)], ["y"]),
    ]  # fmt: skip
    model = onnx_model(
        *nodes, shape=LARGER, out=(), flat=np.array([-1]), zero=np.array([0]), few=few, three=np.array([3]),
        pairs=np.array([1, -1, 1, 2]), sequences=floats(4, int(few[0])),
    )  # fmt: skip
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    bundle = compile_model(tmp_path / "model.onnx", CompileOptions("qemu"))
    assert len(taken(bundle, tmp_path)) == 1


@pytest.mark.parametrize("name", ["ScatterND", "ScatterElements", "TopK"])
def test_those_say_so_whose_instructions_depend_on_indices(name: str, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(CASES[name].SerializeToString())
    imported = prepare(import_file(tmp_path / "model.onnx", {}, lambda _: None), TARGETS["host"].tvm)
    assert [f"({name})" in layer for layer in layers_that_tell(imported)] == ([True] if name != "TopK" else [])
