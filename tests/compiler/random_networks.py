"""Random small networks as ONNX models, for hypothesis."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

DTYPES = {"float32": TensorProto.FLOAT, "uint8": TensorProto.UINT8, "int8": TensorProto.INT8}
CHANNELS = [1, 2, 3, 4, 8, 12, 16, 24, 32, 40, 64]


@dataclass
class Network:
    """A graph in the making; `shapes` has every float32 value so far."""

    seed: int
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: list[onnx.TensorProto] = field(default_factory=list)
    input: tuple[str, tuple[int, ...]] = ("float32", ())

    def constant(self, array: Any) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(array, name))
        return name

    def weight(self, *shape: int) -> str:
        random = np.random.default_rng([self.seed, len(self.constants)])
        fan_in = math.prod(shape[1:]) if len(shape) > 1 else 4
        return self.constant((random.standard_normal(shape) / np.sqrt(fan_in)).astype(np.float32))

    def node(self, kind: str, inputs: list[str], shape: tuple[int, ...], **attributes: Any) -> str:
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        self.shapes[name] = shape
        return name

    def model(self, output: str) -> bytes:
        dtype, shape = self.input
        graph = helper.make_graph(
            self.nodes,
            "random",
            [helper.make_tensor_value_info("x", DTYPES[dtype], shape)],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, self.shapes[output])],
            self.constants,
        )
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
        onnx.checker.check_model(made, full_check=True)
        return bytes(made.SerializeToString())

    def sample(self) -> Any:
        """An input."""
        dtype, shape = self.input
        random = np.random.default_rng(self.seed)
        if dtype == "float32":
            return random.standard_normal(shape).astype(np.float32)
        limits = np.iinfo(dtype)
        return random.integers(limits.min, limits.max, shape, dtype, endpoint=True)


def _conv(draw: st.DrawFn, net: Network, x: str) -> str | None:
    n, c, h, w = net.shapes[x]
    groups = draw(st.sampled_from([g for g in (1, 1, 2, 4, c) if c % g == 0]))
    out = groups * draw(st.integers(1, 4)) if groups > 1 else draw(st.sampled_from(CHANNELS))
    kernel, strides, dilations = (draw(st.tuples(st.integers(1, m), st.integers(1, m))) for m in (4, 3, 2))
    pads = draw(st.lists(st.integers(0, 2), min_size=4, max_size=4))
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    oh, ow = ((s + pads[i] + pads[i + 2] - reach[i]) // strides[i] + 1 for i, s in enumerate((h, w)))
    if oh < 1 or ow < 1:
        return None
    inputs = [x, net.weight(out, c // groups, *kernel)] + ([net.weight(out)] if draw(st.booleans()) else [])
    return net.node(
        "Conv", inputs, (n, out, oh, ow), kernel_shape=kernel, strides=strides, pads=pads, dilations=dilations,
        group=groups,
    )  # fmt: skip


def _pool(draw: st.DrawFn, net: Network, x: str) -> str | None:
    n, c, h, w = net.shapes[x]
    kind = draw(st.sampled_from(["MaxPool", "AveragePool"]))
    kernel, strides = (draw(st.tuples(st.integers(1, 3), st.integers(1, 3))) for _ in range(2))
    pads = [draw(st.integers(0, kernel[i % 2] // 2)) for i in range(4)]
    oh, ow = ((s + pads[i] + pads[i + 2] - kernel[i]) // strides[i] + 1 for i, s in enumerate((h, w)))
    if oh < 1 or ow < 1:
        return None
    extra = {"count_include_pad": draw(st.integers(0, 1))} if kind == "AveragePool" else {}
    return net.node(kind, [x], (n, c, oh, ow), kernel_shape=kernel, strides=strides, pads=pads, **extra)


def _batch_norm(draw: st.DrawFn, net: Network, x: str) -> str:
    c = net.shapes[x][1]
    variance = net.constant(np.linspace(0.5, 2, c, dtype=np.float32))
    return net.node("BatchNormalization", [x, *(net.weight(c) for _ in range(3)), variance], net.shapes[x])


def _activation(draw: st.DrawFn, net: Network, x: str) -> str:
    kind = draw(st.sampled_from(["Relu", "Sigmoid", "Tanh", "LeakyRelu", "HardSwish", "Clip", "Neg", "Exp"]))
    if kind == "Clip":
        limits = [net.constant(np.float32(limit)) for limit in (-0.5, 1.5)]
        return net.node(kind, [x, *limits], net.shapes[x])
    if kind == "Exp":  # of what cannot overflow
        x = net.node("Tanh", [x], net.shapes[x])
    return net.node(kind, [x], net.shapes[x])


def _combine(draw: st.DrawFn, net: Network, x: str) -> str | None:
    """A residual connection, or a concatenation along some axis."""
    shape, axis = net.shapes[x], draw(st.integers(-1, len(net.shapes[x]) - 1))
    if axis == 0:
        axis = 1 if len(shape) > 1 else -1

    def fits(other: tuple[int, ...]) -> bool:
        return len(other) == len(shape) and all(
            a == b or i == axis for i, (a, b) in enumerate(zip(shape, other, strict=True))
        )

    others = [name for name, other in net.shapes.items() if fits(other)]
    if axis < 0:
        kind = draw(st.sampled_from(["Add", "Mul", "Sub", "Max"]))
        return net.node(kind, [x, draw(st.sampled_from(others))], shape)
    parts = [x, *draw(st.lists(st.sampled_from(others), min_size=1, max_size=3))]
    parts = draw(st.permutations(parts))
    joined = (*shape[:axis], sum(net.shapes[part][axis] for part in parts), *shape[axis + 1 :])
    return net.node("Concat", parts, joined, axis=axis)


def _reshape(draw: st.DrawFn, net: Network, x: str) -> str:
    shape = net.shapes[x]
    if draw(st.booleans()) and len(shape) == 4:
        axes = draw(st.permutations([1, 2, 3]))
        return net.node("Transpose", [x], (shape[0], *(shape[a] for a in axes)), perm=[0, *axes])
    flat = (shape[0], math.prod(shape[1:]))
    return net.node("Flatten", [x], flat)


def _dense(draw: st.DrawFn, net: Network, x: str) -> str:
    *rows, n = net.shapes[x]
    out = draw(st.sampled_from([1, 5, 10, 16, 33, 48, 100, 128]))
    if len(rows) == 1 and draw(st.booleans()):
        return net.node("Gemm", [x, net.weight(out, n), net.weight(out)], (*rows, out), transB=1)
    y = net.node("MatMul", [x, net.weight(n, out)], (*rows, out))
    return net.node("Add", [y, net.weight(out)], (*rows, out)) if draw(st.booleans()) else y


def _softmax(draw: st.DrawFn, net: Network, x: str) -> str:
    axis = draw(st.integers(0, len(net.shapes[x]) - 1))
    return net.node(draw(st.sampled_from(["Softmax", "LogSoftmax"])), [x], net.shapes[x], axis=axis)


_IMAGE = [_conv, _conv, _conv, _conv, _pool, _batch_norm, _activation, _combine, _combine]
_ANY = [_activation, _combine, _dense, _softmax, _reshape]


@st.composite
def networks(draw: st.DrawFn) -> tuple[bytes, Any]:
    """An ONNX file with one input `x` and one output, and a sample of `x`."""
    net = Network(draw(st.integers(0, 1000)))
    shape = (1, draw(st.sampled_from(CHANNELS[:9])), draw(st.integers(1, 12)), draw(st.integers(1, 12)))
    net.input = (draw(st.sampled_from(["float32", "float32", "uint8", "int8"])), shape)
    x = net.node("Cast", ["x"], shape, to=TensorProto.FLOAT)
    if net.input[0] != "float32":
        x = net.node("Mul", [x, net.constant(np.float32(1 / 64))], shape)
    for _ in range(draw(st.integers(1, 7))):
        layers = _IMAGE if len(net.shapes[x]) == 4 and draw(st.integers(0, 3)) else _ANY
        y = draw(st.sampled_from(layers))(draw, net, x)
        if y is not None and math.prod(net.shapes[y]) < 20_000:
            x = y
    x = net.node("Relu", [x], net.shapes[x])  # so that there is something to compute
    return net.model(x), net.sample()
