"""ONNX files."""

from __future__ import annotations

from pathlib import Path

import onnx
from google.protobuf.message import DecodeError
from tvm.relax.frontend.onnx import from_onnx

from tzml.compiler.errors import CompileError
from tzml.compiler.lower import Imported

Shapes = dict[str, tuple[int, ...]]


def import_onnx(path: Path, shapes: Shapes | None = None) -> Imported:
    """Read an ONNX file. `shapes` gives inputs by name whose dimensions the file leaves open.

    Raises CompileError for a file that is no ONNX model, for open dimensions, and for operators
    that TVM does not know.
    """
    model = _load(path)
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in constants]
    all_shapes = {value.name: _shape(value, shapes or {}) for value in inputs}
    for name in shapes or {}:
        if name not in all_shapes:
            raise CompileError(f"the model has no input {name}", f"it has {', '.join(all_shapes)}")
    try:
        module = from_onnx(model, shape_dict=all_shapes, keep_params_in_input=False)
    except Exception as error:  # TVM raises many kinds; all mean that this model cannot be imported
        lines = str(error).strip().splitlines()
        raise CompileError(f"TVM cannot import {path.name}: {lines[-1] if lines else error!r}") from error
    return Imported(module, tuple(all_shapes), tuple(value.name for value in model.graph.output))


def _load(path: Path) -> onnx.ModelProto:
    try:
        model = onnx.load(str(path), load_external_data=False)
        onnx.checker.check_model(model)
    except OSError as error:
        raise CompileError(f"cannot read {path}: {error.strerror}", "check the path") from error
    except (DecodeError, onnx.checker.ValidationError, ValueError) as error:
        what = str(error).strip().splitlines()
        raise CompileError(f"{path} is not a valid ONNX file: {what[0] if what else error!r}") from error
    for tensor in model.graph.initializer:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            raise CompileError(
                f"{path}: the weights {tensor.name} are in another file",
                "save the model with its weights: onnx.save(model, path, save_as_external_data=False)",
            )
    if not model.graph.node:
        raise CompileError(f"{path}: the graph is empty", "give the file of a trained model")
    return model


def _shape(value: onnx.ValueInfoProto, shapes: Shapes) -> tuple[int, ...]:
    tensor = value.type.tensor_type
    dimensions = [d.dim_value if d.HasField("dim_value") else d.dim_param or "?" for d in tensor.shape.dim]
    if value.name in shapes:
        given = shapes[value.name]
        fits = len(given) == len(dimensions) and all(
            not isinstance(d, int) or d == g for d, g in zip(dimensions, given, strict=True)
        )
        if not fits:
            raise CompileError(f"input {value.name} is {dimensions}, not {list(given)}")
        return given
    if not all(isinstance(d, int) and d > 0 for d in dimensions):
        example = "x".join(str(d) if isinstance(d, int) else "1" for d in dimensions)
        raise CompileError(
            f"input {value.name} has open dimensions: {dimensions}", f"give --input {value.name}={example}"
        )
    return tuple(int(d) for d in dimensions)
