"""TVM's converter of TFLite's operators, corrected where TFLite's own kernels compute something else.

What neither heeds is refused: tests/frontends/test_litert.py compares every quantized operator with LiteRT.
"""

from __future__ import annotations

import importlib
import math
from typing import Any

import numpy as np
from tvm import relax, tirx

from tzml.compiler.ir.errors import CompileError
from tzml.compiler.ir.rewrite import Expr, dtype_of, ints, op_name, shape_of
from tzml.compiler.ir.tvm_internals import tflite_converter

# Options that TVM's converter does not read: (operator, table of options, option, the values that it computes)
UNREAD = (
    ("FULLY_CONNECTED", "FullyConnectedOptions", "WeightsFormat", (0,)),
    ("GATHER", "GatherOptions", "BatchDims", (0,)),
    ("LSTM", "LSTMOptions", "KernelType", (0,)),
    ("STRIDED_SLICE", "StridedSliceOptions", "Offset", (False,)),
    ("TRANSPOSE_CONV", "TransposeConvOptions", "FusedActivationFunction", (0,)),
    ("UNIDIRECTIONAL_SEQUENCE_LSTM", "UnidirectionalSequenceLSTMOptions", "DiagonalRecurrentTensors", (False,)),
)
# Operators of integers whose kernels in TFLite take the scale and the zero point of all tensors to be one
ONE_SCALE = {"MAXIMUM", "MINIMUM", "NEG", "RESHAPE", "RESIZE_BILINEAR"}
_LARGEST_WINDOW = 4096
"""Positions of a window whose mean float32 tells apart from one that is halfway between two integers."""


