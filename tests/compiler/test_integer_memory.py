"""Quantized networks answer with little memory as they do with much, to the bit, and their weights stay int8."""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from hypothesis import HealthCheck, Phase, event, given, settings
from hypothesis import strategies as st
from integer_networks import IntegerNetwork, integers
from numpy.typing import NDArray
from onnx import helper
from small_networks import build, notes

from tzml.bundle import Bundle
from tzml.client import World, open_model
from tzml.compiler import CompileOptions, compile_model
from tzml.compiler.ir.errors import CompileError
from tzml_zoo.digits import LITERT_ANSWERS, TFLITE

COUNT = int(os.environ.get("TZML_RANDOM_NETWORKS", "0"))  # as in test_random_networks.py
Array = NDArray[np.int8]


def answer(folder: Path, bundle: Bundle, x: Array) -> Array:
    """The second one: chunks that share a place are then loaded over others."""
    bundle.write(folder / "model.tzm")
    with open_model(folder / "model.tzm", World.ree) as model:
        model.run(x)
        [y] = model.run(x).outputs.values()
        return y


def compare(
    folder: Path, network: IntegerNetwork, secure_memory: int, resident: Bundle | None = None
) -> tuple[Bundle, Bundle]:
    """The network without and with a limit; both answer alike, and as ONNX Runtime does."""
    data, x = network.model(), network.sample()
    resident, fitted = resident or build(folder, data), build(folder, data, secure_memory)
    expected = answer(folder, resident, x)
    assert (answer(folder, fitted, x) == expected).all()
    options = onnxruntime.SessionOptions()
    # fused, its x86-64 kernels saturate sums of two products
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    [theirs] = onnxruntime.InferenceSession(data, options).run(None, {"x": x})
    assert np.abs(expected.astype(int) - theirs).max() <= 3  # a quantum in each of some layers
    assert np.unique(theirs).size > 8  # it is no comparison of limits
    return resident, fitted


def layers(bundle: Bundle, name: str) -> list[str]:
    return [note for note in notes(bundle) if note.startswith(name)]


@pytest.mark.parametrize("kind", ["int8", "uint8"])
def test_a_dense_layer_is_split_and_its_parts_need_no_copy(tmp_path: Path, libtzml: Path, kind: str) -> None:
    network = IntegerNetwork((1, 200), kind).layer("Gemm", integers(512, 200), relu=True)
    network.layer("Gemm", integers(10, 512))
    resident, fitted = compare(tmp_path, network, 60_000)
    assert len(layers(fitted, "integer_matmul")) == len(fitted.program.calls) > 3
    assert fitted.memory.weights_size < resident.memory.weights_size / 2
    assert sum(map(len, fitted.chunks)) < 512 * 200 + 512 * 10 + 20_000  # bytes a number: one


def test_a_convolution_is_split(tmp_path: Path, libtzml: Path) -> None:
    network = IntegerNetwork((1, 64, 6, 6)).layer("Conv", integers(96, 64, 3, 3), relu=True, pads=[1] * 4)
    network.layer("MaxPool", kernel_shape=[2, 2])
    _, fitted = compare(tmp_path, network, 60_000)
    assert len(layers(fitted, "integer_conv2d")) > 1


def chain(kind: str = "int8") -> IntegerNetwork:
    """Layers whose values are much larger than what goes in and what comes out."""
    network = IntegerNetwork((1, 3, 60, 32), kind).layer("Conv", integers(32, 3, 3, 3), relu=True, pads=[1] * 4)
    network.layer("Conv", integers(32, 1, 3, 3), group=32, pads=[1] * 4)
    network.layer("Conv", integers(32, 32, 3, 3), pads=[0, 1, 2, 1], strides=[2, 2])
    network.layer("MaxPool", kernel_shape=[3, 3], strides=[4, 4], pads=[1, 0, 1, 0])
    return network.layer("Conv", integers(16, 32, 1, 1))


@pytest.mark.parametrize("kind", ["int8", "uint8"])
def test_a_chain_is_computed_in_strips(tmp_path: Path, libtzml: Path, kind: str) -> None:
    resident, fitted = compare(tmp_path, chain(kind), 80_000)
    assert fitted.memory.arena_size < resident.memory.arena_size / 2
    assert len(layers(fitted, "integer_conv2d")) > len(layers(resident, "integer_conv2d")) == 3
    assert len(layers(fitted, "integer_depthwise")) > 1
    assert not layers(fitted, "conv2d")


def test_a_tflite_network_is_split(tmp_path: Path, libtzml: Path) -> None:
    x = np.load(LITERT_ANSWERS)["x"][0]
    resident, fitted = (
        compile_model(TFLITE["digits_int8"], CompileOptions("host", secure_memory=limit))
        for limit in (1 << 20, 36_000)
    )
    assert len(layers(fitted, "integer_matmul")) > len(layers(resident, "integer_matmul"))
    assert sum(map(len, fitted.chunks)) < 1.1 * sum(map(len, resident.chunks))
    assert (answer(tmp_path, fitted, x) == answer(tmp_path, resident, x)).all()


