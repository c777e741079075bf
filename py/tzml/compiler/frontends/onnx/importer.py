"""ONNX files."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Set
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from tzml.compiler.frontends.checks import Warn, checked, warn_of_nan
from tzml.compiler.frontends.errors import malformed, unsupported
from tzml.compiler.frontends.inputs import Declared, Inputs, settle_inputs
from tzml.compiler.frontends.onnx.fold import fold
from tzml.compiler.frontends.onnx.functions import EXPANDED, is_expanded
from tzml.compiler.frontends.onnx.heed import (
    Attributes,
    Operands,
    check_heeded,
    check_results,
    check_values,
    not_taken,
)
from tzml.compiler.frontends.onnx.implied import implied_inputs
from tzml.compiler.frontends.onnx.operators import OPERATORS
from tzml.compiler.frontends.onnx.quantized import QUANTIZED
from tzml.compiler.frontends.onnx.tensors import check_tensors, load_external_data, load_without_weights
from tzml.compiler.frontends.onnx.unroll import CONTROL_FLOW
from tzml.compiler.frontends.onnx.values import DEFAULT_DOMAINS, Values
from tzml.compiler.ir.errors import CompileError, UnsupportedError, reason
from tzml.compiler.ir.imported import Imported
from tzml.compiler.ir.layer_names import SourceNames
from tzml.compiler.ir.rewrite import bound, naming
from tzml.compiler.ir.tvm_internals import onnx_importer, onnx_operators

_log = logging.getLogger(__name__)


def import_onnx(path: Path, inputs: Inputs, warn: Warn) -> Imported:
    """Read an ONNX file; its weights may be in other files of its folder.

    Raises CompileError for a file that is no ONNX model, for external data outside the folder, for open
    dimensions, and for operators that there is no kernel for.
    """
    model = load_without_weights(path)
    load_external_data(model, path)
    return import_model(model, path, inputs, warn)


def import_model(model: onnx.ModelProto, path: Path, inputs: Inputs, warn: Warn) -> Imported:
    """Import a model that is in memory; `path` is the file that messages name.

    Raises CompileError; an UnsupportedError has the model.
    """
    try:
        return _import_model(model, path, inputs, warn)
    except UnsupportedError as error:
        error.graph = model
        raise


def _import_model(model: onnx.ModelProto, path: Path, inputs: Inputs, warn: Warn) -> Imported:
    if not model.graph.node:
        raise CompileError(f"{path}: the graph is empty", "give the file of a trained model")
    check_tensors(model, path)
    try:
        if model.functions:
            model = onnx.inliner.inline_local_functions(model)
        # the checker would not say which layer an unknown one is in; some are replaced below
        _check_operators(model, path, replaced={*CONTROL_FLOW, *EXPANDED, *QUANTIZED})
        onnx.checker.check_model(model)
    except (onnx.checker.ValidationError, ValueError, RuntimeError) as error:
        raise malformed(path, "ONNX file", str(error).strip().splitlines()[0]) from error
    warn_of_nan(_weights(model), warn)
    constants = {tensor.name for tensor in model.graph.initializer}
    declared = {value.name: _declared(value) for value in model.graph.input if value.name not in constants}
    model, inputs = _fix_inputs(model, declared, inputs, warn)
    if not declared:
        raise CompileError(f"{path}: no input is left, so that the network always answers the same")
    shapes = settle_inputs(declared, inputs)
    model = _imply_inputs(model, shapes, path.name, warn)
    model, values = fold(model, shapes, path.name)
    _check_operators(model, path)
    for node in model.graph.node:
        if node.op_type != "Constant":  # of which its users are named
            values.check_types(node)
    model = _without_empty_outputs(model, values, path, warn)
    importer = _Importer(path.name)
    module = importer.run(model.graph, values.opset, shapes)
    importer.check_results(model, values)
    outputs = tuple(value.name for value in model.graph.output)
    return Imported(checked(module, path.name), tuple(shapes), outputs, sources=importer.names.sources)


class _Importer(onnx_importer()):  # type: ignore[misc]
    """TVM's importer, with recurrent layers, and with the layer's name in its errors."""

    def __init__(self, file: str) -> None:
        super().__init__()
        self.file = file
        self.names = SourceNames()

    def check_results(self, model: onnx.ModelProto, values: Values) -> None:
        """Raise CompileError for a value that is not the tensor that ONNX says."""
        for node in model.graph.node:
            with self._named(node.op_type, node.name):
                for name in filter(None, node.output):
                    values.check(name, self.value(name))

    def convert(self, operator: str, layer: str, inputs: Any, attributes: dict[str, Any], opset: int) -> Any:
        with self._named(operator, layer):
            watched, operands = Attributes(attributes), Operands(inputs)
            check_values(operator, watched, operands)
            hint = self.names.add(layer, operator)
            with naming(self.bb, hint):
                own = OPERATORS[operator](self.bb, operands, watched) if operator in OPERATORS else None
                if own is not None:
                    result = self.bb.normalize(own)
                else:
                    result = self._convert(operator, layer, operands, watched, opset)
            check_heeded(operator, opset, watched, operands)
            check_results(result, attributes["tvm_custom"]["num_outputs"])
            return bound(self.bb, result, hint)

    def _convert(self, operator: str, layer: str, operands: Operands, attributes: Attributes, opset: int) -> Any:
        try:
            return super().convert(operator, layer, operands, attributes, opset)
        except CompileError:
            raise
        except Exception as error:
            _log.info("TVM says of the operator %s (layer %s): %s", operator, layer, reason(error))
            raise CompileError(not_taken(attributes, operands)) from error

    @contextlib.contextmanager
    def _named(self, operator: str, layer: str) -> Iterator[None]:
        """Errors inside are of this operator."""
        try:
            yield
        except CompileError as error:
            raise unsupported(self.file, [(operator, layer)], str(error)) from error
        except Exception as error:
            _log.info("TVM says of the operator %s (layer %s): %s", operator, layer, reason(error))
            raise unsupported(self.file, [(operator, layer)]) from error


def _without_empty_outputs(model: onnx.ModelProto, values: Values, path: Path, warn: Warn) -> onnx.ModelProto:
    """The model without outputs that have no elements. Raises CompileError if none is left."""
    empty = [value.name for value in model.graph.output if 0 in (values.shape(value.name) or ())]
    if not empty:
        return model
    if len(empty) == len(model.graph.output):
        raise CompileError(f"{path}: output {empty[0]} has no elements", "export the model without it")
    for name in empty:
        warn(f"output {name} has no elements: its shape is {values.shape(name)}; the bundle does not have it")
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    del changed.graph.output[:]
    changed.graph.output.extend(value for value in model.graph.output if value.name not in empty)
    return changed


def _fix_inputs(
    model: onnx.ModelProto, declared: dict[str, Declared], inputs: Inputs, warn: Warn
) -> tuple[onnx.ModelProto, Inputs]:
    """The model in which each whole number that is given for a scalar input, as sr=16000, is a constant.

    So is an input without elements. Such inputs are removed from `declared`; the inputs that are left are returned.
    """
    fixed = {}
    for name, found in list(declared.items()):
        sizes = [size for size in found.dimensions if isinstance(size, int)]
        if 0 in sizes and len(sizes) == len(found.dimensions):
            warn(f"input {name} has no elements: its shape is {sizes}; the bundle does not have it")
            fixed[name] = np.zeros(sizes, helper.tensor_dtype_to_np_dtype(_element_kind(model, name)))
            del declared[name]
    for name, given in inputs.items():
        kind = declared.get(name)
        if kind and kind.dimensions == () and len(given.shape) == 1 and np.dtype(kind.dtype).kind in "iu":
            if given.dtype not in ("", kind.dtype):
                raise CompileError(f"input {name} has elements of type {kind.dtype}, not {given.dtype}")
            if given.shape[0] > np.iinfo(kind.dtype).max:
                raise CompileError(f"input {name} is of type {kind.dtype}, which has no {given.shape[0]}")
            fixed[name] = np.array(given.shape[0], kind.dtype)
            del declared[name]
    return _with_known(model, fixed), {name: given for name, given in inputs.items() if name not in fixed}


def _imply_inputs(
    model: onnx.ModelProto, shapes: dict[str, tuple[int, ...]], file: str, warn: Warn
) -> onnx.ModelProto:
    """The model in which inputs that say nothing but a declared shape are constants; they leave `shapes`.

    One input is left at least.
    """
    found = implied_inputs(model, shapes, file)
    if len(found) == len(shapes):
        return model
    for name, (value, result) in found.items():
        says = f"which the shape of {result} says as well"
        warn(f"input {name} is taken to be {value.tolist()}, {says}; the bundle does not have it")
        del shapes[name]
    return _with_known(model, {name: value for name, (value, _) in found.items()})


def _with_known(model: onnx.ModelProto, fixed: dict[str, Any]) -> onnx.ModelProto:
    """The model with constants in place of inputs; itself, if there are none."""
    if not fixed:
        return model
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    kept = [value for value in model.graph.input if value.name not in fixed]
    del changed.graph.input[:]
    changed.graph.input.extend(kept)
    changed.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in fixed.items())
    return changed


def _element_kind(model: onnx.ModelProto, name: str) -> int:
    return next(int(v.type.tensor_type.elem_type) for v in model.graph.input if v.name == name)


# which TVM imports, and cannot compile: how much they answer depends on the data
_OF_LISTS = {"NonMaxSuppression"}


def _check_operators(model: onnx.ModelProto, path: Path, replaced: Set[str] = frozenset()) -> None:
    known = {"Constant", *onnx_operators(), *OPERATORS}.difference(CONTROL_FLOW, EXPANDED, _OF_LISTS)
    known |= replaced
    found = []
    for node in model.graph.node:
        default = node.domain in DEFAULT_DOMAINS
        if replaced and is_expanded(node):
            continue
        if not default or node.op_type not in known:
            operator = node.op_type if default else f"{node.domain}::{node.op_type}"
            found.append((operator, node.name or next(iter(node.output), "")))
    if found:
        vendor = next((operator for operator, _ in found if "::" in operator), "")
        remedy = "export the model without a runtime's own optimisations" if vendor else ""
        raise unsupported(path.name, found, remedy)


def _weights(model: onnx.ModelProto) -> Iterator[tuple[str, Any]]:
    floats = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE)
    for tensor in model.graph.initializer:
        if tensor.data_type in floats:
            yield tensor.name, numpy_helper.to_array(tensor)


def _declared(value: onnx.ValueInfoProto) -> Declared:
    if not value.type.HasField("tensor_type"):
        kind = (value.type.WhichOneof("value") or "no type").removesuffix("_type")
        raise CompileError(f"input {value.name} is no tensor: {kind}", "export the model with tensors only")
    tensor = value.type.tensor_type
    # some exporters write an open dimension as -1
    dimensions = tuple(
        d.dim_value if d.HasField("dim_value") and d.dim_value >= 0 else d.dim_param or "?"
        for d in tensor.shape.dim
    )
    dtype = str(onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)) if tensor.elem_type else "float32"
    return Declared(dimensions, dtype)
