"""TFLite's operators that TVM's converter does not know, or computes otherwise.

Indices from data are limited (frontends/positions.py).
"""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
from tvm import relax

from tzml.compiler.frontends.elements import cumulative, power
from tzml.compiler.frontends.positions import reverse_sequence, scatter_nd, top_k
from tzml.compiler.frontends.tflite.options import option
from tzml.compiler.ir.errors import CompileError
from tzml.compiler.ir.rewrite import Expr, const, dtype_of, shape_of
from tzml.compiler.ir.tvm_internals import tflite_converter

REFUSED = {
    "ATAN2": "the TEE has no function for it",
    "UNIQUE": "the shape of its output depends on the data",
    "WHERE": "the shape of its output depends on the data",
}
"""Why there is no kernel for an operator that TVM's converter knows. WHERE with three operands is SELECT_V2."""
_SMALLEST_NORM = 1e-6


class OwnOperators(tflite_converter()):  # type: ignore[misc]
    """Functions of TVM's converter, each of an operator; what is quantized is left to TVM's, or refused."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.convert_map["POW"] = self.convert_pow

    def _given(self, op: Any) -> list[Expr]:
        return [self.get_tensor_expr(tensor) for tensor in self.get_input_tensors(op)]

    def _numbers(self, op: Any, position: int) -> list[int]:
        """An operand that has to be known."""
        value = self.get_tensor_value(self.get_input_tensors(op)[position])
        return [int(n) for n in np.asarray(value).reshape(-1)]

    def convert_gather_nd(self, op: Any) -> Expr:
        """The last axis of the indices is that of a place, which TVM's converter puts first."""
        data, places = self._given(op)
        return relax.op.gather_nd(data, self.bb.emit(relax.op.astype(places, "int64")))

    def convert_scatter_nd(self, op: Any) -> Expr:
        """Updates of one place are added, to zeros."""
        places, updates, _ = self.get_input_tensors(op)
        zeros = const(np.zeros(self._numbers(op, 2), self.get_tensor_type_str(updates.tensor.Type())))
        return scatter_nd(self.bb, zeros, self.get_tensor_expr(places), self.get_tensor_expr(updates), "add")

    def convert_topk_v2(self, op: Any) -> Expr:
        """Along the last axis."""
        x = self.get_tensor_expr(self.get_input_tensors(op)[0])
        (count,) = self._numbers(op, 1)
        values, places = top_k(self.bb, x, count).fields
        return relax.Tuple([values, self.bb.emit(relax.op.astype(places, "int32"))])

    def convert_reverse_sequence(self, op: Any) -> Expr:
        """Of sequences of several lengths."""
        time, batch = (option(op, "ReverseSequenceOptions", f"{which}Dim") for which in ("Seq", "Batch"))
        x, lengths = self._given(op)
        return reverse_sequence(self.bb, x, lengths, time, batch)

    def convert_embedding_lookup(self, op: Any) -> Expr:
        """The indices come first."""
        places, table = self._given(op)
        return relax.op.take(table, places, axis=0)

    def convert_cumsum(self, op: Any) -> Expr:
        """Of numbers that are not quantized."""
        if self.is_quantized(op):
            raise CompileError("it is quantized")
        x, axis = self.get_tensor_expr(self.get_input_tensors(op)[0]), self._numbers(op, 1)[0]
        about = {name.lower(): bool(option(op, "CumsumOptions", name)) for name in ("Exclusive", "Reverse")}
        return cumulative(self.bb, x, axis, "sum", **about)

    def convert_mirror_pad(self, op: Any) -> Expr:
        """With or without the numbers at the edge; each axis is read at places that are known."""
        source, _ = self.get_input_tensors(op)
        value = self.get_tensor_expr(source)
        mode: Literal["symmetric", "reflect"] = "symmetric" if option(op, "MirrorPadOptions", "Mode") else "reflect"
        pads = np.reshape(self._numbers(op, 1), (-1, 2))
        for axis, (before, after) in enumerate(pads.tolist()):
            if before or after:
                places = np.pad(np.arange(shape_of(value)[axis]), (before, after), mode=mode)
                value = self.bb.emit(relax.op.take(value, const(places), axis=axis, mode="clip"))
        return value

    def convert_space_to_batch_nd(self, op: Any) -> Expr:
        """Pixels of a block become images; a block lies behind the batch."""
        source, _, _ = self.get_input_tensors(op)
        if source.qnn_params:
            return super().convert_space_to_batch_nd(op)
        x, block, pads = self.get_tensor_expr(source), self._numbers(op, 1), self._numbers(op, 2)
        count, rank = len(block), len(shape_of(x))
        x = self.bb.emit(relax.op.nn.pad(x, [0, 0, *pads, *[0] * (2 * (rank - 1 - count))]))
        batch, *sizes = shape_of(x)
        parts = [batch, *(n for size, b in zip(sizes, block, strict=False) for n in (size // b, b)), *sizes[count:]]
        x = self.bb.emit(relax.op.reshape(x, parts))
        inner, outer = (range(start, 2 * count + 1, 2) for start in (2, 1))
        x = self.bb.emit(relax.op.permute_dims(x, [*inner, 0, *outer, *range(2 * count + 1, len(parts))]))
        small = [size // b for size, b in zip(sizes, block, strict=False)]
        return relax.op.reshape(x, (batch * math.prod(block), *small, *sizes[count:]))

    def convert_batch_to_space_nd(self, op: Any) -> Expr:
        """The other way round, and without the edges."""
        source, _, _ = self.get_input_tensors(op)
        if source.qnn_params:
            return super().convert_batch_to_space_nd(op)
        x, block, crops = self.get_tensor_expr(source), self._numbers(op, 1), self._numbers(op, 2)
        batch, *sizes = shape_of(x)
        count, images = len(block), batch // math.prod(block)
        x = self.bb.emit(relax.op.reshape(x, (*block, images, *sizes)))
        order = [count, *(i for k in range(count) for i in (count + 1 + k, k))]
        x = self.bb.emit(relax.op.permute_dims(x, [*order, *range(2 * count + 1, count + 1 + len(sizes))]))
        large = [size * b for size, b in zip(sizes, block, strict=False)]
        x = self.bb.emit(relax.op.reshape(x, (images, *large, *sizes[count:])))
        if not any(crops):
            return x
        axes = list(range(1, count + 1))
        ends = [size - crops[2 * k + 1] for k, size in enumerate(large)]
        return relax.op.strided_slice(x, axes, crops[::2], ends)

    def _diagonal(self, diagonal: Expr, other: Expr) -> Expr:
        rows, columns = (shape_of(other)[-2:]) if shape_of(other) else (shape_of(diagonal)[-1],) * 2
        spread = relax.op.expand_dims(diagonal, -1 if rows <= columns else -2)
        return relax.op.where(const(np.eye(rows, columns, dtype=bool)), spread, other)

    def convert_matrix_diag(self, op: Any) -> Expr:
        """A diagonal, and zeros."""
        (diagonal,) = self._given(op)
        return self._diagonal(diagonal, const(np.zeros((), dtype_of(diagonal))))

    def convert_matrix_set_diag(self, op: Any) -> Expr:
        """A matrix with another diagonal."""
        matrix, diagonal = self._given(op)
        return self._diagonal(diagonal, matrix)

    def convert_l2_normalization(self, op: Any) -> Expr:
        """Along the last axis; a norm is 1e-6 at least."""
        if self.is_quantized(op):
            return super().convert_l2_normalization(op)
        (x,) = self._given(op)
        squares = self.bb.emit(relax.op.sum(relax.op.multiply(x, x), -1, keepdims=True))
        norm = relax.op.maximum(relax.op.sqrt(squares), const(np.array(_SMALLEST_NORM, np.float32)))
        return self._activated(relax.op.divide(x, norm), option(op, "L2NormOptions", "FusedActivationFunction"))

    def _activated(self, value: Expr, activation: int) -> Expr:
        if activation:
            raise CompileError(f"its activation {activation} is not understood")
        return value

    def convert_resize_nearest_neighbor(self, op: Any) -> Expr:
        """Of two pixels that are as near, TFLite takes the second."""
        result = super().convert_resize_nearest_neighbor(op)
        if not option(op, "ResizeNearestNeighborOptions", "AlignCorners"):
            return result
        size = shape_of(self.bb.normalize(result))[1:3]
        return relax.op.image.resize2d(
            result.args[0], size, None, "NHWC", "nearest_neighbor", "align_corners", "round_prefer_ceil"
        )

    def convert_transpose_conv(self, op: Any) -> Expr:
        """With the channels first, as the compiler has it; what padding leaves out is that of the convolution."""
        _, weights, source, *bias = self.get_input_tensors(op)
        if source.qnn_params or source.tensor.Type() != 0:
            return super().convert_transpose_conv(op)
        x, kernel = self.get_tensor_expr(source), self.get_tensor_expr(weights)
        sizes, window, wanted = shape_of(x)[1:3], shape_of(kernel)[1:3], self._numbers(op, 0)[1:3]
        strides = [option(op, "TransposeConvOptions", f"Stride{axis}") for axis in "HW"]
        less = [(n - 1) * s + k - out for n, s, k, out in zip(sizes, strides, window, wanted, strict=True)]
        more = [max(0, -n) for n in less]
        if any(n >= s for n, s in zip(more, strides, strict=True)):
            raise CompileError(f"its output is {wanted}, which is more than its windows make")
        before = [max(0, n) // 2 for n in less]
        after = [max(0, n) - b for n, b in zip(less, before, strict=True)]
        image = self.bb.emit(relax.op.permute_dims(x, [0, 3, 1, 2]))
        kernel = self.bb.emit(relax.op.permute_dims(kernel, [3, 0, 1, 2]))
        result = relax.op.nn.conv2d_transpose(
            image, kernel, strides=strides, padding=[*before, *after], output_padding=more
        )
        result = relax.op.permute_dims(self.bb.emit(result), [0, 2, 3, 1])
        return relax.op.add(self.bb.emit(result), self.get_tensor_expr(bias[0])) if bias else result

    def convert_pow(self, op: Any) -> Expr:
        """Of integers, too."""
        return power(self.bb, *self._given(op))
