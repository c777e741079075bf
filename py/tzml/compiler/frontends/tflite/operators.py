"""TFLite's operators that TVM's converter does not know, or computes otherwise.

Indices from data are limited (frontends/positions.py).
"""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
from tvm import relax, te, tirx

from tzml.compiler.frontends.elements import bits_as, cumulative, power
from tzml.compiler.frontends.positions import (
    gather_batches,
    neutral,
    reverse_sequence,
    scatter_nd,
    top_k,
    update_slice,
)
from tzml.compiler.frontends.tflite.options import option
from tzml.compiler.ir.errors import CompileError
from tzml.compiler.ir.rewrite import Expr, const, dtype_of, shape_of
from tzml.compiler.ir.tvm_internals import tflite_converter

_COMPLEX = "no kernel computes complex numbers; compute them outside of the network"
_LISTS = "compile the network up to it, and run it on the outputs"
_TABLES = "look its keys up outside of the network"
_RANDOM = "an inference gives the same answer each time"
REFUSED = {
    **dict.fromkeys(("COMPLEX_ABS", "IMAG", "REAL", "RFFT2D"), _COMPLEX),
    **dict.fromkeys(("DETECTION_POSTPROCESS", "NON_MAX_SUPPRESSION_V4", "NON_MAX_SUPPRESSION_V5"), _LISTS),
    **dict.fromkeys(
        ("HASHTABLE", "HASHTABLE_FIND", "HASHTABLE_IMPORT", "HASHTABLE_LOOKUP", "HASHTABLE_SIZE"), _TABLES
    ),
    **dict.fromkeys(("MULTINOMIAL", "RANDOM_STANDARD_NORMAL", "RANDOM_UNIFORM"), _RANDOM),
    **dict.fromkeys(("UNIQUE", "WHERE"), "the shape of its output depends on the data"),
    "CONV_3D_TRANSPOSE": "there is no kernel for it",
    "DELEGATE": "it is another program's",
    "EMBEDDING_LOOKUP_SPARSE": "the shape of its output depends on the data",
    "PLACEHOLDER_FOR_GREATER_OP_CODES": "it is no operator",
    "TAN": "TFLite has no such operator",
}
"""Why there is no kernel for an operator that TVM's converter knows. WHERE with three operands is SELECT_V2."""
_SMALLEST_NORM = 1e-6


