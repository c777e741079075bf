"""What is known of an ONNX model once the shapes of its inputs are: shapes, what is computed of them, and branches.

Exporters write sizes as operators: Shape, Gather, Mul, Concat, and a Reshape of the result. TVM's importer wants
such values as constants. Each is computed here by ONNX's own reference implementation (onnx.reference).
"""

from __future__ import annotations

import math
from collections import deque

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from tzml.compiler.frontends.onnx.choices import choices
from tzml.compiler.frontends.onnx.empty import empty_results, without_empty
from tzml.compiler.frontends.onnx.functions import body
from tzml.compiler.frontends.onnx.graphs import free_mark, needed
from tzml.compiler.frontends.onnx.implied import declared_shapes
from tzml.compiler.frontends.onnx.quantized import real_form
from tzml.compiler.frontends.onnx.unroll import CONTROL_FLOW, Unroller
from tzml.compiler.frontends.onnx.values import DEFAULT_DOMAINS, LARGEST, Array, Values, element_type

FOLDED = frozenset((
    "Abs", "Add", "And", "Cast", "Ceil", "Concat", "ConstantOfShape", "Div", "Equal", "Expand", "Floor", "Gather",
    "Greater", "GreaterOrEqual", "Identity", "Less", "LessOrEqual", "Max", "Min", "Mod", "Mul", "Neg", "Not", "Or",
    "Range", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceSum", "Reshape", "Slice", "Split", "Sqrt", "Squeeze",
    "Sub", "Transpose", "Unsqueeze", "Where", "Xor",
))  # fmt: skip


def fold(model: onnx.ModelProto, shapes: dict[str, tuple[int, ...]], file: str) -> tuple[onnx.ModelProto, Values]:
    """The model with constants in place of what is known, and with the branch of each If whose condition is.

    `shapes` are those of its inputs; `file` is what messages name. Returned are also the types of its values. What
    cannot be computed stays as it is, for others to refuse. Raises CompileError for a node that does not fit its
    inputs, and for a result beyond all memory.
    """
    values = Values(model, shapes, file)
    outputs = {value.name for value in model.graph.output}
    mark = free_mark(model.graph)
    unroller = Unroller(values, mark)
    declared = declared_shapes(model.graph)
    nodes: list[onnx.NodeProto] = []
    changed = False
    # each branch is in the file once, and loops are limited, so this ends
    waiting = deque(model.graph.node)
    while waiting:
        node = waiting.popleft()
        inner = _inner(node, values, mark, unroller) or choices(node, values, declared, mark)
        if inner is not None:
            waiting.extendleft(reversed(inner))
            changed = True
            continue
        values.add(node)
        unroller.check(node)
        inner = without_empty(node, values, mark)
        if inner is not None:
            waiting.extendleft(reversed(inner))
            changed = True
            continue
        results = empty_results(node, values) or _results(node, values)
        if results is None:
            nodes.append(node)
            continue
        changed = changed or not _is_constant(node)
        for name, value in zip(node.output, results, strict=False):
            if name:
                tensor = numpy_helper.from_array(value, name)
                values.add_tensor(name, tensor)
                nodes.append(helper.make_node("Constant", [], [name], name=node.name, value=tensor))
    if not changed:
        return model, values  # without a copy of its weights
    folded = onnx.ModelProto()
    folded.CopyFrom(model)
    del folded.graph.node[:]
    folded.graph.node.extend(needed(nodes, outputs, model.graph))
    return folded, values


def _inner(node: onnx.NodeProto, values: Values, mark: str, unroller: Unroller) -> list[onnx.NodeProto] | None:
    """The nodes that a node stands for: branches, the steps of a loop, or what a function computes."""
    if node.domain not in DEFAULT_DOMAINS:
        return body(node, values, mark)
    if node.op_type in CONTROL_FLOW:
        return unroller.inner(node)
    return real_form(node, values, mark) or body(node, values, mark)


