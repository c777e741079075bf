"""Every kernel computes what ONNX Runtime does, for any shape, stride, dilation, padding and layout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from small_models import run_kernels

from tzml.bundle import Bundle, Region
from tzml.compiler.codegen.kernels.conv import Conv2d
from tzml.compiler.codegen.kernels.isa import AVX512, NEON
from tzml.compiler.codegen.kernels.winograd import wins

Array = NDArray[Any]


def compare(
    nodes: Sequence[onnx.NodeProto], shape: Sequence[int], *constants: Array, target: str = "host"
) -> Bundle:
    """Run operators from x to y on a random input, with constants named c0, c1, …"""
    weights = [numpy_helper.from_array(array, f"c{i}") for i, array in enumerate(constants)]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph(list(nodes), "test", [x], [y], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    model = onnx.shape_inference.infer_shapes(model)
    data = random(*shape)
    expected = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": data})[0]
    bundle, result = run_kernels(model, data, target)
    assert np.abs(result - expected).max() <= 1e-5 * max(1.0, np.abs(expected).max())
    return bundle


def random(*shape: int) -> Array:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def conv(
    strides: int = 1, dilation: int = 1, pads: Sequence[int] = (0, 0, 0, 0), groups: int = 1
) -> onnx.NodeProto:
    return helper.make_node(
        "Conv", ["x", "c0"], ["y"], strides=[strides] * 2, dilations=[dilation] * 2, pads=pads, group=groups
    )


sizes = st.integers(5, 20)
channels = st.sampled_from([1, 3, 4, 8, 16, 17, 24, 40])
kernels = st.sampled_from([1, 2, 3, 5])
strides = st.integers(1, 2)
paddings = st.lists(st.integers(0, 2), min_size=4, max_size=4)


@settings(max_examples=8, deadline=None, derandomize=True)
@given(channels, channels, sizes, sizes, kernels, strides, st.integers(1, 2), paddings)
def test_convolution(
    inputs: int, outputs: int, height: int, width: int, kernel: int, stride: int, dilation: int, pads: list[int]
) -> None:
    if (kernel - 1) * dilation >= min(height, width):
        dilation = 1
    compare([conv(stride, dilation, pads)], (1, inputs, height, width), random(outputs, inputs, kernel, kernel))


@pytest.mark.parametrize("target", ["host", "rpi3"])
@pytest.mark.parametrize(
    ("inputs", "outputs", "height", "width", "pads"),
    [(16, 16, 12, 14, [1, 1, 1, 1]), (17, 40, 15, 17, [0, 2, 1, 0]), (136, 20, 31, 13, [2, 0, 0, 2])],
    ids=["even", "odd", "weights in parts"],
)
def test_convolution_by_winograd(
    target: str, inputs: int, outputs: int, height: int, width: int, pads: list[int]
) -> None:
    bundle = compare([conv(pads=pads)], (1, inputs, height, width), random(outputs, inputs, 3, 3), target=target)
    if target == "rpi3":  # for x86 the definition takes scratch memory, too
        assert max(sum(a.region == Region.arena for a in call.arguments) for call in bundle.program.calls) > 2


@pytest.mark.parametrize("target", ["host", "rpi3"])
def test_what_follows_a_convolution_by_winograd(target: str) -> None:
    nodes = [
        helper.make_node("Conv", ["x", "c0", "c1"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("Add", ["a", "x"], ["b"]),
        helper.make_node("Relu", ["b"], ["y"]),
    ]
    compare(nodes, (2, 24, 15, 17), random(24, 24, 3, 3), random(24), target=target)


@pytest.mark.parametrize(
    "other",
    [
        {"kernel": (3, 1)}, {"kernel": (5, 5)}, {"strides": (2, 2)}, {"dilation": (2, 2)}, {"groups": 2},
        {"size": (7, 7)}, {"channels": 8}, {"out_channels": 8}, {"in_block": 1},
    ],
    ids=str,
)  # fmt: skip
def test_winograd_is_for_large_convolutions_of_3_by_3(other: dict[str, Any]) -> None:
    for isa in (NEON, AVX512):
        usual = Conv2d(1, 64, isa.lanes, (28, 28), 64, isa.lanes, (3, 3), padding=(1, 1, 1, 1))
        assert wins(usual, isa)
        assert not wins(replace(usual, **other), isa)


@settings(max_examples=5, deadline=None, derandomize=True)
@given(channels, sizes, sizes, st.sampled_from([2, 3, 5]), strides, paddings)
def test_depthwise_convolution(
    count: int, height: int, width: int, kernel: int, stride: int, pads: list[int]
) -> None:
    compare([conv(stride, 1, pads, count)], (1, count, height, width), random(count, 1, kernel, kernel))


@pytest.mark.parametrize("groups", [2, 3])
def test_grouped_convolution(groups: int) -> None:
    compare([conv(pads=(1, 1, 1, 1), groups=groups)], (1, 12, 9, 9), random(24, 12 // groups, 3, 3))


@settings(max_examples=5, deadline=None, derandomize=True)
@given(
    st.sampled_from(["MaxPool", "AveragePool"]), channels, sizes, sizes, st.integers(2, 3), strides, st.booleans()
)
def test_pooling(kind: str, count: int, height: int, width: int, kernel: int, stride: int, counted: bool) -> None:
    more = {"count_include_pad": int(counted)} if kind == "AveragePool" else {}
    pads = [0, 1, 1, 0]
    pool = helper.make_node(kind, ["x"], ["y"], kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=pads, **more)
    compare([pool], (1, count, height, width))


@settings(max_examples=5, deadline=None, derandomize=True)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=3), st.integers(1, 70), st.integers(1, 70))
def test_dense_layer(leading: list[int], depth: int, columns: int) -> None:
    compare([helper.make_node("MatMul", ["x", "c0"], ["y"])], (*leading, depth), random(depth, columns))


@pytest.mark.parametrize(("rows", "depth"), [(5, 17), (20, 16)])
def test_product_of_two_tensors(rows: int, depth: int) -> None:
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["x", "t"], ["y"]),
    ]
    compare(nodes, (3, rows, depth))


@pytest.mark.parametrize("function", ["Sigmoid", "Tanh", "Erf", "Exp", "Gelu"])
@pytest.mark.parametrize("fused", [False, True])
def test_functions_of_numbers(function: str, fused: bool) -> None:
    node = helper.make_node(function, ["a" if fused else "x"], ["y"])
    before = [helper.make_node("Conv", ["x", "c0"], ["a"])] if fused else []
    compare([*before, node], (1, 5, 4, 4), *([random(18, 5, 1, 1)] if fused else []))


def test_layers_of_an_image_with_branches() -> None:
    nodes = [
        helper.make_node("Conv", ["x", "c0", "c1"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "c2"], ["c"]),
        helper.make_node("Add", ["c", "b"], ["d"]),
        helper.make_node("Concat", ["d", "b", "x"], ["e"], axis=1),
        helper.make_node("GlobalAveragePool", ["e"], ["f"]),
        helper.make_node("Mul", ["e", "f"], ["g"]),
        helper.make_node("Flatten", ["g"], ["h"]),
        helper.make_node("MatMul", ["h", "c3"], ["y"]),
    ]
    constants = random(16, 3, 3, 3), random(16), random(16, 16, 1, 1), random(35 * 49, 10) / 40
    compare(nodes, (1, 3, 7, 7), *constants)
