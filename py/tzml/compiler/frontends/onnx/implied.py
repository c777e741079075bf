"""Inputs of an ONNX model that only say what shape a result has, where the file says that shape as well.

The shape that a Reshape makes of an input is not known when compiling; but if the file declares it, only one answer
is possible. So the input is a constant, and the bundle does not have it. Where more than one value would fit, the
input stays as it is, for others to refuse: axes of a reduction, unless the shapes tell which they are.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import onnx
from onnx import helper, numpy_helper

from tzml.compiler.frontends.onnx.graphs import graphs, inputs
from tzml.compiler.frontends.onnx.values import DEFAULT_DOMAINS, Array, Values

MOST_CHOICES = 1000
"""Sets of axes that are looked at, at most."""


class _Node(NamedTuple):
    """A node, as far as it tells what its input must be."""

    attributes: dict[str, Any]
    data: list[int]  # the shape of its first input
    results: list[list[int]]  # those of its outputs
    length: int  # the elements of the input in question
    others: bool  # whether there are inputs between those two

    @property
    def result(self) -> list[int]:
        return self.results[0]

    def axis(self, default: int, of: list[int]) -> int:
        return int(self.attributes.get("axis", default)) % len(of)


def implied_inputs(
    model: onnx.ModelProto, shapes: dict[str, tuple[int, ...]], file: str
) -> dict[str, tuple[Array, str]]:
    """What inputs must be, and the result that says so, by their names; `shapes` are those of all inputs."""
    graph = model.graph
    asked = {name for node in graph.node for name in _asked(node)} & shapes.keys()
    if not asked:
        return {}
    kinds = {v.name: v.type.tensor_type.elem_type for v in graph.input}
    elsewhere = [value.name for value in graph.output]
    elsewhere += [name for node in graph.node for inner in graphs(node) for name in inputs(inner.node)]
    declared = declared_shapes(graph)
    values = Values(model, shapes, file)
    found: dict[str, tuple[Array, str]] = {}
    for node in graph.node:
        for name in asked.intersection(_asked(node)).difference(elsewhere, found):
            uses = sum(name == other for other_node in graph.node for other in other_node.input)
            value = _value(node, name, values, declared) if uses == 1 else None
            if value is not None:
                array = np.array(value, helper.tensor_dtype_to_np_dtype(kinds[name])).reshape(
                    () if not shapes[name] else (-1,)
                )
                found[name] = array, node.output[0]
                values.add_tensor(name, numpy_helper.from_array(array, name))
        values.add(node)
    return found


def _asked(node: onnx.NodeProto) -> Iterator[str]:
    """The inputs of a node that say nothing but shapes."""
    if node.domain in DEFAULT_DOMAINS and node.op_type in _IMPLIED:
        position = _IMPLIED[node.op_type][0]
        if position < len(node.input) and node.input[position]:
            yield node.input[position]


def _value(node: onnx.NodeProto, name: str, values: Values, declared: dict[str, list[int]]) -> list[int] | None:
    data, own = values.shape(node.input[0]), values.shape(name)
    results = [declared.get(result, []) for result in node.output]
    if data is None or own is None or len(own) > 1 or not all(r in declared for r in node.output):
        return None
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    others = any(node.input[1 : _IMPLIED[node.op_type][0]])
    about = _Node(attributes, data, results, math.prod(own), others)
    try:
        return _IMPLIED[node.op_type][1](about)
    except (IndexError, ZeroDivisionError):
        return None  # it does not fit its inputs, which others say


def declared_shapes(graph: onnx.GraphProto) -> dict[str, list[int]]:
    """The shapes that the file says, also of what a function of single elements is computed of."""
    found = {}
    for value in (*graph.value_info, *graph.output):
        tensor = value.type.tensor_type
        sizes = [d.dim_value for d in tensor.shape.dim]
        if tensor.HasField("shape") and min(sizes, default=1) > 0:
            found[value.name] = sizes
    for node in reversed(graph.node):
        if node.op_type in _KEEP_THEIR_SHAPE and node.output[0] in found:
            found.setdefault(node.input[0], found[node.output[0]])
    return found


_KEEP_THEIR_SHAPE = frozenset(("Abs", "Cast", "CastLike", "Exp", "Identity", "Log", "Neg", "Sqrt"))


def _shape(node: _Node) -> list[int] | None:
    return node.result if len(node.result) == node.length else None


def _repeats(node: _Node) -> list[int] | None:
    if len(node.data) != len(node.result) or any(b % a for a, b in zip(node.data, node.result, strict=True)):
        return None
    return [b // a for a, b in zip(node.data, node.result, strict=True)]


def _sets(rank: int, length: int) -> Iterator[tuple[int, ...]]:
    if math.comb(rank, length) <= MOST_CHOICES:
        yield from itertools.combinations(range(rank), length)


def _new_axes(node: _Node) -> list[int] | None:
    """All that fit make the same tensor."""
    return _ones(node.result, node.data, node.length)


def _left_axes(node: _Node) -> list[int] | None:
    return _ones(node.data, node.result, node.length)


def _ones(longer: list[int], shorter: list[int], count: int) -> list[int] | None:
    for axes in _sets(len(longer), count):
        rest = [n for i, n in enumerate(longer) if i not in axes]
        if rest == shorter and all(longer[i] == 1 for i in axes):
            return list(axes)
    return None


def _reduced_axes(node: _Node) -> list[int] | None:
    """A reduction along an axis of one element is none, so that only the others have to be certain."""
    keep = bool(node.attributes.get("keepdims", 1))
    fitting = fitting_axes(node.data, node.result, node.length, keep=keep)
    return fitting.popitem()[1] if node.length and len(fitting) == 1 else None


def fitting_axes(
    data: list[int], result: list[int], length: int, *, keep: bool
) -> dict[tuple[int, ...], list[int]]:
    """Sets of so many axes of which a reduction has that result, by those of their axes that are longer than 1."""
    found = {}
    for axes in _sets(len(data), length):
        if keep:
            made = [1 if i in axes else n for i, n in enumerate(data)]
        else:
            made = [n for i, n in enumerate(data) if i not in axes]
        if made == result:
            found[tuple(i for i in axes if data[i] != 1)] = list(axes)
    return found


def _summed_axis(node: _Node) -> list[int] | None:
    long = [i for i, n in enumerate(node.data) if n != 1]
    return long if len(long) == 1 else None


def transformed_axes(data: list[int], result: list[int], attributes: dict[str, Any]) -> list[int]:
    """The axes along which a Fourier transform, of as many numbers as there are, has that result."""
    inverse, onesided = bool(attributes.get("inverse", 0)), bool(attributes.get("onesided", 0))
    found = []
    for axis, n in enumerate(data[:-1]):
        length = n if not onesided else 2 * (n - 1) if inverse else n // 2 + 1
        parts = 1 if inverse and onesided else 2
        if [*data[:axis], length, *data[axis + 1 : -1], parts] == result:
            found.append(axis)
    return found


def _transformed(node: _Node) -> list[int] | None:
    axes = transformed_axes(node.data, node.result, node.attributes)
    return axes if len(axes) == 1 and not node.others else None


def _best(node: _Node) -> list[int] | None:
    return [node.result[node.axis(-1, node.result)]]


def _parts(node: _Node) -> list[int] | None:
    return [result[node.axis(0, result)] for result in node.results]


def _sizes(node: _Node) -> list[int] | None:
    if node.attributes.get("keep_aspect_ratio_policy", b"stretch") != b"stretch":
        return None  # of what is stretched less, the shape does not tell the scale
    return _along(node)


def _along(node: _Node) -> list[int] | None:
    axes = node.attributes.get("axes", range(len(node.result)))
    return [node.result[axis] for axis in axes] if len(axes) == node.length else None


def _grid(node: _Node) -> list[int] | None:
    """The number of channels, which comes second, means nothing."""
    return [node.result[0], 1, *node.result[1:-1]] if len(node.result) == node.length else None


_IMPLIED: dict[str, tuple[int, Callable[[_Node], list[int] | None]]] = {
    "AffineGrid": (1, _grid),
    "CenterCropPad": (1, _along),
    "Col2Im": (1, lambda node: node.result[2:] if len(node.result) == node.length + 2 else None),
    "ConstantOfShape": (0, _shape),
    "CumProd": (1, _summed_axis),
    "CumSum": (1, _summed_axis),
    "DFT": (2, _transformed),
    "Expand": (1, lambda node: node.result if len(node.result) >= node.length else None),
    "MaxUnpool": (2, _shape),
    "OneHot": (1, _best),
    "Reshape": (1, _shape),
    "Resize": (3, _sizes),
    "Split": (1, _parts),
    "Squeeze": (1, _left_axes),
    "Tile": (1, _repeats),
    "TopK": (1, _best),
    "Unsqueeze": (1, _new_axes),
    **{f"Reduce{what}": (1, _reduced_axes) for what in (
        "L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare")},
}  # fmt: skip
"""By operator: the position of the input, and what it must be."""
