"""A network of the zoo in PyTorch, read back from its ONNX graph.

It is a second opinion on the meaning of the graph, and used to write `.pt2` files. Needs PyTorch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import onnx
import torch
from onnx import helper, numpy_helper
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (its name in every PyTorch program)

Attributes = dict[str, Any]
Operators = Mapping[str, Callable[..., Tensor]]
"""For each kind of node, a function from its attributes and inputs to its output."""


class TorchTwin(nn.Module):
    """Runs the graph node by node. Its buffers are the graph's constants.

    `instead` has operators that replace those in OPERATORS.
    """

    def __init__(self, model: onnx.ModelProto, instead: Operators | None = None) -> None:
        super().__init__()
        self.operators = {**OPERATORS, **(instead or {})}
        graph = model.graph
        self.input = graph.input[0].name
        self.output = graph.output[0].name
        self.buffer_names = {}
        for i, tensor in enumerate(graph.initializer):
            self.buffer_names[tensor.name] = f"constant{i}"
            self.register_buffer(f"constant{i}", torch.from_numpy(numpy_helper.to_array(tensor).copy()))
        # shapes, indices and limits are Python numbers in PyTorch
        self.numbers = {
            t.name: numpy_helper.to_array(t).tolist()
            for t in graph.initializer
            if t.data_type == onnx.TensorProto.INT64 or not t.dims
        }
        self.nodes = [
            (
                node.op_type,
                list(node.input),
                list(node.output),
                {a.name: helper.get_attribute_value(a) for a in node.attribute},
            )
            for node in graph.node
        ]

    def forward(self, x: Tensor) -> Tensor:
        """One inference."""
        values: dict[str, Any] = {name: getattr(self, buffer) for name, buffer in self.buffer_names.items()}
        values |= self.numbers
        values[self.input] = x
        for kind, inputs, outputs, attributes in self.nodes:
            # only the last output is used: y of most nodes, h of recurrent ones
            values[outputs[-1]] = self.operators[kind](attributes, *(values[name] for name in inputs))
        result: Tensor = values[self.output]
        return result


def _conv(a: Attributes, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    top, left, bottom, right = a["pads"]
    if (top, left) == (bottom, right):
        return F.conv2d(x, weight, bias, a["strides"], (top, left), groups=a["group"])
    return F.conv2d(F.pad(x, (left, right, top, bottom)), weight, bias, a["strides"], groups=a["group"])


def _batch_norm(a: Attributes, x: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, var: Tensor) -> Tensor:
    return F.batch_norm(x, mean, var, weight, bias, eps=a["epsilon"])


def _gemm(a: Attributes, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    return F.linear(x, weight if a.get("transB") else weight.T, bias)


def _max_pool(a: Attributes, x: Tensor) -> Tensor:
    ceil = bool(a["ceil_mode"])
    return F.max_pool2d(x, a["kernel_shape"], a["strides"], a["pads"][:2], ceil_mode=ceil)


def _avg_pool(a: Attributes, x: Tensor) -> Tensor:
    return F.avg_pool2d(x, a["kernel_shape"], a["strides"], a["pads"][:2])


def _layer_norm(a: Attributes, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return F.layer_norm(x, weight.shape, weight, bias, a["epsilon"])


def _recurrent(layer: type[nn.LSTM] | type[nn.GRU], order: list[int], a: Attributes, x: Tensor,
               w: Tensor, r: Tensor, b: Tensor) -> Tensor:  # fmt: skip
    """Reorder the gates, whose order differs between ONNX and PyTorch.

    `order` has, for each of PyTorch's gates, its index in ONNX.
    """

    def gates(tensor: Tensor) -> Tensor:
        return torch.cat([tensor.chunk(len(order))[i] for i in order])

    net = layer(x.shape[-1], a["hidden_size"])
    for name, value in zip(
        ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"), (w[0], r[0], *b[0].chunk(2)), strict=True
    ):
        setattr(net, name, nn.Parameter(gates(value)))
    return net(x)[0][-1:]


OPERATORS: Operators = {
    "Add": lambda a, x, y: x + y,
    "AveragePool": _avg_pool,
    "BatchNormalization": _batch_norm,
    "Clip": lambda a, x, low, high: x.clamp(low, high),
    "Concat": lambda a, *xs: torch.cat(xs, a["axis"]),
    "Conv": _conv,
    "Flatten": lambda a, x: x.flatten(1),
    "GRU": lambda a, *xs: _recurrent(nn.GRU, [1, 0, 2], a, *xs),
    "Gather": lambda a, x, index: x.select(a["axis"], index),
    "Gelu": lambda a, x: F.gelu(x),
    "Gemm": _gemm,
    "GlobalAveragePool": lambda a, x: F.adaptive_avg_pool2d(x, 1),
    "Identity": lambda a, x: x,
    "LSTM": lambda a, *xs: _recurrent(nn.LSTM, [0, 2, 3, 1], a, *xs),
    "LayerNormalization": _layer_norm,
    "LogSoftmax": lambda a, x: F.log_softmax(x, a["axis"]),
    "MatMul": lambda a, x, y: x @ y,
    "MaxPool": _max_pool,
    "Mul": lambda a, x, y: x * y,
    "Relu": lambda a, x: F.relu(x),
    "Reshape": lambda a, x, shape: x.reshape(shape),
    "Softmax": lambda a, x: F.softmax(x, a["axis"]),
    "Transpose": lambda a, x: x.permute(a["perm"]),
}


def torch_twin(path: Path) -> TorchTwin:
    """Read the network from an ONNX file of the zoo."""
    return TorchTwin(onnx.load(path)).eval()


def save_pt2(onnx_file: Path, shape: tuple[int, ...], path: Path) -> None:
    """Write the network as a file of torch.export."""
    with torch.no_grad():
        program = torch.export.export(torch_twin(onnx_file), (torch.zeros(shape),))
    torch.export.save(program, path)
