"""ONNX's operators that are functions: what onnx.defs says that they compute, as nodes of other operators."""

from __future__ import annotations

import onnx

from tzml.compiler.frontends.onnx.graphs import copied, graphs
from tzml.compiler.frontends.onnx.values import DEFAULT_DOMAINS, Values

EXPANDED = frozenset((
    "AffineGrid", "Attention", "BlackmanWindow", "CastLike", "CausalConvWithState", "Celu", "CenterCropPad",
    "HammingWindow", "HannWindow", "LinearAttention", "NegativeLogLikelihoodLoss", "RotaryEmbedding",
    "SoftmaxCrossEntropyLoss", "SwiGLU", "Swish",
))  # fmt: skip
"""Operators that TVM's importer does not know, or only in a vendor's variant. It has the others' own kernels."""
PREVIEWS = {"FlexAttention": "ai.onnx.preview"}
"""Operators of other domains of ONNX's own, which it may still change."""


def is_expanded(node: onnx.NodeProto) -> bool:
    """Whether it is a function that is compiled as what it is made of."""
    if node.domain in DEFAULT_DOMAINS:
        return node.op_type in EXPANDED
    return PREVIEWS.get(node.op_type) == node.domain


def body(node: onnx.NodeProto, values: Values, mark: str) -> list[onnx.NodeProto] | None:
    """The nodes that compute what a node does, or None if it is no function.

    Their layer is the node's; `mark` makes the names of their values.
    """
    if not (is_expanded(node) or _is_more_than_a_kernel(node)):
        return None
    function = _function(node, values)
    if function is None or not all(_is_of(inner, values.opset) for inner in function.node):
        return None
    given = dict(zip(function.input, node.input, strict=False))
    names = {name: given.get(name, "") for name in function.input}
    names.update((name, result) for name, result in zip(function.output, node.output, strict=False) if result)
    prefix = f"{next(filter(None, node.output))}{mark}"
    attributes = {attribute.name: attribute for attribute in _defaults(node, _version(node, values))}
    attributes.update((attribute.name, attribute) for attribute in node.attribute)
    nodes = []
    for inner in function.node:
        copy = copied(inner, lambda name: names.get(name, prefix + name) if name else "")
        copy.name = node.name or node.output[0]
        _refer(copy, attributes)
        nodes.append(copy)
    return nodes


def _is_more_than_a_kernel(node: onnx.NodeProto) -> bool:
    """Of a normalisation, its mean and deviation are wanted, too."""
    return node.op_type == "LayerNormalization" and any(node.output[1:])


def _function(node: onnx.NodeProto, values: Values) -> onnx.FunctionProto | None:
    opset = _version(node, values)
    try:
        schema = onnx.defs.get_schema(node.op_type, opset, node.domain)
    except onnx.defs.SchemaError:
        return None  # its opset does not have it
    plain = [version for version in schema.function_opset_versions if version <= opset]
    if plain:
        return onnx.FunctionProto.FromString(schema.get_function_with_opset_version(max(plain)))
    built = [version for version in schema.context_dependent_function_opset_versions if version <= opset]
    types = [values.types.get(name) if name else onnx.TypeProto() for name in node.input] if built else [None]
    if None in types:
        return None
    data = [kind.SerializeToString() for kind in types if kind is not None]
    return onnx.FunctionProto.FromString(
        schema.get_context_dependent_function_with_opset_version(max(built), node.SerializeToString(), data)
    )


def _version(node: onnx.NodeProto, values: Values) -> int:
    return values.opset if node.domain in DEFAULT_DOMAINS else values.domains.get(node.domain, 0)


def _is_of(node: onnx.NodeProto, opset: int) -> bool:
    """Whether the opset has the node: functions may be written in an older one."""
    schema = onnx.defs.get_schema(node.op_type, opset, node.domain)
    known = all(attribute.name in schema.attributes for attribute in node.attribute)
    return known and schema.min_input <= len(node.input) <= schema.max_input


def _defaults(node: onnx.NodeProto, opset: int) -> list[onnx.AttributeProto]:
    schema = onnx.defs.get_schema(node.op_type, opset, node.domain)
    return [about.default_value for about in schema.attributes.values() if about.default_value.name]


def _refer(node: onnx.NodeProto, attributes: dict[str, onnx.AttributeProto]) -> None:
    """Put in the function's attributes where its nodes refer to them."""
    kept = []
    for attribute in node.attribute:
        if attribute.ref_attr_name:
            if attribute.ref_attr_name in attributes:
                kept.append(onnx.AttributeProto.FromString(attributes[attribute.ref_attr_name].SerializeToString()))
                kept[-1].name = attribute.name
        else:
            kept.append(onnx.AttributeProto.FromString(attribute.SerializeToString()))
    del node.attribute[:]
    node.attribute.extend(kept)
    for graph in graphs(node):
        for inner in graph.node:
            _refer(inner, attributes)
