"""What is no number stays none, as in PyTorch and TensorFlow; an integer is then the lowest, as in ONNX Runtime."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper
from small_models import Array, floats, onnx_model, run_kernels

SHAPE = (1, 16, 8, 8)
ONE = np.eye(16, dtype=np.float32)[:, :, None, None]


def image() -> Array:
    """With NaN at (3, 2, 1), and in a column of the channel 5."""
    x = floats(*SHAPE)
    x[0, 3, 2, 1] = x[0, 5, :, 4] = np.nan
    return x


def answer(node: onnx.NodeProto, target: str, x: Array, **constants: Array | np.generic) -> Array:
    """What the node makes of x, behind a convolution that changes nothing but that NaN is in all channels."""
    convolution = helper.make_node("Conv", ["x", "w"], ["c"])
    model = onnx_model(convolution, node, shape=x.shape, out=tuple("abcd"), w=ONE, **constants)
    if node.op_type in ("QuantizeLinear", "Equal"):
        kinds = {"QuantizeLinear": TensorProto.INT8, "Equal": TensorProto.BOOL}
        model.graph.output[0].type.tensor_type.elem_type = kinds[node.op_type]
    return run_kernels(model, x, target)[1]


@pytest.mark.parametrize("target", ["host", "rpi3"])
def test_nan_is_kept(target: str) -> None:
    x = image()
    operands = {"Clip": ["low", "high"], "Max": ["low"], "Min": ["x"]}
    operators = ["Relu", "Clip", "Max", "Min", "HardSigmoid", "Sigmoid", "Tanh", "Exp", "Elu"]
    nodes = [helper.make_node("Conv", ["x", "w"], ["c"])]
    nodes += [helper.make_node(name, ["c", *operands.get(name, [])], [f"y{name}"]) for name in operators]
    nodes += [helper.make_node("Concat", [f"y{name}" for name in operators], ["y"], axis=1)]
    low, high = np.float32(-0.5), np.float32(1.5)
    y = run_kernels(onnx_model(*nodes, shape=SHAPE, out=tuple("abcd"), w=ONE, low=low, high=high), x, target)[1]
    expected = np.broadcast_to(np.isnan(x).any(1, keepdims=True), x.shape)
    for name, part in zip(operators, np.split(y, len(operators), 1), strict=True):
        np.testing.assert_array_equal(np.isnan(part), expected, err_msg=name)


@pytest.mark.parametrize("target", ["host", "rpi3"])
def test_the_largest_of_a_window_with_nan_is_nan(target: str) -> None:
    x = image()
    y = answer(helper.make_node("MaxPool", ["c"], ["y"], kernel_shape=[2, 2], strides=[2, 2]), target, x)
    expected = np.isnan(x).any((0, 1)).reshape(4, 2, 4, 2).any((1, 3))
    np.testing.assert_array_equal(np.isnan(y), np.broadcast_to(expected, y.shape))


@pytest.mark.parametrize("target", ["host", "rpi3"])
def test_a_softmax_of_nan_is_nan(target: str) -> None:
    x = image()
    y = answer(helper.make_node("Softmax", ["x"], ["y"], axis=1), target, x)
    np.testing.assert_array_equal(np.isnan(y), np.broadcast_to(np.isnan(x).any(1, keepdims=True), x.shape))


@pytest.mark.parametrize("target", ["host", "rpi3"])
def test_nan_as_an_integer_is_the_lowest(target: str) -> None:
    x = image()
    node = helper.make_node("QuantizeLinear", ["c", "scale", "zero"], ["y"])
    y = answer(node, target, x, scale=np.float32(0.05), zero=np.int8(3))
    numbers = np.clip(np.rint(x / np.float32(0.05)) + 3, -128, 127)
    expected = np.where(np.isnan(x).any(1, keepdims=True), -128, numbers)
    np.testing.assert_array_equal(y, expected)


def test_nan_is_not_equal_to_itself() -> None:
    x = image()
    y = answer(helper.make_node("Equal", ["c", "c"], ["y"]), "host", x)
    np.testing.assert_array_equal(y, np.broadcast_to(~np.isnan(x).any(1, keepdims=True), x.shape))


@pytest.mark.parametrize("target", ["host", "rpi3"])
def test_the_largest_of_infinities_is_infinite(target: str) -> None:
    """Of a whole row; the index is in the row. A limit that is the lowest finite number stays one."""
    x = floats(*SHAPE)
    x[0, 3], x[0, 4, :4] = -np.inf, np.inf
    names = ("ReduceMax", "ReduceMin", "ArgMax", "ArgMin")
    nodes = [helper.make_node("Clip", ["x", "low", "high"], ["Clip"])]
    for name in names:
        inputs, axis = (["x", "axis"], {}) if name.startswith("Reduce") else (["x"], {"axis": -1})
        nodes.append(helper.make_node(name, inputs, [f"{name}0"], **axis))
        nodes.append(helper.make_node("Cast", [f"{name}0"], [f"{name}1"], to=TensorProto.FLOAT))
    nodes.append(helper.make_node("Concat", ["Clip", *(f"{name}1" for name in names)], ["y"], axis=-1))
    limit = np.finfo(np.float32).max
    model = onnx_model(*nodes, shape=SHAPE, out=tuple("abcd"), axis=np.array([-1]), low=-limit, high=limit)
    (expected,) = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})
    np.testing.assert_array_equal(run_kernels(model, x, target)[1], expected)


@pytest.mark.parametrize("operator", ["MaxPool", "GlobalMaxPool"])
def test_the_largest_of_a_window_of_infinities_is_infinite(operator: str) -> None:
    """As in PyTorch; ONNX Runtime has the lowest finite number."""
    x = floats(*SHAPE)
    x[0, 3] = -np.inf
    window = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]} if operator == "MaxPool" else {}
    node = helper.make_node(operator, ["x"], ["y"], **window)
    y = run_kernels(onnx_model(node, shape=SHAPE, out=tuple("abcd")), x)[1]
    np.testing.assert_array_equal(y == -np.inf, np.broadcast_to((x == -np.inf).all((2, 3), keepdims=True), y.shape))
