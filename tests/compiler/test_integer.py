"""Quantized models are computed in integers, with int8 weights, and answer as LiteRT and ONNX Runtime do.

One quantum is one step of the output's integers. LiteRT's reference kernels round twice, with a multiplier of
31 bits; the kernels it takes by itself, ONNX Runtime and tzml multiply by a float32 number and round once,
halves to even.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from small_models import CompileAndRun, run_kernels

from tzml.bundle import Bundle
from tzml.compiler import CompileOptions, compile_model
from tzml_zoo import models
from tzml_zoo.digits import INT8_ONNX, LITERT_ANSWERS, TFLITE, held_out_digits

Array = NDArray[Any]


def calls(bundle: Bundle) -> list[str]:
    return list(json.loads(bundle.notes)["programs"]["main"]["calls"])


def test_an_int8_network_answers_as_litert_within_a_quantum(compile_and_run: CompileAndRun) -> None:
    answers = np.load(LITERT_ANSWERS)
    ours = compile_and_run(TFLITE["digits_int8"], answers["x"]).reshape(answers["litert"].shape).astype(int)
    for theirs in (answers["litert"], answers["reference"]):
        assert np.abs(ours - theirs).max() <= 1
    assert np.mean(ours == answers["litert"]) > 0.99
    _, labels = held_out_digits()
    assert np.mean(ours.argmax(1) == labels[: len(ours)]) > 0.95


@pytest.mark.parametrize(("path", "target"), [(TFLITE["digits_int8"], "host"), (INT8_ONNX, "rpi3")])
def test_weights_stay_int8_in_the_bundle(path: Path, target: str) -> None:
    bundle = compile_model(path, CompileOptions(target))
    real = compile_model(models()["digits"].onnx(), CompileOptions(target))
    assert sum(map(len, bundle.chunks)) < 0.3 * sum(map(len, real.chunks))
    layers = [call for call in calls(bundle) if "conv2d" in call or "matmul" in call]
    assert len(layers) == 5
    assert all("integer" in layer for layer in layers)


def quantized(
    kind: str, weights: Array, groups: int = 1, strides: int = 1, pads: int = 0, relu: bool = False, **window: Any
) -> list[onnx.NodeProto]:
    """x, `kind` integers, to y: a convolution or a product between DequantizeLinear and QuantizeLinear."""
    if weights.ndim == 4:
        layer = helper.make_node(
            "Conv", ["xd", "wd", "bd"], ["c"], group=groups, strides=[strides] * 2, pads=[pads] * 4, **window
        )
    else:
        layer = helper.make_node("Gemm", ["xd", "wd", "bd"], ["c"], transB=1)
    return [
        helper.make_node("DequantizeLinear", ["x", "xs", "xz"], ["xd"]),
        helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["wd"], axis=0),
        helper.make_node("DequantizeLinear", ["b", "bs", "bz"], ["bd"], axis=0),
        layer,
        *([helper.make_node("Relu", ["c"], ["r"])] if relu else []),
        helper.make_node("QuantizeLinear", ["r" if relu else "c", "ys", "yz"], ["y"]),
    ]


def compare(
    kind: str, shape: tuple[int, ...], weights: Array, target: str = "host", weights_zero: int = 0, **about: Any
) -> Bundle:
    """Run a layer with such weights on random integers; the largest difference may be a quantum."""
    random = np.random.default_rng(weights.size)
    outputs, depth = len(weights), weights[0].size
    scales = (0.01 * (1 + np.arange(outputs) / outputs)).astype(np.float32)
    zero = np.asarray(128 if kind == "uint8" else -3, kind)
    constants = {
        "xs": np.float32(0.05), "xz": zero, "w": weights, "ws": scales,
        "wz": np.full(outputs, weights_zero, np.int8),
        "b": random.integers(-2000, 2000, outputs).astype(np.int32), "bs": scales * np.float32(0.05),
        "bz": np.zeros(outputs, np.int32), "ys": np.float32(0.04 * np.sqrt(depth)), "yz": zero,
    }  # fmt: skip
    element = {"int8": TensorProto.INT8, "uint8": TensorProto.UINT8}[kind]
    graph = helper.make_graph(
        quantized(kind, weights, **about),
        "test",
        [helper.make_tensor_value_info("x", element, shape)],
        [helper.make_tensor_value_info("y", element, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    model = onnx.shape_inference.infer_shapes(model)
    x = random.integers(np.iinfo(kind).min, np.iinfo(kind).max, shape, endpoint=True).astype(kind)
    options = onnxruntime.SessionOptions()
    # fused, its x86-64 kernels saturate sums of two products
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    expected = onnxruntime.InferenceSession(model.SerializeToString(), options).run(None, {"x": x})[0]
    bundle, result = run_kernels(model, x, target)
    assert result.dtype == expected.dtype
    assert np.abs(result.astype(int) - expected).max() <= 1
    assert np.mean(result == expected) > 0.98
    assert np.unique(expected).size > 8  # it is no comparison of limits
    return bundle


def compare_integers(*about: Any, **more: Any) -> None:
    bundle = compare(*about, **more)
    assert any("integer" in call for call in calls(bundle))


def integers(*shape: int, low: int = -127) -> Array:
    return np.random.default_rng(0).integers(low, 128, shape).astype(np.int8)


kinds = st.sampled_from(["int8", "int8", "uint8"])


@settings(max_examples=3, deadline=None, derandomize=True, phases=[Phase.generate])
@given(
    kinds, st.sampled_from([1, 3, 8, 16, 40]), st.sampled_from([3, 10, 16, 24]), st.integers(6, 12),
    st.sampled_from([1, 3, 5]), st.integers(1, 2), st.integers(0, 2), st.booleans(),
)  # fmt: skip
def test_convolution(
    kind: str, inputs: int, outputs: int, side: int, kernel: int, strides: int, pads: int, relu: bool
) -> None:
    shape = (1, inputs, side, side + 1)
    compare_integers(kind, shape, integers(outputs, inputs, kernel, kernel), strides=strides, pads=pads, relu=relu)


@settings(max_examples=2, deadline=None, derandomize=True, phases=[Phase.generate])
@given(kinds, st.sampled_from([4, 8, 17, 40]), st.integers(6, 12), st.integers(1, 2), st.integers(0, 1))
def test_depthwise_convolution(kind: str, channels: int, side: int, strides: int, pads: int) -> None:
    shape = (2, channels, side, side + 1)
    compare_integers(kind, shape, integers(channels, 1, 3, 3), groups=channels, strides=strides, pads=pads)


@pytest.mark.parametrize("target", ["host", "rpi3"])
def test_weights_of_minus_128_do_not_overflow(target: str) -> None:
    weights = integers(16, 32, low=-128)
    weights[:8] = -128
    compare_integers("int8", (3, 32), weights, target)


def test_a_zero_point_that_makes_a_weight_128_does_not_overflow() -> None:
    """127 with zero point -1: one too many for int8."""
    weights = integers(16, 32)
    weights[:8] = 127
    compare("int8", (3, 32), weights, weights_zero=-1)


def test_convolutions_for_aarch64() -> None:
    compare_integers("int8", (1, 24, 9, 9), integers(20, 24, 3, 3), "rpi3", pads=1)
    compare_integers("int8", (1, 24, 9, 9), integers(24, 1, 3, 3), "rpi3", pads=1, groups=24)


def test_a_dilated_convolution() -> None:
    compare_integers("int8", (1, 8, 12, 12), integers(8, 8, 3, 3), pads=2, dilations=[2, 2])


def test_weights_with_a_zero_point_are_computed_as_real_numbers() -> None:
    bundle = compare("int8", (1, 8, 9, 9), integers(16, 8, 3, 3), weights_zero=5, pads=1)
    assert not any("integer" in call for call in calls(bundle))
