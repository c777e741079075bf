"""Quantized networks answer with little memory as they do with much, to the bit, and their weights stay int8."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from integer_networks import IntegerNetwork, integers
from numpy.typing import NDArray
from small_networks import build, notes

from tzml.bundle import Bundle
from tzml.client import World, open_model

Array = NDArray[np.int8]


def answer(folder: Path, bundle: Bundle, x: Array) -> Array:
    """The second one: chunks that share a place are then loaded over others."""
    bundle.write(folder / "model.tzm")
    with open_model(folder / "model.tzm", World.ree) as model:
        model.run(x)
        [y] = model.run(x).outputs.values()
        return y


def compare(folder: Path, network: IntegerNetwork, secure_memory: int) -> tuple[Bundle, Bundle]:
    """The network without and with a limit; both answer alike, and as ONNX Runtime does."""
    data, x = network.model(), network.sample()
    resident, fitted = build(folder, data), build(folder, data, secure_memory)
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
    assert len(layers(fitted, "integer_matmul")) == len(fitted.plan.calls) > 3
    assert fitted.plan.weights_size < resident.plan.weights_size / 2
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
    assert fitted.plan.arena_size < resident.plan.arena_size / 2
    assert len(layers(fitted, "integer_conv2d")) > len(layers(resident, "integer_conv2d")) == 3
    assert len(layers(fitted, "integer_depthwise")) > 1
    assert not layers(fitted, "conv2d")


def test_a_value_with_two_uses_is_dequantized_for_both(tmp_path: Path, libtzml: Path) -> None:
    """ONNX Runtime's quantizer writes one DequantizeLinear for all layers that read a value."""
