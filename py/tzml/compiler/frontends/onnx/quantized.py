"""ONNX's operators of integers as those of real numbers between DequantizeLinear and QuantizeLinear.

That is what they mean, and the form in which the compiler looks for layers that it computes in integers.
"""

from __future__ import annotations

import onnx
from onnx import TensorProto, helper

from tzml.compiler.frontends.onnx.values import Values

QUANTIZED = frozenset(("QLinearConv", "QLinearMatMul"))


def real_form(node: onnx.NodeProto, values: Values, mark: str) -> list[onnx.NodeProto] | None:
    """The nodes of real numbers that a quantized one stands for, or None for other nodes.

    The layers of all of them are the node's; `mark` makes the names of their values.
    """
    if node.op_type not in QUANTIZED:
        return None
    scales = (node.input[1], node.input[4], node.input[6])
    if any(len(values.shape(name) or ()) > 1 for name in scales):
        return None  # one for each row of a stack of matrices
    layer = node.name or node.output[0]
    prefix = f"{node.output[0]}{mark}"

    def made(operator: str, inputs: list[str], name: str, **attributes: int) -> onnx.NodeProto:
        return helper.make_node(operator, inputs, [name], layer, **attributes)

    x, x_scale, x_zero, w, w_scale, w_zero, scale, zero, *bias = node.input
    is_convolution = node.op_type == "QLinearConv"
    # what is between them is of the scales' type, and float16 would not hold it
    wide = [made("Cast", [name], f"{prefix}{i}", to=TensorProto.FLOAT) for i, name in enumerate(scales)]
    x_scale, w_scale, scale = (cast.output[0] for cast in wide)
    layers = [
        *wide,
        made("DequantizeLinear", [x, x_scale, x_zero], f"{prefix}x", **({} if is_convolution else {"axis": -2})),
        made("DequantizeLinear", [w, w_scale, w_zero], f"{prefix}w", axis=0 if is_convolution else -1),
    ]
    real = onnx.NodeProto()
    real.CopyFrom(node)
    real.op_type, real.name = node.op_type.removeprefix("QLinear"), layer
    real.input[:] = [f"{prefix}x", f"{prefix}w"]
    if any(bias):
        layers.append(made("Mul", [x_scale, w_scale], f"{prefix}scale"))
        layers.append(made("DequantizeLinear", [bias[0], f"{prefix}scale"], f"{prefix}bias", axis=0))
        real.input.append(f"{prefix}bias")
    real.output[:] = [f"{prefix}y"]
    return [*layers, real, made("QuantizeLinear", [f"{prefix}y", scale, zero], node.output[0])]
