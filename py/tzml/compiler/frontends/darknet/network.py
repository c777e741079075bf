"""From a network of Darknet to an ONNX model that computes the same."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from tzml.compiler.frontends.darknet.weights import DarknetWeights
from tzml.darknet.cfg import CfgSection, DarknetNetwork

INPUT, OPSET = "data", 17

_EPSILON = 1e-6
"""Darknet divides by sqrt(variance) + this; ONNX adds it before it takes the root."""
_ACTIVATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "linear": ("", {}),
    "relu": ("Relu", {}),
    "leaky": ("LeakyRelu", {"alpha": 0.1}),
    "logistic": ("Sigmoid", {}),
    "tanh": ("Tanh", {}),
    "elu": ("Elu", {"alpha": 1.0}),
}
_OF_TRAINING = frozenset(("learning_rate", "stopbackward", "dontsave", "onlyforward", "smooth", "clip"))
"""Options of layers that decide nothing of an inference."""
_UNSUPPORTED = ("flipped", "binary", "xnor", "dot", "dontload", "dontloadscales", "numload")
"""Options that are understood where they are 0, or not given."""


@dataclass
class _Value:
    name: str
    shape: tuple[int, ...]  # without the batch


class _Builder:
    def __init__(self, weights: DarknetWeights) -> None:
        self.weights = weights
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, name: str, array: NDArray[Any]) -> str:
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array, np.float32), name))
        return name

    def node(self, kind: str, inputs: list[str], name: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [f"{name}_out"], name, **attributes))
        return f"{name}_out"

    def image(self, layer: CfgSection, value: _Value) -> tuple[int, int, int]:
        """The value's channels, height and width. Raises TzmlError for a row of numbers."""
        if len(value.shape) != 3:
            raise layer.wrong(f"it takes an image, and the layer before it gives {value.shape[0]:,} numbers")
        channels, height, width = value.shape
        return channels, height, width

    def row(self, value: _Value, name: str) -> _Value:
        """The value as a row of numbers."""
        if len(value.shape) == 1:
            return value
        return _Value(self.node("Flatten", [value.name], f"{name}_flat"), (math.prod(value.shape),))

    def activate(self, layer: CfgSection, name: str, value: str) -> str:
        kind = layer.text("activation", "logistic")
        if kind not in _ACTIVATIONS:
            raise layer.wrong(f"the activation {kind} is not known", f"there are {', '.join(_ACTIVATIONS)}")
        operator, attributes = _ACTIVATIONS[kind]
        return self.node(operator, [value], f"{name}_{kind}", **attributes) if operator else value

    def normalize(self, name: str, value: str, scale: Any, bias: Any, mean: Any, variance: Any) -> str:
        spread = (np.sqrt(variance.astype(np.float64)) + _EPSILON) ** 2
        numbers = {"scale": scale, "bias": bias, "mean": mean, "variance": spread}
        constants = [self.constant(f"{name}.{what}", array) for what, array in numbers.items()]
        return self.node("BatchNormalization", [value, *constants], f"{name}_norm", epsilon=0.0)

    def convolutional(self, layer: CfgSection, name: str, value: _Value) -> _Value:
        channels, height, width = self.image(layer, value)
        count, size = layer.integer("filters", 1, 1), layer.integer("size", 1, 1)
        stride, groups = layer.integer("stride", 1, 1), layer.integer("groups", 1, 1)
        padding = layer.integer("padding", 0)
        if layer.integer("pad", 0):
            padding = size // 2
        if channels % groups or count % groups:
            raise layer.wrong(f"{channels} channels and {count} filters are not {groups} groups")
        shape = [(length + 2 * padding - size) // stride + 1 for length in (height, width)]
        if min(shape) < 1:
            raise layer.wrong(f"a window of {size} does not fit into an image of {height} x {width}")
        bias = self.weights.take(count)
        normal = self.normal(layer, count) if layer.integer("batch_normalize", 0) else None
        inside = channels // groups
        kernel = self.weights.take(count, inside, size, size, fan_in=inside * size * size)
        inputs = [value.name, self.constant(f"{name}.weights", kernel)]
        if normal is None:
            inputs.append(self.constant(f"{name}.biases", bias))
        result = self.node("Conv", inputs, name, kernel_shape=[size, size], strides=[stride, stride],
                           pads=[padding] * 4, group=groups)  # fmt: skip
        if normal is not None:
            result = self.normalize(name, result, normal[0], bias, normal[1], normal[2])
        return _Value(self.activate(layer, name, result), (count, *shape))

    def normal(self, layer: CfgSection, count: int) -> list[NDArray[np.float32]]:
        """Scales, means and variances; without a file, those that change nothing."""
        found = [self.weights.take(count) for _ in range(3)]
        if not any(array.any() for array in found):  # random weights have no batches behind them
            found = [np.ones(count, np.float32), found[1], np.ones(count, np.float32)]
        if (found[2] < 0).any():
            raise layer.wrong("a variance is negative", "give the weights of this network")
        return found

    def connected(self, layer: CfgSection, name: str, value: _Value) -> _Value:
        row = self.row(value, name)
        count, inputs = layer.integer("output", 1, 1), row.shape[0]
        bias = self.weights.take(count)
        kernel = self.weights.dense(count, inputs)
        normal = self.normal(layer, count) if layer.integer("batch_normalize", 0) else None
        operands = [row.name, self.constant(f"{name}.weights", kernel)]
        if normal is None:
            operands.append(self.constant(f"{name}.biases", bias))
        result = self.node("Gemm", operands, name, transB=1)
        if normal is not None:
            result = self.normalize(name, result, normal[0], bias, normal[1], normal[2])
        return _Value(self.activate(layer, name, result), (count,))

    def batchnorm(self, layer: CfgSection, name: str, value: _Value) -> _Value:
        channels = self.image(layer, value)[0]
        scale, mean, variance = self.normal(layer, channels)
        zeros = np.zeros(channels, np.float32)
        return _Value(self.normalize(name, value.name, scale, zeros, mean, variance), value.shape)

    def maxpool(self, layer: CfgSection, name: str, value: _Value) -> _Value:
        """Of `padding` pixels in all, half stand before the image, and as many behind it as windows reach."""
        channels, *lengths = self.image(layer, value)
        stride = layer.integer("stride", 1, 1)
        size = layer.integer("size", stride, 1)
        padding = layer.integer("padding", size - 1)
        shape = [(length + padding - size) // stride + 1 for length in lengths]
        before = padding // 2
        behind = [
            max(0, (n - 1) * stride + size - length - before) for n, length in zip(shape, lengths, strict=True)
        ]
        if min(shape) < 1 or before >= size or max(behind) >= size:
            raise layer.wrong(
                f"a window of {size} with padding {padding} does not fit into {lengths[0]} x {lengths[1]}"
            )
        result = self.node("MaxPool", [value.name], name, kernel_shape=[size, size], strides=[stride, stride],
                           pads=[before, before, *behind])  # fmt: skip
        return _Value(result, (channels, *shape))

    def avgpool(self, layer: CfgSection, name: str, value: _Value) -> _Value:
        channels = self.image(layer, value)[0]
        return _Value(self.node("GlobalAveragePool", [value.name], name), (channels, 1, 1))

    def softmax(self, layer: CfgSection, name: str, value: _Value) -> _Value:
        layer.integer("noloss", 0)
        if layer.integer("groups", 1) != 1 or layer.integer("spatial", 0) or layer.text("tree", ""):
            raise layer.wrong("groups, spatial and tree are not supported")
        row, temperature = self.row(value, name), layer.real("temperature", 1)
        operand = row.name
        if temperature != 1:
            operand = self.node("Div", [operand, self.constant(f"{name}.temperature", np.array(temperature))],
                                f"{name}_temperature")  # fmt: skip
        return _Value(self.node("Softmax", [operand], name, axis=1), row.shape)

    def activation(self, layer: CfgSection, name: str, value: _Value) -> _Value:
        return _Value(self.activate(layer, name, value.name), value.shape)

    def nothing(self, layer: CfgSection, name: str, value: _Value) -> _Value:
        """Layers of training: an inference drops nothing, and has no cost."""
        for option in ("probability", "type", "scale", "ratio", "noobj", "thresh"):
            layer.text(option, "")
        return value


Add = Callable[[_Builder, CfgSection, str, _Value], _Value]
_LAYERS: dict[str, Add] = {
    "activation": _Builder.activation,
    "avgpool": _Builder.avgpool,
    "batchnorm": _Builder.batchnorm,
    "connected": _Builder.connected,
    "conv": _Builder.convolutional,
    "convolutional": _Builder.convolutional,
    "cost": _Builder.nothing,
    "dropout": _Builder.nothing,
    "max": _Builder.maxpool,
    "maxpool": _Builder.maxpool,
    "soft": _Builder.softmax,
    "softmax": _Builder.softmax,
}


def to_onnx(network: DarknetNetwork, weights: DarknetWeights) -> onnx.ModelProto:
    """The model: from `data`, float32 [1, channels, height, width], to the result of the last layer.

    Nodes are called by kind and Darknet's number of the layer, as conv0 or connected4. Raises TzmlError.
    """
    shape = tuple(network.net.integer(name, 0) for name in ("channels", "height", "width"))
    if not all(shape):
        raise network.net.wrong("channels, height and width are not all given")
    value, builder = _Value(INPUT, shape), _Builder(weights)
    for layer in network.layers:
        if layer.kind not in _LAYERS:
            raise layer.wrong("no support for this kind of layer", f"there are {', '.join(sorted(_LAYERS))}")
        value = _LAYERS[layer.kind](builder, layer, f"{layer.kind}{layer.number}", value)
        for option in _UNSUPPORTED:
            if layer.real(option, 0):
                raise layer.wrong(f"{option} is not supported")
        layer.check_all_known(_OF_TRAINING)
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, *dimensions])
            for name, dimensions in ((INPUT, shape), (value.name, value.shape))]  # fmt: skip
    ends[1].name = "output"
    for node in builder.nodes:
        node.output[:] = ["output" if name == value.name else name for name in node.output]
        node.input[:] = ["output" if name == value.name else name for name in node.input]
    graph = helper.make_graph(builder.nodes, "darknet", [ends[0]], [ends[1]], builder.constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)
