"""Build a network's ONNX graph layer by layer, with given or random weights.

A network of the zoo is written once, as calls of a `Net`. Building it needs no framework, so every machine that can
compile it can also make it. torch_twin.py reads the graph back into PyTorch, where the tests check that each layer
has PyTorch's meaning.

Random weights come from numpy.random.RandomState, the only generator of NumPy whose stream is frozen (NEP 19), so
they are the same bytes on every machine. They are scaled so that values have a variance of about 1 everywhere (He
et al., "Delving Deep into Rectifiers", 2015). The weights of each unit sum to zero (Qiao et al., "Weight
Standardization", 2019). What all inputs have in common, above all the positive mean after a ReLU, then does not
hide what distinguishes them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

OPSET = 20
IR_VERSION = 10

# A ReLU reduces the variance of a normally distributed value to 1/2 - 1/(2 pi). RELU_GAIN compensates for that.
RELU_GAIN = (0.5 - 0.5 / math.pi) ** -0.5

Floats = NDArray[np.float32]
Pair = int | tuple[int, int]


@dataclass(frozen=True)
class Value:
    """A float32 tensor of this shape that one layer passes to the next."""

    name: str
    shape: tuple[int, ...]


def _pair(value: Pair) -> tuple[int, int]:
    return value if isinstance(value, tuple) else (value, value)


class Net:
    """A network that is being built.

    Images are [N, C, H, W]. `state` has the weights by their names in PyTorch ("conv1.weight"); without it, they
    are drawn with `seed`. `parameters` counts trained values. `macs` counts the multiply-accumulates of one
    inference in convolutions, dense layers and matrix products.
    """

    def __init__(self, name: str, seed: int, state: Mapping[str, Floats] | None = None) -> None:
        self.name = name
        self.state = state
        self.parameters = 0
        self.macs = 0
        self._random = np.random.RandomState(seed)
        self._nodes: list[onnx.NodeProto] = []
        self._inputs: list[onnx.ValueInfoProto] = []
        self._constants: dict[str, onnx.TensorProto] = {}

    def input(self, name: str, *shape: int) -> Value:
        """Add an input to the network."""
        self._inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
        return Value(name, shape)

    def model(self, output: Value, name: str) -> onnx.ModelProto:
        """The finished network, whose only output is `output` under this name."""
        self._node("Identity", [output.name], output.shape, name)
        graph = helper.make_graph(
            self._nodes,
            self.name,
            self._inputs,
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, output.shape)],
            list(self._constants.values()),
        )
        return helper.make_model(
            graph, producer_name="tzml_zoo", ir_version=IR_VERSION, opset_imports=[helper.make_opsetid("", OPSET)]
        )

    # Layers with weights

    def conv(
        self,
        name: str,
        x: Value,
        channels: int,
        kernel: Pair,
        *,
        stride: int = 1,
        padding: Pair | tuple[int, int, int, int] = 0,
        groups: int = 1,
        bias: bool = False,
        gain: float = 1.0,
    ) -> Value:
        """Convolution; `padding` is (height, width) or (top, left, bottom, right)."""
        (kh, kw), (n, c, h, w) = _pair(kernel), x.shape
        pads = padding if isinstance(padding, tuple) and len(padding) == 4 else _pair(padding) * 2
        oh = (h + pads[0] + pads[2] - kh) // stride + 1
        ow = (w + pads[1] + pads[3] - kw) // stride + 1
        fan_in = c // groups * kh * kw
        self.macs += n * channels * oh * ow * fan_in
        inputs = [x.name, self._weight(f"{name}.weight", (channels, c // groups, kh, kw), gain / math.sqrt(fan_in))]
        if bias:
            inputs.append(self._weight(f"{name}.bias", (channels,), 0.1))
        return self._node(
            "Conv", inputs, (n, channels, oh, ow), name,
            kernel_shape=[kh, kw], strides=[stride] * 2, pads=list(pads), group=groups,
        )  # fmt: skip

    def batch_norm(self, name: str, x: Value, *, gain: float = RELU_GAIN, epsilon: float = 1e-5) -> Value:
        """Batch normalisation, with its statistics fixed: y = gamma (x - mean) / sqrt(var + epsilon) + beta.

        The default `gain` is for a following ReLU.
        """
        shape = (x.shape[1],)
        inputs = [
            x.name,
            self._uniform(f"{name}.weight", shape, 0.8 * gain, 1.2 * gain),
            self._weight(f"{name}.bias", shape, 0.1),
            self._weight(f"{name}.running_mean", shape, 0.1, trained=False),
            self._uniform(f"{name}.running_var", shape, 0.6, 1.4, trained=False),
        ]
        return self._node("BatchNormalization", inputs, x.shape, name, epsilon=epsilon)

    def linear(self, name: str, x: Value, features: int, *, bias: bool = True, gain: float = 1.0) -> Value:
        """Dense layer over the last axis: y = x Wᵀ + b."""
        *rows, n = x.shape
        self.macs += math.prod(rows) * n * features
        weight = self._weight(f"{name}.weight", (features, n), gain / math.sqrt(n), transpose=len(rows) > 1)
        if len(rows) == 1:
            biases = [self._weight(f"{name}.bias", (features,), 0.1)] if bias else []
            return self._node("Gemm", [x.name, weight, *biases], (*rows, features), name, transB=1)
        y = self._node("MatMul", [x.name, weight], (*rows, features), name)
        if not bias:
            return y
        return self._node("Add", [y.name, self._weight(f"{name}.bias", (features,), 0.1)], y.shape, f"{name}.add")

    def layer_norm(self, name: str, x: Value, epsilon: float = 1e-6) -> Value:
        """Layer normalisation over the last axis: Ba et al. (2016)."""
        shape = x.shape[-1:]
        inputs = [
            x.name,
            self._uniform(f"{name}.weight", shape, 0.8, 1.2),
            self._weight(f"{name}.bias", shape, 0.1),
        ]
        return self._node("LayerNormalization", inputs, x.shape, name, axis=-1, epsilon=epsilon)

    def recurrent(self, kind: str, name: str, x: Value, hidden: int) -> Value:
        """One layer "LSTM" or "GRU" over [time, N, features]. Returns the last state, [N, hidden].

        Weights are drawn in ONNX's layout: W [1, gates·hidden, features], R [1, gates·hidden, hidden],
        B [1, 2·gates·hidden]. The GRU is the variant of cuDNN, Keras and PyTorch (linear_before_reset).
        """
        time, n, features = x.shape
        gates = {"LSTM": 4, "GRU": 3}[kind]
        self.macs += time * n * gates * hidden * (features + hidden)
        inputs = [
            x.name,
            self._weight(f"{name}.weight_ih", (1, gates * hidden, features), 1 / math.sqrt(features)),
            self._weight(f"{name}.weight_hh", (1, gates * hidden, hidden), 1 / math.sqrt(hidden)),
            self._weight(f"{name}.bias", (1, 2 * gates * hidden), 0.1),
        ]
        attributes = {"linear_before_reset": 1} if kind == "GRU" else {}
        self._nodes.append(
            helper.make_node(kind, inputs, ["", f"{name}.last"], name, hidden_size=hidden, **attributes)
        )
        return self.reshape(Value(f"{name}.last", (1, n, hidden)), n, hidden)

    def parameter(self, name: str, *shape: int) -> Value:
        """A learned value that is not the weight of a layer, such as a position embedding."""
        return Value(self._weight(name, shape, 1.0), shape)

    # Layers without weights

    def relu(self, x: Value) -> Value:
        return self._node("Relu", [x.name], x.shape)

    def relu6(self, x: Value) -> Value:
        limits = [self._constant("zero", np.float32(0)), self._constant("six", np.float32(6))]
        return self._node("Clip", [x.name, *limits], x.shape)

    def gelu(self, x: Value) -> Value:
        return self._node("Gelu", [x.name], x.shape)

    def softmax(self, x: Value) -> Value:
        """Softmax over the last axis."""
        return self._node("Softmax", [x.name], x.shape, axis=-1)

    def add(self, a: Value, b: Value) -> Value:
        """Sum. `b` is broadcast to the shape of `a`."""
        return self._node("Add", [a.name, b.name], a.shape)

    def scale(self, x: Value, factor: float) -> Value:
        return self._node("Mul", [x.name, self._constant(f"scale_{factor:g}", np.float32(factor))], x.shape)

    def concat(self, values: Sequence[Value], axis: int = 1) -> Value:
        shape = list(values[0].shape)
        shape[axis] = sum(value.shape[axis] for value in values)
        return self._node("Concat", [value.name for value in values], tuple(shape), axis=axis)

    def max_pool(self, x: Value, kernel: int, stride: int, padding: int = 0, *, ceil: bool = False) -> Value:
        """Maximum pooling. With `ceil`, a last window that starts inside the image but ends outside counts."""
        n, c, h, w = x.shape
        round_up = stride - 1 if ceil else 0
        oh, ow = ((size + 2 * padding - kernel + round_up) // stride + 1 for size in (h, w))
        window: dict[str, Any] = {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": [padding] * 4}
        return self._node("MaxPool", [x.name], (n, c, oh, ow), ceil_mode=int(ceil), **window)

    def avg_pool(self, x: Value, kernel: int, stride: int, padding: int = 0) -> Value:
        """Average pooling. The zeros of the padding count, as in PyTorch."""
        n, c, h, w = x.shape
        oh, ow = ((size + 2 * padding - kernel) // stride + 1 for size in (h, w))
        window: dict[str, Any] = {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": [padding] * 4}
        return self._node("AveragePool", [x.name], (n, c, oh, ow), count_include_pad=1, **window)

    def global_avg_pool(self, x: Value) -> Value:
        """The mean of each channel: [N, C]."""
        n, c, _, _ = x.shape
        return self.flatten(self._node("GlobalAveragePool", [x.name], (n, c, 1, 1)))

    def flatten(self, x: Value) -> Value:
        return self._node("Flatten", [x.name], (x.shape[0], math.prod(x.shape[1:])))

    def reshape(self, x: Value, *shape: int) -> Value:
        wanted = self._constant("shape_" + "_".join(map(str, shape)), np.array(shape, np.int64))
        return self._node("Reshape", [x.name, wanted], shape)

    def transpose(self, x: Value, *axes: int) -> Value:
        return self._node("Transpose", [x.name], tuple(x.shape[axis] for axis in axes), perm=list(axes))

    def matmul(self, a: Value, b: Value) -> Value:
        *batch, m, k = a.shape
        shape = (*batch, m, b.shape[-1])
        self.macs += math.prod(shape) * k
        return self._node("MatMul", [a.name, b.name], shape)

    def select(self, x: Value, index: int, axis: int) -> Value:
        """The slice at `index`, without that axis."""
        shape = x.shape[:axis] + x.shape[axis + 1 :]
        return self._node("Gather", [x.name, self._constant(f"index_{index}", np.int64(index))], shape, axis=axis)

    # Nodes and constants

    def _node(
        self, kind: str, inputs: list[str], shape: tuple[int, ...], name: str = "", **attributes: Any
    ) -> Value:
        name = name or f"{kind.lower()}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, inputs, [name], name, **attributes))
        return Value(name, shape)

    def _weight(
        self, name: str, shape: tuple[int, ...], deviation: float, *, trained: bool = True, transpose: bool = False
    ) -> str:
        """A weight from the state, or drawn from a normal distribution around 0."""
        array = self._given(name, shape)
        if array is None:
            array = np.empty(shape, np.float32)
            flat = array.reshape(-1)
            for start in range(0, len(flat), 1 << 20):  # in parts, because RandomState draws float64
                part = flat[start : start + (1 << 20)]
                part[:] = self._random.standard_normal(len(part)) * deviation
            if math.prod(shape[1:]) > 25:  # a depthwise kernel may see the mean
                array -= (
                    array.reshape(len(array), -1)
                    .mean(1, np.float64)
                    .astype(np.float32)
                    .reshape(-1, *[1] * (len(shape) - 1))
                )
        return self._add(name, array.T if transpose else array, trained)

    def _uniform(self, name: str, shape: tuple[int, ...], low: float, high: float, *, trained: bool = True) -> str:
        array = self._given(name, shape)
        if array is None:
            array = self._random.uniform(low, high, shape).astype(np.float32)
        return self._add(name, array, trained)

    def _given(self, name: str, shape: tuple[int, ...]) -> Floats | None:
        if self.state is None:
            return None
        array = self.state[name]
        if array.shape != shape:
            raise ValueError(f"{self.name}: {name} has shape {array.shape}, not {shape}")
        return array

    def _add(self, name: str, array: Floats, trained: bool) -> str:
        self.parameters += array.size if trained else 0
        return self._constant(name, array)

    def _constant(self, name: str, value: Any) -> str:
        if name not in self._constants:
            self._constants[name] = numpy_helper.from_array(np.asarray(value, order="C"), name)
        return name
