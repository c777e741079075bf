"""TFLite's operators of integers that are computed of the real numbers that the integers stand for.

The result is rounded once, to the output's step. So it is within a step of what LiteRT's kernels give, which
round in between. Where only the weights are integers (dynamic range), nothing is rounded: LiteRT rounds the
input of such a layer to 8 bits in each inference.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tzml.compiler.frontends.tflite.operators import OwnOperators
from tzml.compiler.ir.errors import CompileError
from tzml.compiler.ir.rewrite import Expr, const

AS_REAL = frozenset(("BATCH_MATMUL", "ELU", "GELU", "L2_NORMALIZATION", "PRELU", "RELU_0_TO_1", "TRANSPOSE_CONV"))
"""Operators of integers."""
AS_REAL_OF_INT16 = frozenset(("AVERAGE_POOL_2D", "CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"))
"""Operators that have kernels of their own for int8, but not for int16."""
WITH_INTEGER_WEIGHTS = frozenset((
    "BATCH_MATMUL", "BIDIRECTIONAL_SEQUENCE_LSTM", "BIDIRECTIONAL_SEQUENCE_RNN", "CONV_2D", "DEPTHWISE_CONV_2D",
    "EMBEDDING_LOOKUP", "FULLY_CONNECTED", "LSTM", "PRELU", "RNN", "SVDF", "TRANSPOSE_CONV",
    "UNIDIRECTIONAL_SEQUENCE_LSTM", "UNIDIRECTIONAL_SEQUENCE_RNN",
))  # fmt: skip
"""Operators of real numbers whose weights may be integers."""
_INT16 = 7


class RealOperators(OwnOperators):
    """What a converter sees of an operator's tensors while it is computed so: none of them is quantized."""

    _real: dict[int, Any] | None = None
    """The quantized operands of that operator, None for others."""

    def is_computed_as_real(self, op: Any, name: str) -> bool:
        """Whether an operator has integers, and is computed of real numbers."""
        operands, results = self.get_input_tensors(op), self.get_output_tensors(op)
        quantized = [t for t in operands if t.qnn_params]
        if not quantized:
            return False
        if not any(t.qnn_params for t in results):
            return name in WITH_INTEGER_WEIGHTS
        is_int16 = results[0].tensor.Type() == _INT16
        return name in AS_REAL or (is_int16 and name in AS_REAL_OF_INT16)

    def as_real(self, op: Any, convert: Any) -> Expr:
        """The result of an operator, rounded to the output's steps if it has some."""
        outputs = self.get_output_tensors(op)
        self._real = {t.tensor_idx: t for t in self.get_input_tensors(op) if t.qnn_params}
        try:
            result = convert(op=op)
        finally:
            self._real = None
        if not any(t.qnn_params for t in outputs):
            return result
        if len(outputs) != 1:
            raise CompileError("it has several quantized outputs")
        return self.quantize(self.bb.emit(result), outputs[0])

    def get_tensors(self, tensors_idx_list: Any) -> list[Any]:
        """Without their scales, where numbers are real."""
        found: list[Any] = super().get_tensors(tensors_idx_list)
        if self._real is not None:
            for tensor in found:
                tensor.qnn_params = None
        return found

    def has_expr(self, input_tensor_idx: int) -> bool:
        """What is quantized has a value, if it is a constant, too."""
        return input_tensor_idx in (self._real or {}) or bool(super().has_expr(input_tensor_idx))

    def get_expr(self, input_tensor_idx: int) -> Expr:
        """The real numbers that a tensor stands for."""
        tensor = (self._real or {}).get(input_tensor_idx)
        if tensor is None:
            return super().get_expr(input_tensor_idx)
        if tensor.buffer.DataLength():
            return const(_numbers(tensor, self.get_tensor_value(tensor)))
        return self.bb.emit(self.dequantize(super().get_expr(input_tensor_idx), tensor))


def _numbers(tensor: Any, integers: NDArray[Any]) -> NDArray[Any]:
    scale, zero = (tensor.qnn_params[name].value.numpy() for name in ("scale", "zero_point"))
    if scale.ndim:
        shape = [1] * integers.ndim
        shape[tensor.qnn_params["axis"]] = -1
        scale = scale.reshape(shape)
    exact = (integers.astype(np.int64) - int(zero)) * scale.astype(np.float64)
    return np.asarray(exact, np.float32)
