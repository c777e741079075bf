"""What is known of an ONNX model once the shapes of its inputs are: shapes, what is computed of them, and branches.

Exporters write sizes as operators: Shape, Gather, Mul, Concat, and a Reshape of the result. TVM's importer wants
such values as constants. Each is computed here by ONNX's own reference implementation (onnx.reference).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

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
    mark = _free_mark(model.graph)
    nodes: list[onnx.NodeProto] = []
    changed = False
    # each branch is in the file once, so this ends
    waiting = deque(model.graph.node)
    while waiting:
        node = waiting.popleft()
        if node.op_type == "If" and node.input[0] in values.known:
            waiting.extendleft(reversed(list(_branch(node, bool(values.known[node.input[0]].any()), mark))))
            changed = True
            continue
        values.add(node)
        results = None if outputs.intersection(node.output) else _results(node, values)
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
    folded.graph.node.extend(_needed(nodes, outputs, _used(model.graph)))
    return folded, values


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
        if not _is_safe(node.op_type, [values.known[name] for name in node.input if name]):
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


def _is_safe(operator: str, arrays: list[Array]) -> bool:
    """Whether it can be computed here as a runtime does, in little memory."""
    if operator == "Div" and arrays[0].dtype.kind in "iu":
        return bool((arrays[0] >= 0).all() and (arrays[1] > 0).all())  # of others, numpy rounds down
    if operator == "Cast":
        return bool(arrays[0].dtype.kind in "iub" or (np.abs(arrays[0]) < 2**31).all())
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


def _free_mark(graph: onnx.GraphProto) -> str:
    """What is in no name of the graph."""
    names = {*_names(graph)}
    mark = "/branch/"
    while any(mark in name for name in names):
        mark += "/"
    return mark


def _names(graph: onnx.GraphProto) -> Iterator[str]:
    yield from (value.name for value in (*graph.input, *graph.initializer))
    for node in graph.node:
        yield from node.output
        for inner in _graphs(node):
            yield from _names(inner)


def _branch(node: onnx.NodeProto, condition: bool, mark: str) -> Iterator[onnx.NodeProto]:
    """The nodes of one branch of an If, their values renamed: another If may have a branch with the same names."""
    prefix = f"{node.output[0]}{mark}"
    graph = next(a.g for a in node.attribute if a.name == ("then_branch" if condition else "else_branch"))
    local = {tensor.name for tensor in graph.initializer}.union(*(inner.output for inner in graph.node))

    def renamed(name: str) -> str:
        return prefix + name if name and name in local else name

    for tensor in graph.initializer:
        yield helper.make_node("Constant", [], [renamed(tensor.name)], value=tensor)
    for inner in graph.node:
        copy = onnx.NodeProto()
        copy.CopyFrom(inner)
        _rename(copy, renamed)
        yield copy
    for value, name in zip(graph.output, node.output, strict=True):
        yield helper.make_node("Identity", [renamed(value.name)], [name], name=node.name)


def _rename(node: onnx.NodeProto, renamed: Callable[[str], str]) -> None:
    node.input[:] = map(renamed, node.input)
    node.output[:] = map(renamed, node.output)
    for graph in _graphs(node):
        for tensor in graph.initializer:
            tensor.name = renamed(tensor.name)
        for value in (*graph.input, *graph.output, *graph.value_info):
            value.name = renamed(value.name)
        for inner in graph.node:
            _rename(inner, renamed)


def _graphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def _inputs(nodes: Iterable[onnx.NodeProto]) -> Iterator[str]:
    for node in nodes:
        yield from node.input
        for graph in _graphs(node):
            yield from _inputs(graph.node)
            yield from (value.name for value in graph.output)


def _used(graph: onnx.GraphProto) -> set[str]:
    return {*_inputs(graph.node), *(value.name for value in graph.output)}


def _needed(nodes: list[onnx.NodeProto], outputs: set[str], used: set[str]) -> list[onnx.NodeProto]:
    """The nodes without those that only computed what is now known; what nobody ever used is left to be checked."""
    needed = set(outputs)
    kept = []
    for node in reversed(nodes):
        is_unused = node.op_type != "Constant" and not used.intersection(node.output)
        if needed.intersection(node.output) or is_unused:
            kept.append(node)
            needed.update(_inputs([node]))
    return kept[::-1]
