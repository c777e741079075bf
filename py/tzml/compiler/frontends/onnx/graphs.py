"""ONNX graphs inside of nodes: the branches of an If and the bodies of functions become nodes of their graph."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import onnx
from onnx import helper


def branch(node: onnx.NodeProto, condition: bool, mark: str) -> Iterator[onnx.NodeProto]:
    """The nodes of one branch of an If.

    Their values are renamed with `mark`, for another If may have a branch with the same names.
    """
    graph = next(a.g for a in node.attribute if a.name == ("then_branch" if condition else "else_branch"))
    local = {tensor.name for tensor in graph.initializer}.union(*(inner.output for inner in graph.node))
    prefix = f"{node.output[0]}{mark}"

    def renamed(name: str) -> str:
        return prefix + name if name and name in local else name

    for tensor in graph.initializer:
        yield helper.make_node("Constant", [], [renamed(tensor.name)], value=tensor)
    for inner in graph.node:
        yield copied(inner, renamed)
    for value, name in zip(graph.output, node.output, strict=True):
        yield helper.make_node("Identity", [renamed(value.name)], [name], name=node.name)


def copied(node: onnx.NodeProto, renamed: Callable[[str], str]) -> onnx.NodeProto:
    """A copy of a node whose values have other names."""
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    _rename(copy, renamed)
    return copy


def _rename(node: onnx.NodeProto, renamed: Callable[[str], str]) -> None:
    node.input[:] = map(renamed, node.input)
    node.output[:] = map(renamed, node.output)
    for graph in graphs(node):
        for tensor in graph.initializer:
            tensor.name = renamed(tensor.name)
        for value in (*graph.input, *graph.output, *graph.value_info):
            value.name = renamed(value.name)
        for inner in graph.node:
            _rename(inner, renamed)


def graphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """The graphs that are attributes of a node."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def free_mark(graph: onnx.GraphProto) -> str:
    """What is in no name of the graph."""
    names = {*_names(graph)}
    mark = "/inner/"
    while any(mark in name for name in names):
        mark += "/"
    return mark


def _names(graph: onnx.GraphProto) -> Iterator[str]:
    yield from (value.name for value in (*graph.input, *graph.initializer))
    for node in graph.node:
        yield from node.output
        for inner in graphs(node):
            yield from _names(inner)


def inputs(nodes: Iterable[onnx.NodeProto]) -> Iterator[str]:
    """The names of what nodes use, also in their graphs."""
    for node in nodes:
        yield from node.input
        for graph in graphs(node):
            yield from inputs(graph.node)
            yield from (value.name for value in graph.output)


def needed(nodes: list[onnx.NodeProto], outputs: set[str], before: onnx.GraphProto) -> list[onnx.NodeProto]:
    """The nodes without those that only computed what is now known.

    What nobody used in the graph as it was before is left, to be checked.
    """
    used = {*inputs(before.node), *outputs}
    unused = {name for node in before.node for name in node.output}.difference(used)
    wanted = set(outputs)
    kept = []
    for node in reversed(nodes):
        is_unused = node.op_type != "Constant" and unused.issuperset(filter(None, node.output))
        if wanted.intersection(node.output) or is_unused:
            kept.append(node)
            wanted.update(inputs([node]))
    return kept[::-1]
