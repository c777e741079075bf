"""All layers of an ONNX model that would be refused, and not only the first: what `tzml check` lists."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import onnx
from onnx import helper

from tzml.compiler.frontends.inputs import Inputs
from tzml.compiler.frontends.onnx.importer import import_model
from tzml.compiler.frontends.refusal import RefusedLayer, refusals
from tzml.compiler.ir.errors import CompileError, UnsupportedError


def survey_model(model: onnx.ModelProto, path: Path, inputs: Inputs) -> Iterator[RefusedLayer]:
    """The layers that would be refused. `model` is changed: they become inputs, and the rest is tried again.

    The last refusal has no layer where what follows could not be looked at.
    """
    types = _types(model, inputs)
    inputs = dict(inputs)
    while True:
        try:
            import_model(model, path, inputs, lambda _: None)
            return
        except UnsupportedError as error:
            yield from refusals(error)
            refused = _nodes(model, error.layers)
            if not refused or not _stand_in(model, refused, types):
                yield RefusedLayer(
                    "", "", "what comes after them was not looked at: their results have no known shape"
                )
                return
        except CompileError as error:
            yield RefusedLayer("", "", str(error))
            return


def _types(model: onnx.ModelProto, inputs: Inputs) -> dict[str, onnx.ValueInfoProto]:
    """What ONNX's own shape inference knows of the values, once inputs have the shapes that were given."""
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    for value in fixed.graph.input:
        if value.name in inputs:
            shape = inputs[value.name].shape
            value.CopyFrom(helper.make_tensor_value_info(value.name, value.type.tensor_type.elem_type, shape))
    try:
        fixed = onnx.shape_inference.infer_shapes(fixed, data_prop=True)
    except Exception:  # of a model that is malformed, which the importer says
        return {}
    return {value.name: value for value in (*fixed.graph.value_info, *fixed.graph.output) if _is_known(value)}


def _is_known(value: onnx.ValueInfoProto) -> bool:
    kind = value.type.tensor_type
    return bool(kind.elem_type) and kind.HasField("shape") and all(d.dim_value > 0 for d in kind.shape.dim)


def _nodes(model: onnx.ModelProto, layers: Sequence[tuple[str, str]]) -> list[onnx.NodeProto]:
    """The nodes with these operators and names, as `unsupported` gives them."""

    def is_refused(node: onnx.NodeProto) -> bool:
        operator = node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}::{node.op_type}"
        return any((operator, name) in wanted for name in (node.name, *node.output))

    wanted = set(layers)
    return [node for node in model.graph.node if is_refused(node)]


def _stand_in(
    model: onnx.ModelProto, refused: Sequence[onnx.NodeProto], types: dict[str, onnx.ValueInfoProto]
) -> bool:
    """Replace nodes by inputs of the same types; False if a type is not known, or nothing is left."""
    read = {name for node in model.graph.node for name in node.input} | {v.name for v in model.graph.output}
    results = [name for node in refused for name in node.output if name in read]
    if not all(name in types for name in results):
        return False
    for node in refused:
        model.graph.node.remove(node)
    model.graph.input.extend(types[name] for name in results)
    outputs = [value for value in model.graph.output if value.name not in results]
    if not outputs:  # what goes into them is the end now
        outputs = [types[name] for node in refused for name in node.input if name in types]
    del model.graph.output[:]
    model.graph.output.extend({value.name: value for value in outputs}.values())
    return bool(model.graph.node) and bool(outputs)
