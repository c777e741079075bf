"""ONNX's control flow without any: an If of which both branches are computed, and loops that are unrolled.

A kernel library has no control flow, and what an inference takes must not depend on its data. So an If on data
computes both branches and chooses of their results. The steps of a Scan are as many as its input is long; those of
a Loop are as many as its trip count and its condition say, which must be known when compiling.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from tzml.compiler.frontends.errors import unsupported
from tzml.compiler.frontends.onnx.graphs import branch, copied
from tzml.compiler.frontends.onnx.values import Values

CONTROL_FLOW = frozenset(("If", "Loop", "Scan"))
MOST_NODES = 20_000
"""Nodes that one loop may become."""


@dataclass
class _Steps:
    """How far a Loop is unrolled: its next step, and the names of what the steps before it gave for each output."""

    number: int = 0
    scanned: list[list[str]] = field(default_factory=list)


class Unroller:
    """Replaces control flow; `mark` makes the names of values that no name of the model has."""

    def __init__(self, values: Values, mark: str) -> None:
        self.values = values
        self.mark = mark
        self.loops: dict[str, _Steps] = {}
        self.choices: dict[str, tuple[str, str, str]] = {}  # result of an If to both branches', and the If's layer

    def inner(self, node: onnx.NodeProto) -> list[onnx.NodeProto] | None:
        """The nodes that do what a node does; None for one that is no control flow, or cannot be replaced."""
        if node.op_type == "If":
            return self._if(node)
        if node.op_type == "Loop":
            return self._loop(node)
        return self._scan(node) if node.op_type == "Scan" and self.values.opset >= 9 else None

    def check(self, node: onnx.NodeProto) -> None:
        """Raise CompileError for the choice of an If between tensors of different shapes or types."""
        for name in node.output:
            if name in self.choices:
                one, other, layer = self.choices[name]
                kinds = [self.values.types.get(branch) for branch in (one, other)]
                shapes = [self.values.shape(branch) for branch in (one, other)]
                if None in kinds or None in shapes or shapes[0] != shapes[1]:
                    raise unsupported(
                        self.values.file, [("If", layer)],
                        "its condition depends on the data, and its branches give tensors of different shapes",
                    )  # fmt: skip

    def _if(self, node: onnx.NodeProto) -> list[onnx.NodeProto] | None:
        condition = self.values.known.get(node.input[0])
        if condition is not None:
            return list(branch(node, bool(condition.any()), self.mark))
        kind = self.values.types.get(node.input[0])
        if kind is None or len(self.values.shape(node.input[0]) or ()) or self.values.opset < 9:
            return self._if_of_one(node)
        return self._both(node, node.input[0])

    def _if_of_one(self, node: onnx.NodeProto) -> list[onnx.NodeProto] | None:
        """Its condition is one element in a tensor of some rank."""
        shape = self.values.shape(node.input[0])
        if shape is None or self.values.opset < 13 or set(shape) != {1}:
            return None
        flat = f"{node.output[0]}{self.mark}condition"
        return [helper.make_node("Squeeze", [node.input[0]], [flat], name=node.name), *self._both(node, flat)]

    def _both(self, node: onnx.NodeProto, condition: str) -> list[onnx.NodeProto]:
        nodes: list[onnx.NodeProto] = []
        results: list[list[str]] = []
        for which in (True, False):
            taken = onnx.NodeProto()
            taken.CopyFrom(node)
            taken.output[:] = [f"{name}{self.mark}{'then' if which else 'else'}" for name in node.output]
            nodes += branch(taken, which, self.mark)
            results.append(list(taken.output))
        for name, one, other in zip(node.output, *results, strict=True):
            if name:
                self.choices[name] = (one, other, node.name or node.output[0])
                nodes.append(helper.make_node("Where", [condition, one, other], [name], name=node.name))
        return nodes

    def _loop(self, node: onnx.NodeProto) -> list[onnx.NodeProto] | None:
        """The nodes of the next step, and the loop that is left."""
        body = next(a.g for a in node.attribute if a.name == "body")
        count, condition = (self.values.known.get(name) if name else None for name in node.input[:2])
        if (node.input[0] and count is None) or (node.input[1] and condition is None):
            return None
        carried = list(node.input[2:])
        key = next(filter(None, node.output))
        steps = self.loops.setdefault(key, _Steps(scanned=[[] for _ in body.output[1 + len(carried) :]]))
        is_over = count is not None and steps.number >= int(count.item())
        if is_over or (condition is not None and not condition.any()):
            if not steps.number and steps.scanned:
                return None  # what has no elements has a shape that nobody tells
            return self._ends(node, carried, steps.scanned, [0] * len(steps.scanned))
        self._limit(node, steps.number * len(body.node))
        prefix = f"{key}{self.mark}{steps.number}/"
        given = [f"{prefix}iteration", f"{prefix}condition", *carried]
        nodes = [
            _constant(given[0], np.array(steps.number, np.int64)),
            _constant(given[1], np.array(True)),
            *_step(body, given, prefix, node.name),
        ]
        after, *results = (f"{prefix}{i}/result" for i in range(len(body.output)))
        nodes += _results(body, given, prefix, [after, *results], node.name)
        for names, name in zip(steps.scanned, results[len(carried) :], strict=True):
            names.append(name)
        steps.number += 1
        rest = onnx.NodeProto()
        rest.CopyFrom(node)
        rest.input[1:] = [after, *results[: len(carried)]]
        return [*nodes, rest]

    def _scan(self, node: onnx.NodeProto) -> list[onnx.NodeProto] | None:
        about: dict[str, Any] = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        body, count = about["body"], about["num_scan_inputs"]
        carried, scanned = list(node.input[: len(node.input) - count]), list(node.input[len(node.input) - count :])
        outputs = len(body.output) - len(carried)
        axes, backward = (about.get(name, [0] * count) for name in ("scan_input_axes", "scan_input_directions"))
        ends, turned = (about.get(n, [0] * outputs) for n in ("scan_output_axes", "scan_output_directions"))
        shapes = [self.values.shape(name) for name in scanned]
        if None in shapes or not count:
            return None
        lengths = {(shape or [])[axis] for shape, axis in zip(shapes, axes, strict=True)}
        if len(lengths) != 1 or not (length := lengths.pop()):
            return None
        self._limit(node, length * len(body.node))
        nodes: list[onnx.NodeProto] = []
        found: list[list[str]] = [[] for _ in range(outputs)]
        key = next(filter(None, node.output))
        for t in range(length):
            prefix = f"{key}{self.mark}{t}/"
            given = list(carried)
            for i, (name, axis, back) in enumerate(zip(scanned, axes, backward, strict=True)):
                index, part = f"{prefix}{i}/index", f"{prefix}{i}/part"
                nodes.append(_constant(index, np.array(length - 1 - t if back else t, np.int64)))
                nodes.append(helper.make_node("Gather", [name, index], [part], name=node.name, axis=axis))
                given.append(part)
            nodes += _step(body, given, prefix, node.name)
            results = [f"{prefix}{i}/result" for i in range(len(body.output))]
            nodes += _results(body, given, prefix, results, node.name)
            carried = results[: len(carried)]
            for names, name in zip(found, results[len(carried) :], strict=True):
                names.append(name)
        found = [names[::-1] if turn else names for names, turn in zip(found, turned, strict=True)]
        return nodes + self._ends(node, carried, found, ends)

    def _ends(
        self, node: onnx.NodeProto, carried: list[str], scanned: list[list[str]], axes: list[int]
    ) -> list[onnx.NodeProto]:
        """What a loop gives once all of its steps are there."""
        nodes = []
        for name, value in zip(node.output[: len(carried)], carried, strict=True):
            if name:
                nodes.append(helper.make_node("Identity", [value], [name], name=node.name))
        for name, values, axis in zip(node.output[len(carried) :], scanned, axes, strict=False):
            if name:
                parts = []
                for value in values:
                    parts.append(f"{value}{self.mark}row")
                    nodes += self._unsqueezed(value, parts[-1], axis, node.name)
                nodes.append(helper.make_node("Concat", parts, [name], name=node.name, axis=axis))
        return nodes

    def _unsqueezed(self, value: str, name: str, axis: int, layer: str) -> list[onnx.NodeProto]:
        if self.values.opset < 13:
            return [helper.make_node("Unsqueeze", [value], [name], name=layer, axes=[axis])]
        axes = f"{name}{self.mark}axes"
        return [
            _constant(axes, np.array([axis], np.int64)),
            helper.make_node("Unsqueeze", [value, axes], [name], name=layer),
        ]

    def _limit(self, node: onnx.NodeProto, nodes: int) -> None:
        if nodes > MOST_NODES:
            layer = node.name or next(filter(None, node.output))
            what = (
                f"it would be unrolled to more than {MOST_NODES:,} operators; compute the loop outside the network"
            )
            raise unsupported(self.values.file, [(node.op_type, layer)], what)


def _constant(name: str, value: Any) -> onnx.NodeProto:
    return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(value, name))


def _names(body: onnx.GraphProto, given: list[str], prefix: str) -> dict[str, str]:
    """From the names of a body's values to those of one step."""
    names = {tensor.name: prefix + tensor.name for tensor in body.initializer}
    names.update((name, prefix + name) for inner in body.node for name in inner.output if name)
    names.update(zip((value.name for value in body.input), given, strict=True))
    return names


def _step(body: onnx.GraphProto, given: list[str], prefix: str, layer: str) -> list[onnx.NodeProto]:
    """The nodes of a step, for these inputs."""
    names = _names(body, given, prefix)
    nodes = []
    for tensor in body.initializer:
        nodes.append(helper.make_node("Constant", [], [names[tensor.name]], value=tensor))
    for inner in body.node:
        nodes.append(copied(inner, lambda name: names.get(name, name)))
        nodes[-1].name = inner.name or layer
    return nodes


def _results(
    body: onnx.GraphProto, given: list[str], prefix: str, results: list[str], layer: str
) -> list[onnx.NodeProto]:
    """Names of their own for the results of a step: a body may give its inputs, or one value twice."""
    names = _names(body, given, prefix)
    pairs = zip(body.output, results, strict=True)
    return [
        helper.make_node("Identity", [names.get(value.name, value.name)], [name], name=layer)
        for value, name in pairs
    ]
