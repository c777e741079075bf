"""`tzml check` says beforehand what `tzml compile` does: what it refuses, what memory it takes, what it splits."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from programs import run_module
from tflite_models import Tensor, TfliteFile

from tzml.bundle import Region
from tzml.bundle.streaming import bytes_loaded
from tzml.compiler import CompileOptions, compile_model
from tzml.compiler.codegen import build_kernel
from tzml.compiler.compile.check import check_model
from tzml.compiler.ir.errors import CompileError
from tzml_zoo.digits import ONNX


def check(*arguments: str | Path) -> tuple[int, dict[str, Any]]:
    """The exit code, and the JSON."""
    done = run_module("tzml", "check", *arguments, "--json", timeout=600)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def save(
    path: Path, nodes: Sequence[onnx.NodeProto], weights: dict[str, Any], **ports: Sequence[int | str]
) -> Path:
    """A model of some nodes from `x` to `y`."""
    ends = {name: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in ports.items()}
    constants = [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "net", [ends["x"]], [ends["y"]], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20), helper.make_opsetid("acme", 1)])
    model.ir_version = 10
    onnx.save(model, path)
    return path


def wide(path: Path) -> Path:
    """Two dense layers: of 4 MiB of weights, and of 16 KiB."""
    weights = {"a": np.ones((1024, 1024), np.float32), "b": np.ones((1024, 4), np.float32)}
    nodes = [
        helper.make_node("MatMul", ["x", "a"], ["h"], "large"),
        helper.make_node("Relu", ["h"], ["r"], "relu"),
        helper.make_node("MatMul", ["r", "b"], ["y"], "small"),
    ]
    return save(path, nodes, weights, x=[1, 1024], y=[1, 4])


def tall(path: Path) -> Path:
    """Two convolutions with activations of 2 MiB and little weights."""
    weights = {"a": np.ones((8, 1, 3, 3), np.float32), "b": np.ones((1, 8, 3, 3), np.float32)}
    nodes = [
        helper.make_node("Conv", ["x", "a"], ["h"], "widen", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["h"], ["r"], "relu"),
        helper.make_node("Conv", ["r", "b"], ["y"], "narrow", pads=[1, 1, 1, 1]),
    ]
    return save(path, nodes, weights, x=[1, 1, 256, 256], y=[1, 1, 256, 256])


@pytest.mark.parametrize(
    ("make", "limit"),
    [(wide, 8 << 20), (wide, 2 << 20), (tall, 8 << 20), (tall, 2 << 20), (lambda _: ONNX, 8 << 20)],
)
def test_the_memory_is_what_the_compiled_model_takes(tmp_path: Path, make: Any, limit: int) -> None:
    path = make(tmp_path / "net.onnx")
    found = check_model(path, "qemu", limit, {})
    bundle = compile_model(path, CompileOptions("qemu", secure_memory=limit))
    assert found.memory is not None
    assert found.calls == len(bundle.program.calls)
    assert found.memory.arena == bundle.memory.arena_size
    # the library is not known before, and weights get what it leaves
    assert found.memory.total == pytest.approx(bundle.secure_memory, abs=64 << 10)
    assert found.memory.total <= limit
    assert found.memory.weights == pytest.approx(bundle.memory.weights_size, rel=0.1)
    assert found.memory.streamed == pytest.approx(bytes_loaded(bundle.program, bundle.memory), rel=0.1)


def test_layers_are_told_in_how_many_parts_they_are_computed(tmp_path: Path) -> None:
    path = wide(tmp_path / "net.onnx")
    for limit in (8 << 20, 2 << 20, 1 << 20):
        bundle = compile_model(path, CompileOptions("qemu", secure_memory=limit))
        loads = [sum(a.size for a in call.arguments if a.region == Region.weights) for call in bundle.program.calls]
        found = check_model(path, "qemu", limit, {})
        parts = {layer.layer.name: layer.parts for layer in found.layers}
        assert parts == {"large": sum(size > 64 << 10 for size in loads), "small": 1}
        assert (parts["large"] == 1) is (limit > 4 << 20)
    strips = check_model(tall(tmp_path / "net.onnx"), "qemu", 2 << 20, {})
    assert [layer.parts > 1 for layer in strips.layers] == [True, True]


def test_no_kernel_is_compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZML_CACHE", str(tmp_path))

    def machine_code(*_: object) -> bytes:
        raise AssertionError("a kernel is compiled")

    monkeypatch.setattr(build_kernel, "object_file", machine_code)
    assert check_model(wide(tmp_path / "net.onnx"), "qemu", 2 << 20, {}).memory is not None
    with pytest.raises(CompileError):  # which would be noticed
        compile_model(tmp_path / "net.onnx", CompileOptions("qemu"))
    assert not list((tmp_path / "kernels").iterdir())


def test_every_layer_that_would_be_refused_is_listed_with_its_reason(tmp_path: Path) -> None:
    """Those that nobody knows, and behind them those with an output that nobody computes."""
    nodes = [
        helper.make_node("Secret", ["x"], ["a"], "first", domain="acme"),
        helper.make_node("Conv", ["a", "w"], ["b"], "good", pads=[1, 1, 1, 1]),
        helper.make_node(
            "MaxPool", ["b"], ["c", "i"], "with indices", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1
        ),
        helper.make_node("Cast", ["i"], ["f"], "cast", to=TensorProto.FLOAT),
        helper.make_node("Add", ["c", "f"], ["d"], "sum"),
        helper.make_node("RandomNormalLike", ["d"], ["e"], "noise"),
        helper.make_node("Relu", ["e"], ["y"], "end"),
    ]
    shapes = {"w": np.ones((2, 1, 3, 3), np.float32)}
    path = save(tmp_path / "net.onnx", nodes, shapes, x=[1, 1, 8, 8], y=[1, 2, 4, 4])
    model = onnx.load(path)  # ONNX knows nothing of the vendor's operator
    model.graph.value_info.append(helper.make_tensor_value_info("a", TensorProto.FLOAT, [1, 1, 8, 8]))
    onnx.save(model, path)
    code, about = check(path)
    assert code == 1
    assert about["memory"] is None
    refused = {(r["operator"], r["layer"]): r["why"] for r in about["refused"]}
    assert set(refused) == {("acme::Secret", "first"), ("RandomNormalLike", "noise"), ("MaxPool", "with indices")}
    assert all(refused.values())
    done = run_module("tzml", "check", path)
    assert done.returncode == 1
    assert len([line for line in done.stdout.splitlines() if line.startswith("refused: ")]) == 3
    with pytest.raises(CompileError, match="Secret"):
        compile_model(path, CompileOptions("qemu"))


def test_where_it_cannot_look_on_it_says_so(tmp_path: Path) -> None:
    nodes = [helper.make_node("Secret", ["x"], ["a"], "first", domain="acme"),
             helper.make_node("Secret", ["a"], ["b"], "second", domain="acme"),
             helper.make_node("Relu", ["b"], ["y"], "end")]  # fmt: skip
    code, about = check(save(tmp_path / "net.onnx", nodes, {}, x=[1, 8], y=[1, 8]))
    assert code == 1
    assert [r["layer"] for r in about["refused"]] == ["first", "second", ""]
    assert "was not looked at" in about["refused"][2]["why"]


def test_of_other_formats_the_refused_layers_are_listed_too(tmp_path: Path) -> None:
    file = TfliteFile()
    x = file.input(Tensor((3, 4)))
    for name in ("RFFT2D", "RANDOM_UNIFORM"):
        (x,) = file.operator(name, [x], Tensor((3, 4)))
    (tmp_path / "net.tflite").write_bytes(file.to_bytes())
    code, about = check(tmp_path / "net.tflite")
    assert (code, about["format"]) == (1, "TFLite")
    assert [r["operator"] for r in about["refused"]] == ["RFFT2D", "RANDOM_UNIFORM"]
    assert all(r["layer"] for r in about["refused"])


def test_a_model_that_does_not_fit_or_leaves_shapes_open_is_refused_as_a_whole(tmp_path: Path) -> None:
    code, about = check(wide(tmp_path / "net.onnx"), "--secure-memory", "300K")
    assert code == 1
    assert "bytes of secure memory, not 307,200" in about["refused"][0]["why"]
    assert [layer["name"] for layer in about["layers"]] == ["large", "small"]
    relu = [helper.make_node("Relu", ["x"], ["y"], "relu")]
    path = save(tmp_path / "open.onnx", relu, {}, x=["n", 4], y=["n", 4])
    code, about = check(path)
    assert (code, about["refused"][0]["layer"]) == (1, "")
    assert "give --input x=1x4" in about["refused"][0]["why"]
    code, about = check(path, "--input", "x=1x4")
    assert (code, about["refused"], about["kernel_calls"]) == (0, [], 1)