class TfliteConverter(tflite_converter()):  # type: ignore[misc]
    """Converts operators as TFLite's kernels compute them."""

    def unheeded(self, op: Any, name: str) -> str:
        """What of an operator would be passed over, in words; empty if nothing would."""
        for operator, options, option, understood in UNREAD:
            found = _option(op, options, option) if name == operator else understood[0]
            if found not in understood:
                return f"{option} is {found}; only {', '.join(map(str, understood))} is understood"
        if not self.is_quantized(op):
            return ""
        scales = [t for t in (*self.get_input_tensors(op), *self.get_output_tensors(op)) if t.qnn_params]
        if name in ONE_SCALE and not all(self.has_same_qnn_params(scales[0], t) for t in scales[1:]):
            return "its inputs and its output have different scales or zero points, which TFLite's kernel ignores"
        if name == "NEG" and int(scales[0].qnn_params["zero_point"].value.numpy()) != 0:
            return "its zero point is not 0, which TFLite's kernel takes it to be"
        return "TFLite's kernel rounds after each factor" if name == "REDUCE_PROD" else ""

    def has_same_qnn_params(self, lhs_tensor: Any, rhs_tensor: Any) -> bool:
        """Whether two tensors count the same steps, however small these are."""
        (a, x), (b, y) = (
            (t.qnn_params["scale"].value.numpy(), t.qnn_params["zero_point"].value.numpy())
            for t in (lhs_tensor, rhs_tensor)
        )
        return bool(a.shape == b.shape and np.allclose(a, b, rtol=1e-5, atol=0) and np.array_equal(x, y))

    def check_results(self, op: Any, result: Expr, same_shapes: bool) -> Expr:
        """The result, with elements of the type that the file says. Raises CompileError if it is another tensor.

        `same_shapes` says that the network's inputs have the shapes that they have in the file.
        """
        if result is None:
            return None
        result, tensors = self.bb.normalize(result), self.get_output_tensors(op)
        if len(tensors) == 1 and isinstance(result.ty, relax.TensorType):
            return self._checked(result, tensors[0].tensor, same_shapes)
        for kind, tensor in zip(getattr(result.ty, "fields", ()), tensors, strict=False):
            self._check_shape(kind, tensor.tensor, same_shapes)
        return result

    def _checked(self, result: Expr, tensor: Any, same_shapes: bool) -> Expr:
        self._check_shape(result.ty, tensor, same_shapes)
        declared = self.get_tensor_type_str(tensor.Type())
        return result if dtype_of(result) == declared else relax.op.astype(result, declared)

    def _check_shape(self, kind: Any, tensor: Any, same_shapes: bool) -> None:
        declared = tensor.ShapeAsNumpy()
        is_known = isinstance(declared, np.ndarray) and not isinstance(tensor.ShapeSignatureAsNumpy(), np.ndarray)
        if same_shapes and is_known and kind.shape is not None:
            shape = [int(n) if isinstance(n, tirx.IntImm) else n for n in getattr(kind.shape, "values", kind.shape)]
            if shape != declared.tolist():
                raise CompileError(f"its result has the shape {shape}, and in the file {declared.tolist()}")

    def convert_pool2d(self, op: Any, pool_type: str) -> Expr:
        """Means of integers are rounded, halves away from 0; TVM cuts them off."""
        result = super().convert_pool2d(op, pool_type)
        (source,) = self.get_input_tensors(op)
        if pool_type != "average" or not source.qnn_params:
            return result
        cast = result.args[0] if op_name(result) == "relax.clip" else result
        pool = cast.args[0]
        about, kind = pool.attrs, str(cast.attrs.dtype)
        # the sum must be exact: in float32 that of some thousand int8 is
        exact = kind != "int16" and math.prod(ints(about.pool_size)) <= _LARGEST_WINDOW
        real, half = ("float32", 0.5 + 5e-5) if exact else ("float64", 0.5 + 1e-9)
        mean = self.bb.emit(
            relax.op.nn.avg_pool2d(
                relax.op.astype(self.get_expr(source.tensor_idx), real), ints(about.pool_size),
                ints(about.strides), ints(about.padding), layout=str(about.layout),
            )
        )  # fmt: skip
        up, down, zero = (relax.const(np.asarray(number, real)) for number in (half, -half, 0))
        rounded = relax.op.astype(relax.op.add(mean, relax.op.where(relax.op.less(mean, zero), down, up)), kind)
        return relax.op.clip(rounded, *result.args[1:]) if op_name(result) == "relax.clip" else rounded

    def convert_gelu(self, op: Any) -> Expr:
        """With the hyperbolic tangent where the file says so."""
        if not _option(op, "GeluOptions", "Approximate"):
            return super().convert_gelu(op)
        (source,) = self.get_input_tensors(op)
        return relax.op.nn.gelu_tanh(self.get_expr(source.tensor_idx))

    def convert_softmax(self, op: Any) -> Expr:
        """Of the operand times beta."""
        beta = _option(op, "SoftmaxOptions", "Beta")
        (source,), (result,) = self.get_input_tensors(op), self.get_output_tensors(op)
        x = self.get_expr(source.tensor_idx)
        if source.qnn_params:
            x = self.dequantize(x, source)
        if beta != 1:
            x = relax.op.multiply(x, relax.const(np.float32(beta)))
        y = relax.op.nn.softmax(x, axis=-1)
        return self.quantize(y, result) if result.qnn_params else y

    def convert_fully_connected(self, op: Any) -> Expr:
        """Rows of a matrix, unless the number of dimensions is to be kept."""
        result = self.bb.normalize(super().convert_fully_connected(op))
        if _option(op, "FullyConnectedOptions", "KeepNumDims"):
            return result
        return relax.op.reshape(result, (math.prod(shape_of(result)[:-1]), shape_of(result)[-1]))


def _option(op: Any, options: str, option: str) -> Any:
    """The value of an option, which is its default where the operator has no options."""
    schema = importlib.import_module("tflite")
    table, place = getattr(schema, options)(), op.BuiltinOptions()
    if op.BuiltinOptionsType() != getattr(schema.BuiltinOptions, options):
        return {"Beta": 1}.get(option, 0)
    table.Init(place.Bytes, place.Pos)
    return getattr(table, option)()
