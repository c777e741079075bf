"""Layers of integers, as calls of the kernels for them. Images lie as [N][H][W][C]: in one block of channels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from tvm import relax, te, tirx

from tzml.compiler.codegen.kernels import integer_gemm, integer_window
from tzml.compiler.codegen.kernels.integer_gemm import IntegerGemm
from tzml.compiler.codegen.kernels.integer_window import IntegerWindow
from tzml.compiler.codegen.kernels.window import Window
from tzml.compiler.ir.rewrite import Expr, dtype_of, op_name, pair, shape_of, sliding_of
from tzml.compiler.passes.blocked_layout import ELEMENTWISE, Blocked, LayoutRewriter, nchw_shape
from tzml.compiler.passes.find_integer_layers import IntegerLayer, Move

_MAGIC = 12582912.0
"""1.5 · 2^23: a float32 near it has no fraction, so that adding it rounds, halves to even."""


def integer_layer(rewriter: LayoutRewriter, found: IntegerLayer | Move, limit: int | None) -> Expr | Blocked:
    """What stands for the result; weights above `limit` bytes are split along the outputs."""
    if isinstance(found, Move):
        return _move(rewriter, found)
    parts = [found] if limit is None else found.parts(limit)
    results = [_layer(rewriter, part) for part in parts]
    if len(results) == 1:
        return results[0]
    tensors = [result.data if isinstance(result, Blocked) else result for result in results]
    whole = rewriter.concat(tensors, len(shape_of(tensors[0])) - 1)
    if isinstance(results[0], Blocked):
        return Blocked(whole, len(found.weights), results[0].channels_last)
    return whole


def _layer(rewriter: LayoutRewriter, found: IntegerLayer) -> Expr | Blocked:
    zero = found.given.zero - (128 if found.given.dtype == "uint8" else 0)
    axes = tuple(range(1, found.weights.ndim))
    bias = _kept(
        rewriter, found, "bias",
        lambda: (found.bias - zero * found.weights.sum(axes, dtype=np.int64)).astype(np.int32),
    )  # fmt: skip
    narrow = int(found.weights.min()) > -128
    if found.weights.ndim == 2:
        return _dense(rewriter, found, bias, narrow)
    layout = str(found.call.attrs.data_layout)
    last = layout == "NHWC"
    n, c, h, w = nchw_shape(shape_of(found.call.args[0]), last)
    out_channels, _, *kernel = found.weights.shape
    out_size = nchw_shape(shape_of(found.call), last)[2:]
    slides = sliding_of(found.call)
    window = Window((h, w), out_size, pair(kernel), slides.strides, slides.dilation, slides.padding[:2])
    data = rewriter.to_blocked(found.data, c, last).data
    # the last operand: the zero point, for what is outside the image
    outside = [_kept(rewriter, found, "outside", lambda: np.array([zero], np.int8))] if window.is_padded else []
    if found.is_depthwise:
        weights = _kept(rewriter, found, "depthwise", lambda: found.weights[:, 0].transpose(1, 2, 0))
        depthwise = IntegerWindow("depthwise", window, n, c, narrow=narrow)
        total = rewriter.kernel(
            "integer_depthwise",
            lambda data, *operands: integer_window.define(data, depthwise, *operands),
            data, weights, bias, *outside,
        )  # fmt: skip
    else:
        weights = _kept(rewriter, found, "conv2d", lambda: found.weights.transpose(0, 2, 3, 1))
        gemm = IntegerGemm((n, 1, *out_size, out_channels), window, n, c, narrow)
        total = rewriter.kernel(
            "integer_conv2d",
            lambda data, *operands: integer_gemm.define(data, gemm, *operands),
            data, weights, bias, *outside,
        )  # fmt: skip
    return Blocked(_requantize(rewriter, total, found), out_channels, last)


def _kept(rewriter: LayoutRewriter, found: IntegerLayer, name: str, compute: Callable[[], Any]) -> Expr:
    """A constant of a layer, which the strips that it is computed in share."""
    return rewriter.derived((name, found.part), found.origin, compute)


def integer_max_pool(rewriter: LayoutRewriter, call: Any, data: Expr) -> Blocked | None:
    """`call`, a maximum pooling, of the int8 tensor `data`."""
    last, kernel = str(call.attrs.layout) == "NHWC", pair(call.attrs.pool_size)
    if dtype_of(data) != "int8" or str(call.attrs.layout) not in ("NCHW", "NHWC"):
        return None
    n, c, h, w = nchw_shape(shape_of(data), last)
    out_size = nchw_shape(shape_of(call), last)[2:]
    slides = sliding_of(call)
    window = Window((h, w), out_size, kernel, slides.strides, slides.dilation, slides.padding[:2])
    pool = IntegerWindow("max", window, n, c)
    image = rewriter.to_blocked(data, c, last).data
    return Blocked(rewriter.kernel("integer_max_pool", integer_window.define, image, pool), c, last)


def _dense(rewriter: LayoutRewriter, found: IntegerLayer, bias: Expr, narrow: bool) -> Expr:
    data = rewriter.translate(found.data)
    *leading, depth = shape_of(data)
    shape = (*leading, len(found.weights))
    size = (1, int(np.prod(leading)))
    window = Window(size, size, (1, 1), (1, 1), (1, 1), (0, 0))
    gemm = IntegerGemm(shape, window, 1, depth, narrow)
    weights = _kept(rewriter, found, "dense", lambda: found.weights[:, None, None])
    total = rewriter.kernel(
        "integer_matmul", lambda data, *operands: integer_gemm.define(data, gemm, *operands), data, weights, bias
    )
    return _requantize(rewriter, total, found)


def _requantize(rewriter: LayoutRewriter, total: Expr, found: IntegerLayer) -> Expr:
    """Sums of products as integers of the layer's result: times a float32 scale, rounded, halves to even."""
    zero, dtype = found.result.zero, found.result.dtype

    def requantize(sums: Any, scale: Any, low: Any, high: Any, zero: Any) -> Any:
        def element(*index: Expr) -> Expr:
            value = sums(*index).astype("float32") * scale(index[-1])
            value = te.max(te.min(value, high()), low())
            bits = tirx.reinterpret("int32", value + tirx.FloatImm("float32", _MAGIC))
            return bits.astype(dtype) + zero()  # wraps as it should: the sum is within the limits

        return te.compute(sums.shape, element, name="requantize")

    operands = [
        _kept(rewriter, found, "scale", lambda: found.scale),
        _kept(rewriter, found, "low", lambda: np.float32(found.low - zero)),
        _kept(rewriter, found, "high", lambda: np.float32(found.high - zero)),
        _kept(rewriter, found, "zero", lambda: np.asarray(zero, dtype)),
    ]
    return rewriter.call_te(requantize, total, *operands, hint="requantize", pattern=ELEMENTWISE)


def _move(rewriter: LayoutRewriter, found: Move) -> Expr | Blocked:
    if found.call is None:
        return rewriter.as_blocked(found.data) or rewriter.translate(found.data)
    if op_name(found.call) == "relax.nn.max_pool2d":
        result = integer_max_pool(rewriter, found.call, found.data)
        if result is not None:
            return result
    arguments = [rewriter.translate(found.data), *map(rewriter.translate, found.call.args[1:])]
    return relax.Call(found.call.op, arguments, found.call.attrs, found.call.ty_args)
