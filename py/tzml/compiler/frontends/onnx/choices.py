"""Axes that depend on the data: every choice is computed that gives the shape which the file declares.

Which of them is the result, a kernel chooses by the axes, so that time does not tell of them. Axes that are none of
the choices are not those of this model; the result is then that of the first choice.
"""

from __future__ import annotations

import math

import numpy as np
import onnx
from onnx import helper, numpy_helper

from tzml.compiler.frontends.onnx.implied import fitting_axes, transformed_axes
from tzml.compiler.frontends.onnx.values import Array, Values

MOST = 8
"""Choices that are computed, at most."""
_CUMULATIVE = ("CumProd", "CumSum")
_ONE_AXIS = (*_CUMULATIVE, "DFT")


def choices(
    node: onnx.NodeProto, values: Values, declared: dict[str, list[int]], mark: str
) -> list[onnx.NodeProto] | None:
    """The nodes that compute a reduction, or a sum along an axis, for all choices; None for other nodes."""
    position = 2 if node.op_type == "DFT" else 1
    if len(node.input) <= position or node.input[position] in values.known or len(node.output) != 1:
        return None
    shape, own = values.shape(node.input[0]), values.shape(node.input[position])
    if shape is None or own is None or len(own) > 1:
        return None
    found = _candidates(node, shape, math.prod(own), declared)
    if found is None or not 2 <= len(found) <= MOST:
        return None
    name, layer = node.output[0], node.name or node.output[0]
    prefix, nodes = f"{name}{mark}", list[onnx.NodeProto]()

    def value(what: str, array: Array) -> str:
        nodes.append(helper.make_node("Constant", [], [prefix + what], value=numpy_helper.from_array(array)))
        return prefix + what

    def made(operator: str, inputs: list[str], what: str, **attributes: int) -> str:
        nodes.append(helper.make_node(operator, inputs, [prefix + what], layer, **attributes))
        return prefix + what

    # a number that tells axes apart: a bit for each, but those of one element, along which nothing is done
    is_transform = node.op_type == "DFT"  # which does something to every number
    bits = np.array([0 if n == 1 and not is_transform else 1 << i for i, n in enumerate(shape)], np.int64)
    wide = made("Cast", [node.input[position]], "wide", to=onnx.TensorProto.INT64)
    flat = made("Reshape", [wide, value("row", np.array([-1], np.int64))], "flat")
    place = made("Mod", [flat, value("rank", np.array([len(shape)], np.int64))], "place")
    each = made("Gather", [value("bits", bits), place], "each")
    along = value("along", np.zeros(1, np.int64))
    which = made("ReduceSum", [each, along], "which", keepdims=0)
    result = ""
    for number, axes in enumerate(found):
        array = np.array(axes, np.int64)
        one = onnx.NodeProto()
        one.CopyFrom(node)
        one.name = layer
        one.input[position] = value(f"axes{number}", array.reshape(()) if node.op_type in _ONE_AXIS else array)
        one.output[0] = f"{prefix}result{number}"
        nodes.append(one)
        if not result:
            result = one.output[0]
            continue
        mask = value(f"mask{number}", np.array(bits[array].sum()))
        is_this = made("Equal", [which, mask], f"is{number}")
        result = made("Where", [is_this, one.output[0], result], f"chosen{number}")
    nodes[-1].output[0] = name
    return nodes


def _candidates(
    node: onnx.NodeProto, shape: list[int], length: int, declared: dict[str, list[int]]
) -> list[list[int]] | None:
    if node.op_type in _CUMULATIVE:
        return [[i] for i, n in enumerate(shape) if n != 1] if length == 1 else None
    if node.op_type == "DFT":
        known = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        result = declared.get(node.output[0])
        fits = result and length == 1 and not node.input[1]
        return [[axis] for axis in transformed_axes(shape, result, known)] if fits and result else None
    if not node.op_type.startswith("Reduce") or node.output[0] not in declared or not length:
        return None
    keep = next((a.i for a in node.attribute if a.name == "keepdims"), 1)
    return list(fitting_axes(shape, declared[node.output[0]], length, keep=bool(keep)).values())
