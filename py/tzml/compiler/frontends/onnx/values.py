"""What is known of an ONNX model's values before TVM sees it: their types, and what the small ones are."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from tzml.compiler.frontends.checks import check_size, check_type
from tzml.compiler.frontends.errors import unfit
from tzml.compiler.ir.errors import CompileError
from tzml.compiler.ir.rewrite import ints, is_tensor

Array = NDArray[Any]

DEFAULT_DOMAINS = ("", "ai.onnx")
"""The operators of TVM's importer are of this domain; others are vendors' own."""
LARGEST = 4096
"""Elements of a value that is known here: larger tensors are weights."""
_INFERENCE = {
    "AveragePool": 22, "DequantizeLinear": 13, "GreaterOrEqual": 16, "LessOrEqual": 16, "LpPool": 22, "MaxPool": 22,
}  # fmt: skip
"""Opsets from which ONNX's inference is right: before, poolings that round up had windows that no runtime has, and
weights had one scale."""
_LIKE_THEIR_INPUT = ("GroupNormalization", "MeanVarianceNormalization")
"""Operators that ONNX has no inference for."""


class Values:
    """The types and small values of a graph, which grow with each node that is `add`ed, in their order.

    Attributes:
        types: An onnx.TypeProto for each value of known type.
        known: Values of at most LARGEST elements.
        domains: The version of each domain of operators.

    """

    def __init__(self, model: onnx.ModelProto, shapes: dict[str, tuple[int, ...]], file: str) -> None:
        """`shapes` are those of the model's inputs; `file` is what messages name."""
        self.file = file
        self.opsets = [opset for opset in model.opset_import if opset.domain in DEFAULT_DOMAINS]
        self.domains = {opset.domain: opset.version for opset in model.opset_import}
        self.opset = max((opset.version for opset in self.opsets), default=1)
        self.types: dict[str, onnx.TypeProto] = {}
        self.known: dict[str, Array] = {}
        for value in model.graph.input:
            if value.name in shapes:
                kind = value.type.tensor_type.elem_type or onnx.TensorProto.FLOAT
                self.types[value.name] = helper.make_tensor_type_proto(kind, shapes[value.name])
        for tensor in model.graph.initializer:
            self.add_tensor(tensor.name, tensor)

    def add_tensor(self, name: str, tensor: onnx.TensorProto) -> None:
        """Add a constant."""
        self.types[name] = helper.make_tensor_type_proto(tensor.data_type, tensor.dims)
        if math.prod(tensor.dims) <= LARGEST:
            self.known[name] = numpy_helper.to_array(tensor)

    def add(self, node: onnx.NodeProto) -> None:
        """Add the types of a node's results, where ONNX's own inference finds them.

        Raises CompileError for a node that does not fit its inputs, and for a result beyond all memory.
        """
        types = {name: self.types.get(name) for name in node.input if name}
        if node.domain not in DEFAULT_DOMAINS or None in types.values():
            return
        if node.op_type in _LIKE_THEIR_INPUT:
            found = {node.output[0]: types[node.input[0]]}
        else:
            found = self._infer(node, types)
        for name, kind in found.items():
            self.types[name] = kind
            shape = self.shape(name)
            if shape is not None:
                check_size(self.file, name, shape, element_type(kind).itemsize)

    def _infer(self, node: onnx.NodeProto, types: dict[str, Any]) -> dict[str, Any]:
        try:
            schema = onnx.defs.get_schema(node.op_type, max(self.opset, _INFERENCE.get(node.op_type, 1)), "")
        except onnx.defs.SchemaError:
            return {}
        if node.op_type == "STFT":
            node = _one_sided(node)
        known = {name: self.known[name] for name in types if name in self.known}
        if node.op_type == "Range":  # runtimes take single elements of any rank; inference does not
            known = {name: array.reshape(()) if array.size == 1 else array for name, array in known.items()}
            types |= {n: helper.make_tensor_type_proto(types[n].tensor_type.elem_type, ()) for n in known}
            if not known.get(node.input[2], np.ones(1)).any():  # inference finds no element, and nothing wrong
                layer = node.name or next(iter(node.output), "")
                raise unfit(self.file, node.op_type, layer, ValueError("its step is 0"))
        values = {n: numpy_helper.from_array(array, n) for n, array in known.items() if array.dtype.kind in "bfiu"}
        try:
            found = onnx.shape_inference.infer_node_outputs(schema, node, types, values, opset_imports=self.opsets)
        except Exception as error:  # its own, and those of pybind11
            raise unfit(self.file, node.op_type, node.name or next(iter(node.output), ""), error) from error
        return {name: kind for name, kind in found.items() if _is_known(kind)}

    def shape(self, name: str) -> list[int] | None:
        """The shape of a value, or None if it is not known."""
        kind = self.types.get(name)
        if kind is None or not kind.HasField("tensor_type") or not kind.tensor_type.HasField("shape"):
            return None
        sizes = [d.dim_value if d.HasField("dim_value") else -1 for d in kind.tensor_type.shape.dim]
        return None if min(sizes, default=0) < 0 else sizes

    def check_types(self, node: onnx.NodeProto) -> None:
        """Raise CompileError for a node that has or makes elements of a type that no kernel computes."""
        for name in (*node.input, *node.output):
            kind = self.types.get(name)
            if kind is not None and kind.HasField("tensor_type"):
                layer = node.name or next(filter(None, node.output), "")
                check_type(self.file, node.op_type, layer, str(element_type(kind)))

    def check(self, name: str, value: Any) -> None:
        """Raise CompileError if what a value was converted to is another tensor; `value` is Relax."""
        kind = self.types.get(name)
        if kind is None or not kind.HasField("tensor_type") or not is_tensor(value):
            return
        wanted = str(element_type(kind))
        if wanted != value.ty.dtype:
            raise CompileError(f"its result {name} would have elements of type {value.ty.dtype}, not {wanted}")
        try:
            found = ints(value.ty.shape.values)
        except (AttributeError, TypeError):
            return  # it depends on the data, which is refused elsewhere
        sizes = self.shape(name)
        if sizes is not None and found != tuple(sizes):
            raise CompileError(f"its result {name} would have the shape {list(found)}, not {sizes}")


def _one_sided(node: onnx.NodeProto) -> onnx.NodeProto:
    """With its default, which ONNX's inference does not know."""
    whole = onnx.NodeProto()
    whole.CopyFrom(node)
    if all(attribute.name != "onesided" for attribute in node.attribute):
        whole.attribute.append(helper.make_attribute("onesided", 1))
    return whole


def element_type(kind: onnx.TypeProto) -> np.dtype[Any]:
    """The type of a tensor's elements."""
    return np.dtype(helper.tensor_dtype_to_np_dtype(kind.tensor_type.elem_type))


def _is_known(kind: onnx.TypeProto) -> bool:
    return bool(kind.tensor_type.elem_type if kind.HasField("tensor_type") else kind.WhichOneof("value"))
