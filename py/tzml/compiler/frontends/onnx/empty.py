"""Values without elements, which functions and exporters leave behind: nobody has to make them."""

from __future__ import annotations

import itertools

import numpy as np
import onnx
from onnx import helper, numpy_helper

from tzml.compiler.frontends.onnx.values import Array, Values, element_type


def empty_results(node: onnx.NodeProto, values: Values) -> list[Array] | None:
    """What a node's results are if none has an element, or None."""
    shapes = [values.shape(name) if name else [0] for name in node.output]
    if not all(shape is not None and 0 in shape for shape in shapes):
        return None
    kinds = [element_type(values.types[name]) if name else np.dtype(np.float32) for name in node.output]
    return [np.zeros(shape or (), kind) for shape, kind in zip(shapes, kinds, strict=True)]


def without_empty(node: onnx.NodeProto, values: Values, mark: str) -> list[onnx.NodeProto] | None:
    """What does the same as a Concat or a Split of which some parts are empty, or None for other nodes."""
    if node.op_type == "Concat":
        kept = [name for name in node.input if 0 not in (values.shape(name) or ())]
        if 0 < len(kept) < len(node.input):
            concat = onnx.NodeProto()
            concat.CopyFrom(node)
            concat.input[:] = kept
            return [concat]
    shapes = [values.shape(name) for name in node.output] if node.op_type == "Split" else []
    if not any(0 in (shape or ()) for shape in shapes) or None in shapes or values.opset < 13:
        return None
    axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 0)
    sizes = [shape[axis] for shape in shapes if shape is not None]
    made = []
    for name, end, size in zip(node.output, itertools.accumulate(sizes), sizes, strict=True):
        arguments = []
        for what, number in (("start", end - size), ("end", end), ("axis", axis)):
            arguments.append(f"{name}{mark}{what}")
            tensor = numpy_helper.from_array(np.array([number], np.int64), arguments[-1])
            made.append(helper.make_node("Constant", [], [arguments[-1]], value=tensor))
        made.append(helper.make_node("Slice", [node.input[0], *arguments], [name], name=node.name))
    return made