def test_a_value_with_two_uses_is_dequantized_once(tmp_path: Path, libtzml: Path) -> None:
    """As ONNX Runtime's quantizer writes it; a strip of one of the layers must not take it from the other."""
    network = IntegerNetwork((1, 16, 40, 24)).layer("MaxPool", kernel_shape=[1, 1])
    network.layer("Conv", integers(64, 16, 1, 1), relu=True).layer("Conv", integers(16, 64, 3, 3), pads=[1] * 4)
    convolution, last = next(node for node in network.nodes if node.op_type == "Conv"), network.last
    real = convolution.input[0]
    network.nodes += [
        helper.make_node("DequantizeLinear", [last, "s", "z"], ["branch"]),
        helper.make_node("Add", [real, "branch"], ["sum"]),
        helper.make_node("QuantizeLinear", ["sum", "s", "z"], ["joined"]),
    ]
    network.last = "joined"
    resident, fitted = compare(tmp_path, network, 110_000)
    assert fitted.memory.arena_size < resident.memory.arena_size
    assert len(layers(resident, "integer_conv2d")) == 1  # the other's begins with what dequantizes for the sum
    assert len(layers(fitted, "integer_conv2d")) > 2


@pytest.mark.parametrize("limit", [110_000, 60_000], ids=["some groups a part", "parts of a group"])
def test_a_convolution_with_groups_is_split_along_them(tmp_path: Path, libtzml: Path, limit: int) -> None:
    network = IntegerNetwork((1, 32, 6, 6)).layer("Conv", integers(512, 8, 3, 3), relu=True, group=4)
    network.layer("MaxPool", kernel_shape=[2, 2])
    resident, fitted = compare(tmp_path, network, limit)
    assert len(layers(fitted, "conv2d")) > len(layers(resident, "conv2d")) == 1


@st.composite
def networks(draw: st.DrawFn) -> IntegerNetwork:
    """Some convolutions and poolings, and perhaps a dense layer behind them."""
    channels, *size = draw(st.sampled_from([3, 8, 16, 24])), draw(st.integers(12, 40)), draw(st.integers(8, 24))
    network = IntegerNetwork((1, channels, *size), draw(st.sampled_from(["int8", "int8", "uint8"])))
    for _ in range(draw(st.integers(1, 4))):
        stride = draw(st.sampled_from([1, 1, 2]))
        if min(size) < 4:
            break
        if draw(st.integers(0, 3)) == 0:
            network.layer("MaxPool", kernel_shape=[2, 2], strides=[stride] * 2)
            size = [(n - 2) // stride + 1 for n in size]
            continue
        kernel, relu = draw(st.sampled_from([1, 3])), draw(st.booleans())
        groups = draw(st.sampled_from([1, 1, 1, channels, 2 if channels % 2 == 0 else 1]))
        outputs = channels if groups == channels else 2 * draw(st.sampled_from([5, 8, 16, 40, 64]))
        pads = [draw(st.integers(0, kernel // 2)) for _ in range(4)]
        weights = integers(outputs, channels // groups, kernel, kernel)
        network.layer("Conv", weights, relu=relu, group=groups, strides=[stride] * 2, pads=pads)
        size = [(n + pads[i] + pads[i + 2] - kernel) // stride + 1 for i, n in enumerate(size)]
        channels = outputs
    if draw(st.booleans()):
        weights = integers(draw(st.sampled_from([40, 200, 512])), channels * math.prod(size))
        network.flatten().layer("Gemm", weights, relu=True)
    return network


@given(networks(), st.floats(0.3, 1))
@settings(
    max_examples=COUNT or 4, derandomize=not COUNT, deadline=None, database=None, print_blob=True,
    suppress_health_check=list(HealthCheck), phases=[Phase.generate],
)  # fmt: skip
def test_random_networks_answer_alike(
    libtzml: Path, tmp_path_factory: pytest.TempPathFactory, network: IntegerNetwork, share: float
) -> None:
    folder = tmp_path_factory.mktemp("random")
    resident = build(folder, network.model())
    weights, arena = resident.memory.weights_size, resident.memory.arena_size
    for part in (share, share / 2, share / 4):
        try:
            budget = resident.secure_memory - int(part * (weights + arena // 2))
            _, fitted = compare(folder, network, budget, resident)
        except CompileError as error:
            if "bytes of secure memory" not in str(error):
                raise
            continue
        event("streamed" if len(fitted.program.calls) == len(resident.program.calls) else "split or tiled")
        return
    event("does not fit")