class OwnOperators(tflite_converter()):  # type: ignore[misc]
    """Functions of TVM's converter, each of an operator; what is quantized is left to TVM's, or refused."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.convert_map["POW"] = self.convert_pow
        self.convert_map["DYNAMIC_UPDATE_SLICE"] = self.convert_dynamic_update_slice
        self.convert_map["ATAN2"] = self.convert_atan2
        self.convert_map["RNN"] = self.convert_rnn
        self.convert_map["SEGMENT_SUM"] = self.convert_segment_sum
        for kind in ("MAX", "MIN", "PROD", "SUM"):
            self.convert_map[f"UNSORTED_SEGMENT_{kind}"] = self._convert_unsorted_segment

    def convert_squeeze(self, op: Any) -> Expr:
        """Of all axes that are 1, unless some are named."""
        (source,) = self.get_input_tensors(op)
        axes = self._dimensions(op, "SqueezeOptions", "SqueezeDimsAsNumpy")
        return relax.op.squeeze(self.get_tensor_expr(source), axes or None)

    def _convert_reduce(self, relax_op: Any, op: Any) -> Expr:
        """An axis counts once; means of integers are cut off, as TFLite's are."""
        source, _ = self.get_input_tensors(op)
        x = self.get_expr(source.tensor_idx)
        rank, kind = len(shape_of(x)), dtype_of(x)
        axes = sorted({axis % rank for axis in self._numbers(op, 1)})
        keep = bool(option(op, "ReducerOptions", "KeepDims"))
        (result,) = self.get_output_tensors(op)
        if source.qnn_params:
            x = self.bb.emit(self.dequantize(x, source))
        elif self.get_op_code_str(op) == "MEAN" and "int" in kind:
            count = math.prod(shape_of(x)[axis] for axis in axes)
            total = self.bb.emit(relax.op.sum(x, axes, keep))
            return self._quotient(total, count)
        reduced = relax_op(x, axes, keep)
        return self.quantize(self.bb.emit(reduced), result) if result.qnn_params else reduced

    def _quotient(self, total: Expr, count: int) -> Expr:
        """Cut off towards 0."""
        return self.bb.call_te(
            lambda t: te.compute(
                t.shape, lambda *at: tirx.truncdiv(t(*at), tirx.const(count, t.dtype)), name="mean"
            ),
            total,
            primfunc_name_hint="mean",
        )

    def _dimensions(self, op: Any, options: str, name: str) -> list[int]:
        found = option(op, options, name)
        return [int(n) for n in found] if isinstance(found, np.ndarray) else []

    def convert_split_v(self, op: Any) -> Expr:
        """One size may be what the others leave."""
        x = self.get_tensor_expr(self.get_input_tensors(op)[0])
        sizes, (axis,) = self._numbers(op, 1), self._numbers(op, 2)
        rest = shape_of(x)[axis] - sum(size for size in sizes if size >= 0)
        places = np.cumsum([rest if size < 0 else size for size in sizes])[:-1].tolist()
        parts = self.bb.emit(relax.op.split(x, places, axis)) if places else None
        return parts if parts is not None else x

    def convert_reverse_v2(self, op: Any) -> Expr:
        """Along several axes."""
        value = self.get_tensor_expr(self.get_input_tensors(op)[0])
        for axis in self._numbers(op, 1):
            value = self.bb.emit(relax.op.flip(value, axis))
        return value

    def convert_dynamic_update_slice(self, op: Any) -> Expr:
        """A part is replaced, which is moved to where it fits into the tensor."""
        x, update, start = self._given(op)
        return update_slice(self.bb, x, update, start)

    def convert_gather(self, op: Any) -> Expr:
        """Of each batch by its own indices."""
        batches = option(op, "GatherOptions", "BatchDims")
        if not batches:
            return super().convert_gather(op)
        x, places = self._given(op)
        return gather_batches(self.bb, x, places, option(op, "GatherOptions", "Axis"), batches)

    def convert_select(self, op: Any) -> Expr:
        """A condition of one axis may be that of the first one."""
        condition, one, other = self._given(op)
        rank = len(shape_of(one))
        is_old = self.get_op_code_str(op) == "SELECT"
        if is_old and len(shape_of(condition)) == 1 and rank > 1:
            shape = (shape_of(condition)[0], *[1] * (rank - 1))
            condition = self.bb.emit(relax.op.reshape(condition, shape))
        return relax.op.where(condition, one, other)

    def convert_bucketize(self, op: Any) -> Expr:
        """How many boundaries are not above a number."""
        (x,) = self._given(op)
        limits = np.asarray(option(op, "BucketizeOptions", "BoundariesAsNumpy"), dtype_of(x))
        above = self.bb.emit(relax.op.greater_equal(self.bb.emit(relax.op.expand_dims(x, -1)), const(limits)))
        return relax.op.sum(self.bb.emit(relax.op.astype(above, "int32")), -1)

    def convert_bitcast(self, op: Any) -> Expr:
        """Of types of one size."""
        (x,), (result,) = self._given(op), self.get_output_tensors(op)
        kind = self.get_tensor_type_str(result.tensor.Type())
        if np.dtype(dtype_of(x)).itemsize != np.dtype(kind).itemsize or "bool" in (kind, dtype_of(x)):
            raise CompileError(f"it makes {kind} of {dtype_of(x)}, which is of another size")
        return bits_as(self.bb, x, kind)

    def _segments(self, op: Any, reduction: str, count: int) -> Expr:
        x, places, *_ = self._given(op)
        kind, shape = dtype_of(x), (count, *shape_of(x)[1:])
        nothing = const(np.full(shape, neutral(reduction, kind)))
        index = self.bb.emit(relax.op.reshape(places, (*shape_of(places), 1)))
        return scatter_nd(self.bb, nothing, index, x, reduction)

    def convert_segment_sum(self, op: Any) -> Expr:
        """Sums of rows that have one number."""
        return self._segments(op, "add", max(self._numbers(op, 1)) + 1)

    def _convert_unsorted_segment(self, op: Any) -> Expr:
        name = self.get_op_code_str(op).rpartition("_")[2]
        if name in ("MAX", "MIN") and "float" in dtype_of(self._given(op)[0]):
            raise CompileError("a segment without rows would be infinite, and is the largest number in TFLite")
        return self._segments(op, {"SUM": "add", "PROD": "mul"}.get(name, name.lower()), self._numbers(op, 2)[0])

    def convert_sparse_to_dense(self, op: Any) -> Expr:
        """Numbers at places, and another number elsewhere."""
        places, _, values, rest = self.get_input_tensors(op)
        kind = self.get_tensor_type_str(values.tensor.Type())
        other = np.full(self._numbers(op, 1), self.get_tensor_value(rest).reshape(-1)[0], kind)
        return scatter_nd(self.bb, const(other), self.get_tensor_expr(places), self.get_tensor_expr(values), "none")

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
        edge = int(source.qnn_params["zero_point"].value.numpy()) if source.qnn_params else 0
        x, block, pads = self.get_tensor_expr(source), self._numbers(op, 1), self._numbers(op, 2)
        count, rank = len(block), len(shape_of(x))
        x = self.bb.emit(relax.op.nn.pad(x, [0, 0, *pads, *[0] * (2 * (rank - 1 - count))], pad_value=edge))
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

    def _resized_to_one(self, op: Any, name: str) -> Expr | None:
        """Of an axis of one pixel, with the corners aligned, the first pixel counts."""
        source, _ = self.get_input_tensors(op)
        size = self._numbers(op, 1)
        if not option(op, name, "AlignCorners") or 1 not in size:
            return None
        x = self.get_tensor_expr(source)
        for axis, wanted in enumerate(size, 1):
            if wanted == 1:
                x = self.bb.emit(relax.op.strided_slice(x, [axis], [0], [1]))
        if size == [1, 1]:
            return x
        raise CompileError("one of its sizes is 1, with the corners aligned")

    def convert_resize_bilinear(self, op: Any) -> Expr:
        """To one pixel, too."""
        one = self._resized_to_one(op, "ResizeBilinearOptions")
        return super().convert_resize_bilinear(op) if one is None else one

    def convert_resize_nearest_neighbor(self, op: Any) -> Expr:
        """Of two pixels that are as near, TFLite takes the second."""
        one = self._resized_to_one(op, "ResizeNearestNeighborOptions")
        if one is not None:
            return one
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
        result = relax.op.add(self.bb.emit(result), self.get_tensor_expr(bias[0])) if bias else result
        activation = option(op, "TransposeConvOptions", "FusedActivationFunction")
        return self.convert_fused_activation_function(self.bb.emit(result), activation)

    def convert_elu(self, op: Any) -> Expr:
        """Of real numbers."""
        (x,) = self._given(op)
        one, zero = (const(np.array(number, dtype_of(x))) for number in (1, 0))
        below = self.bb.emit(relax.op.exp(self.bb.emit(relax.op.minimum(x, zero))))
        return relax.op.where(relax.op.less(x, zero), relax.op.subtract(below, one), x)

    def convert_atan2(self, op: Any) -> Expr:
        """The angle of a point, in each quadrant."""
        y, x = self._given(op)
        zero, half_turn = (const(np.array(number, np.float32)) for number in (0, np.pi))
        angle = self.bb.emit(relax.op.atan(self.bb.emit(relax.op.divide(y, x))))
        turned = self.bb.emit(relax.op.where(relax.op.less(y, zero), relax.op.negative(half_turn), half_turn))
        angle = self.bb.emit(relax.op.where(relax.op.less(x, zero), relax.op.add(angle, turned), angle))
        both = self.bb.emit(relax.op.logical_and(relax.op.equal(x, zero), relax.op.equal(y, zero)))
        return relax.op.where(both, zero, angle)

    def convert_pow(self, op: Any) -> Expr:
        """Of integers, too."""
        return power(self.bb, *self._given(op))