def _results(node: onnx.NodeProto, values: Values) -> list[Array] | None:
    """What a node's results are, or None if that is not known or too large."""
    if node.domain not in DEFAULT_DOMAINS:
        return None
    if node.op_type == "Constant":
        return _constant(node)
    if node.op_type in ("Shape", "Size"):
        return _shape(node, values.shape(node.input[0]))
    if node.op_type not in FOLDED or not all(not name or name in values.known for name in node.input):
        return None
    try:
        if not _is_safe(node, [values.known[name] for name in node.input if name]):
            return None
        results = _evaluate(node, values)
    except Exception:
        return None  # the importer says what is wrong with it
    return (
        results if all(_is_as_inferred(*pair, values) for pair in zip(node.output, results, strict=False)) else None
    )


def _shape(node: onnx.NodeProto, shape: list[int] | None) -> list[Array] | None:
    if shape is None:
        return None
    if node.op_type == "Size":
        return [np.array(math.prod(shape), np.int64)]
    about = {attribute.name: attribute.i for attribute in node.attribute}
    return [np.array(shape[about.get("start", 0) : about.get("end", len(shape))], np.int64)]


def _evaluate(node: onnx.NodeProto, values: Values) -> list[Array]:
    names = list(dict.fromkeys(filter(None, node.input)))
    unknown = onnx.TypeProto()
    graph = helper.make_graph(
        [node], "node",
        [helper.make_value_info(name, unknown) for name in names],
        [helper.make_value_info(name, unknown) for name in node.output],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=values.opsets)
    with np.errstate(all="raise"):
        found = ReferenceEvaluator(model).run(None, {name: values.known[name] for name in names})
    return [np.asarray(value) for value in found]


def _is_as_inferred(name: str, value: Array, values: Values) -> bool:
    kind = values.types.get(name)
    return (
        kind is not None
        and value.size <= LARGEST
        and element_type(kind) == value.dtype
        and values.shape(name) in (None, list(value.shape))
    )


def _is_constant(node: onnx.NodeProto) -> bool:
    """Whether it is a Constant as TVM's importer knows it."""
    return node.op_type == "Constant" and any(attribute.name == "value" for attribute in node.attribute)


def _constant(node: onnx.NodeProto) -> list[Array] | None:
    for attribute in node.attribute:
        value = helper.get_attribute_value(attribute)
        if attribute.name == "value":
            return [numpy_helper.to_array(value)] if math.prod(value.dims) <= LARGEST else None
        if attribute.name in ("value_float", "value_floats"):
            return [np.array(value, np.float32)]
        if attribute.name in ("value_int", "value_ints"):
            return [np.array(value, np.int64)]
    return None


def _is_safe(node: onnx.NodeProto, arrays: list[Array]) -> bool:
    """Whether it can be computed here as a runtime does, in little memory."""
    operator = node.op_type
    if operator == "Div" and arrays[0].dtype.kind in "iu":
        return bool((arrays[0] >= 0).all() and (arrays[1] > 0).all())  # of others, numpy rounds down
    if operator == "Cast":
        to = next(attribute.i for attribute in node.attribute if attribute.name == "to")
        is_exact = arrays[0].dtype.kind in "iub" or to in (TensorProto.FLOAT, TensorProto.DOUBLE)
        return bool(is_exact or (np.abs(arrays[0]) < 2**31).all())
    if operator == "ConstantOfShape":
        return math.prod(map(int, arrays[0])) <= LARGEST
    if operator == "Expand":
        return math.prod(max(1, int(n)) for n in arrays[1]) * arrays[0].size <= LARGEST
    if operator == "Gather":
        return arrays[0].size * arrays[1].size <= LARGEST**2 // 16
    if operator == "Range":
        start, limit, step = (float(array) for array in arrays)
        return step != 0 and (limit - start) / step <= LARGEST
    return math.prod(np.broadcast_shapes(*[a.shape for a in arrays])) <= LARGEST if operator in _PAIRS else True


_PAIRS = frozenset((
    "Add", "And", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Max", "Min", "Mod", "Mul", "Or",
    "Sub", "Where", "Xor",
))  # fmt: skip
