"""TVM's converter of TFLite's operators, corrected where TFLite's own kernels compute something else.

What neither heeds is refused: tests/frontends/test_litert.py compares every quantized operator with LiteRT.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tvm import relax, tirx

from tzml.compiler.frontends.tflite.options import option
from tzml.compiler.frontends.tflite.real import RealOperators
from tzml.compiler.frontends.tflite.recurrent import RecurrentOperators
from tzml.compiler.ir.errors import CompileError
from tzml.compiler.ir.operators import operator
from tzml.compiler.ir.rewrite import Expr, const, constant, dtype_of, ints, op_name, shape_of
from tzml.compiler.ir.tvm_internals import tflite_tensor_name

# Options that TVM's converter does not read: (operator, table of options, option, the values that it computes)
UNREAD = (
    *(
        (name, f"{options}Options", "FusedActivationFunction", (0, 1, 2, 3))
        for name, options in (
            ("ADD", "Add"),
            ("SUB", "Sub"),
            ("MUL", "Mul"),
            ("DIV", "Div"),
            ("CONV_2D", "Conv2D"),
            ("CONV_3D", "Conv3D"),
            ("DEPTHWISE_CONV_2D", "DepthwiseConv2D"),
            ("FULLY_CONNECTED", "FullyConnected"),
            ("TRANSPOSE_CONV", "TransposeConv"),
        )
    ),
    ("FULLY_CONNECTED", "FullyConnectedOptions", "WeightsFormat", (0,)),
    ("LSTM", "LSTMOptions", "KernelType", (0,)),
    ("STRIDED_SLICE", "StridedSliceOptions", "Offset", (False,)),
    ("UNIDIRECTIONAL_SEQUENCE_LSTM", "UnidirectionalSequenceLSTMOptions", "DiagonalRecurrentTensors", (False,)),
)
# Operators of integers whose kernels in TFLite take the scale and the zero point of all tensors to be one
ONE_SCALE = {"MAXIMUM", "MINIMUM", "NEG", "RESHAPE", "RESIZE_BILINEAR"}
# Operators whose kernels in TFLite take integers of these types to be quantized
WITH_SCALES = {
    "ADD", "SUB", "MUL", "DIV", "SUM", "MEAN", "REDUCE_PROD", "RELU", "RELU6", "RELU_N1_TO_1", "EQUAL", "NOT_EQUAL",
    "GREATER", "GREATER_EQUAL", "LESS", "LESS_EQUAL",
    "ABS", "SQUARED_DIFFERENCE", "EXP", "LOG", "RSQRT", "LOGISTIC", "TANH",
}  # fmt: skip
_SCALED = (3, 7, 9)  # uint8, int16 and int8
_LARGEST_KNOWN = 4096
"""Elements of a value that is computed while a file is read; larger ones are weights."""
_LARGEST_WINDOW = 4096
"""Positions of a window whose mean float32 tells apart from one that is halfway between two integers."""


class TfliteConverter(RealOperators, RecurrentOperators):
    """Converts operators as TFLite's kernels compute them."""

    reads: Mapping[int, int] = MappingProxyType({})
    """For what is read of a variable the tensor that it is (model.py)."""

    def get_tensor_value(self, tensor_wrapper: Any, is_sparse: bool = False) -> Any:
        """A tensor that has to be known: a constant, or what was computed of constants and shapes."""
        if isinstance(tensor_wrapper.buffer, int) or tensor_wrapper.buffer.DataLength():
            return super().get_tensor_value(tensor_wrapper, is_sparse)
        shape = tensor_wrapper.tensor.ShapeAsNumpy()
        if isinstance(shape, np.ndarray) and 0 in shape:
            return np.zeros(shape, self.get_tensor_type_str(tensor_wrapper.tensor.Type()))
        if self.is_prefetched(tensor_wrapper.tensor_idx):
            return self.get_prefetched_node(tensor_wrapper.tensor_idx)
        expression = self.get_expr(tensor_wrapper.tensor_idx) if self.has_expr(tensor_wrapper.tensor_idx) else None
        value = None if expression is None else self._known(expression)
        if value is None:
            name = (tensor_wrapper.tensor.Name() or b"").decode(errors="replace")
            raise CompileError(f"its operand {name} must be known when compiling")
        return value.astype(self.get_tensor_type_str(tensor_wrapper.tensor.Type()))

    def get_expr(self, input_tensor_idx: int) -> Expr:
        """The value of a tensor, of a constant too."""
        if not self.has_expr(input_tensor_idx):
            (wrapper,) = self.get_tensors([input_tensor_idx])
            if wrapper.buffer.DataLength() or self.is_prefetched(input_tensor_idx):
                return self.get_tensor_expr(wrapper)
        return super().get_expr(input_tensor_idx)

    def _known(self, expression: Expr) -> NDArray[Any] | None:
        """What an expression is, if that follows from constants and shapes."""
        value = constant(expression)
        if value is not None:
            return value
        if isinstance(expression, relax.Var):
            made = self.bb.lookup_binding(expression)
            return None if made is None else self._known(made)
        if not isinstance(expression, relax.Call):
            return None
        if op_name(expression) == "relax.shape_to_tensor":
            return self._shape_of(expression.args[0])
        row = operator(expression)
        if row is None or row.fold is None:
            return None
        given = expression.args[: row.operands] if row.operands else getattr(expression.args[0], "fields", [])
        operands = [self._known(argument) for argument in given]
        known = [value for value in operands if value is not None and value.size <= _LARGEST_KNOWN]
        return np.asarray(row.fold(expression, known)) if known and len(known) == len(operands) else None

    def _shape_of(self, expression: Expr) -> NDArray[Any] | None:
        if isinstance(expression, relax.Var):
            expression = self.bb.lookup_binding(expression)
        if isinstance(expression, relax.ShapeExpr):
            return np.array(ints(expression.values), np.int64)
        of = op_name(expression) == "relax.shape_of" if isinstance(expression, relax.Call) else False
        return np.array(shape_of(expression.args[0]), np.int64) if of else None

    def convert_expand_dims(self, op: Any) -> Expr:
        """TVM's does not fit its own operator."""
        source, axis = self.get_input_tensors(op)
        return relax.op.expand_dims(self.get_tensor_expr(source), int(self.get_tensor_value(axis).reshape(-1)[0]))

    def convert_reshape(self, op: Any) -> Expr:
        """To a shape that may be computed, of constants and shapes."""
        source, *target = self.get_input_tensors(op)
        if not target or not self.has_expr(target[0].tensor_idx):
            return super().convert_reshape(op)
        known = self._known(self.get_expr(target[0].tensor_idx))
        (result,) = self.get_output_tensors(op)
        if known is None:
            raise CompileError("the shape that it gives must be known when compiling")
        if source.qnn_params and not self.has_same_qnn_params(source, result):
            raise CompileError("its input and its output have different scales or zero points")
        return relax.op.reshape(self.get_tensor_expr(source), tuple(known.reshape(-1).tolist()))

    def convert_batch_matmul(self, op: Any) -> Expr:
        """Of any ranks, which TVM's converter makes 3 of."""
        sources, (result,) = self.get_input_tensors(op), self.get_output_tensors(op)
        if result.qnn_params or any(source.qnn_params for source in sources):
            return super().convert_batch_matmul(op)
        operands = []
        for source, adjoint in zip(sources, ("AdjX", "AdjY"), strict=True):
            value = self.get_tensor_expr(source)
            axes = list(range(len(shape_of(value))))
            if option(op, "BatchMatMulOptions", adjoint):
                value = self.bb.emit(relax.op.permute_dims(value, [*axes[:-2], axes[-1], axes[-2]]))
            operands.append(value)
        return relax.op.matmul(*operands)

    def convert_dequantize(self, op: Any) -> Expr:
        """Of weights that were sparse, too, and of what is computed in float16."""
        (source,) = self.get_input_tensors(op)
        if not source.qnn_params and self.has_expr(source.tensor_idx):
            return relax.op.astype(self.get_expr(source.tensor_idx), "float32")
        if not self.is_prefetched(source.tensor_idx):
            return super().convert_dequantize(op)
        values = self.get_prefetched_node(source.tensor_idx)
        if source.qnn_params:
            return self.dequantize(const(values), source)
        return const(np.asarray(values, np.float32))

    def convert_var_handle(self, op: Any) -> Expr | None:
        """The importer knows where its variable is (model.py)."""
        return None

    def convert_call_once(self, op: Any) -> Expr | None:
        """What variables begin with is given to the first run."""
        return None

    def convert_assign_variable(self, op: Any) -> Expr | None:
        """What is assigned last is an output."""
        return None

    def convert_read_variable(self, op: Any) -> Expr | None:
        """The input, or what was assigned before."""
        (result,) = self.get_output_tensors(op)
        now = self.reads[result.tensor_idx]
        return None if now == result.tensor_idx else self.get_expr(now)

    def convert_if(self, op: Any) -> Expr:
        """Both branches are computed, if the condition depends on the data: time must not tell of it."""
        condition, *given = self.get_input_tensors(op)
        known = self._known(self.get_tensor_expr(condition))
        branches = [option(op, "IfOptions", f"{which}SubgraphIndex") for which in ("Then", "Else")]
        if known is not None:
            (result,) = self._results(branches[0 if known.any() else 1], given)
            return result
        one, other = (self._results(branch, given) for branch in branches)
        chosen = []
        test = relax.op.reshape(self.get_tensor_expr(condition), ())
        for a, b in zip(one, other, strict=True):
            if shape_of(a) != shape_of(b) or dtype_of(a) != dtype_of(b):
                raise CompileError("its condition depends on the data, and its branches give different tensors")
            chosen.append(self.bb.emit(relax.op.where(test, a, b)))
        return chosen[0] if len(chosen) == 1 else relax.Tuple(chosen)

    def _results(self, number: int, given: list[Any]) -> list[Expr]:
        """What another graph of the file makes of tensors of this one."""
        depth = self.conversion_state.setdefault("tzml_depth", [])
        if not 0 < number < self.model.SubgraphsLength() or number in depth:
            raise CompileError(f"its branch {number} is no graph of its own")
        graph = self.model.Subgraphs(number)
        depth.append(number)
        inner = type(self)(self.model, graph, type(self.exp_tab)(), self.bb, self.conversion_state)
        for wrapper, mine in zip(inner.get_tensors(graph.InputsAsNumpy()), given, strict=True):
            inner.exp_tab.set_expr(tflite_tensor_name(graph, wrapper.tensor_idx), self.get_tensor_expr(mine))
        inner.check_unsupported_ops()
        inner.convert_op_to_relax()
        depth.pop()
        results = [inner.get_tensor_expr(wrapper) for wrapper in inner.get_tensors(graph.OutputsAsNumpy())]
        return [self.bb.emit(result) for result in results]

    def unheeded(self, op: Any, name: str) -> str:
        """What of an operator would be passed over, in words; empty if nothing would."""
        for operation, options, which, understood in UNREAD:
            found = option(op, options, which) if name == operation else understood[0]
            if found not in understood:
                return f"{which} is {found}; only {', '.join(map(str, understood))} is understood"
        if not self.is_quantized(op):
            first = self.get_input_tensors(op)[:1]
            if name in WITH_SCALES and first and first[0].tensor.Type() in _SCALED:
                return "its elements have no scale, which TFLite's kernel asks for"
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
        (source,) = self.get_input_tensors(op)
        gelu = relax.op.nn.gelu_tanh if option(op, "GeluOptions", "Approximate") else relax.op.nn.gelu
        return gelu(self.get_expr(source.tensor_idx))

    def convert_softmax(self, op: Any) -> Expr:
        """Of the operand times beta."""
        beta = option(op, "SoftmaxOptions", "Beta")
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
        source, weights, *_ = self.get_input_tensors(op)
        x, size = self.get_tensor_expr(source), int(weights.tensor.Shape(1))
        name = tflite_tensor_name(self.subgraph, source.tensor_idx)
        if shape_of(x)[-1] != size:
            rows = self.bb.emit(relax.op.reshape(x, (math.prod(shape_of(x)) // size, size)))
            self.exp_tab.set_expr(name, rows, force_override=True)
        result = self.bb.normalize(super().convert_fully_connected(op))
        if shape_of(x)[-1] != size:
            self.exp_tab.set_expr(name, x, force_override=True)
        if option(op, "FullyConnectedOptions", "KeepNumDims"):
            return result
        return relax.op.reshape(result, (math.prod(shape_of(result)[:-1]), shape_of(result)[-1]))
