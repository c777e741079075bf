"""Convolutions whose weights are no constants, as in training, as matrix products with what their windows see.

Forward and for the gradient of the data, a window's numbers lie in a column of the matrix, so that neighbours in
the image are neighbours in a row; for the gradient of the weights they lie in a row. K. Chellapilla et al., "High
Performance Convolutional Neural Networks for Document Processing", 2006.
"""

from __future__ import annotations

import math
from typing import Any

from tvm import relax, te, tirx

from tzml.compiler.codegen.kernels import matmul
from tzml.compiler.ir.rewrite import Expr, Sliding, shape_of, sliding_of
from tzml.compiler.passes.blocked_layout import OPAQUE, LayoutRewriter

op = relax.op

_WINDOWS = 128 << 10
"""Bytes that the windows of one product take at most, unless those of one image take more."""


def convolution(rewriter: LayoutRewriter, call: Any) -> Expr | None:
    """The result of a `conv2d` without groups; None for one in a layout that no gradient has."""
    if int(call.attrs.groups) != 1:
        return None
    layouts = str(call.attrs.data_layout), str(call.attrs.kernel_layout)
    if layouts == ("NCHW", "OIHW"):
        return _forward(rewriter, call)
    return _weight_gradient(rewriter, call) if layouts == ("CNHW", "IOHW") else None


def transposed(rewriter: LayoutRewriter, call: Any) -> Expr | None:
    """The result of a `conv2d_transpose` without groups: the gradient of a convolution's data."""
    if int(call.attrs.groups) != 1 or str(call.attrs.data_layout) != "NCHW":
        return None
    gradient, weights = map(rewriter.translate, call.args)
    _, c, *kernel = shape_of(weights)
    parts = _groups(rewriter, c * math.prod(kernel), gradient)
    return rewriter.concat([_data_gradient(rewriter, call, part, weights) for part in parts], 0)


def _data_gradient(rewriter: LayoutRewriter, call: Any, gradient: Expr, weights: Expr) -> Expr:
    n, o, out_h, out_w = shape_of(gradient)
    _, c, *kernel = shape_of(weights)
    depth, positions = c * math.prod(kernel), n * out_h * out_w
    by_channel = rewriter.emit(op.reshape(_swapped(rewriter, gradient), (o, positions)))
    turned = rewriter.emit(op.permute_dims(rewriter.emit(op.reshape(weights, (o, depth))), [1, 0]))
    columns = _product(rewriter, turned, by_channel)
    columns = rewriter.emit(op.reshape(columns, (c, *kernel, n, out_h, out_w)))
    slides, shape = sliding_of(call), (n, *shape_of(call)[1:])

    def add(x: Any) -> Any:
        taps = [te.reduce_axis((0, k), f"k{i}") for i, k in enumerate(kernel)]

        def value(image: Expr, channel: Expr, *at: Expr) -> Expr:
            shifted = [at[i] + slides.padding[i] - taps[i] * slides.dilation[i] for i in range(2)]
            places = [tirx.floordiv(s, step) for s, step in zip(shifted, slides.strides, strict=True)]
            inside = [
                tirx.all(s >= 0, p < size) for s, p, size in zip(shifted, places, (out_h, out_w), strict=True)
            ]
            inside += [tirx.floormod(s, n) == 0 for s, n in zip(shifted, slides.strides, strict=True) if n > 1]
            zero = tirx.const(0, "float32")
            return te.sum(tirx.if_then_else(tirx.all(*inside), x(channel, *taps, image, *places), zero), taps)

        return te.compute(shape, value, name="add_windows")

    return rewriter.call_te(add, columns, hint="add_windows", pattern=OPAQUE)


def _forward(rewriter: LayoutRewriter, call: Any) -> Expr:
    data, weights = map(rewriter.translate, call.args)
    parts = _groups(rewriter, math.prod(shape_of(weights)[1:]), data, shape_of(call))
    return rewriter.concat([_images(rewriter, call, part, weights) for part in parts], 0)


def _images(rewriter: LayoutRewriter, call: Any, data: Expr, weights: Expr) -> Expr:
    o, _, *kernel = shape_of(weights)
    n, c, *_ = shape_of(data)
    out = shape_of(call)[2:]
    slides = sliding_of(call)

    def element(channel: Expr, i: Expr, j: Expr, image: Expr, y: Expr, x: Expr) -> tuple[Expr, ...]:
        return image, channel, (y, x), (i, j)

    windows = _windows(rewriter, data, (c, *kernel, n, *out), element, slides)
    depth, positions = c * math.prod(kernel), n * math.prod(out)
    left = rewriter.emit(op.reshape(weights, (o, depth)))
    product = _product(rewriter, left, rewriter.emit(op.reshape(windows, (depth, positions))))
    return _swapped(rewriter, rewriter.emit(op.reshape(product, (o, n, *out))))


def _weight_gradient(rewriter: LayoutRewriter, call: Any) -> Expr:
    """In this convolution, the gradient of the result is the kernel, and images are what is summed over."""
    data, gradient = map(rewriter.translate, call.args)
    depth = math.prod(shape_of(call)[1:])
    images, gradients = (_groups(rewriter, depth, e, shape_of(gradient)) for e in (data, gradient))
    pairs = zip(images, gradients, strict=True)
    total, *others = (_weights_of(rewriter, call, *pair) for pair in pairs)
    for other in others:
        total = rewriter.emit(op.add(other, total))
    return rewriter.emit(op.reshape(total, shape_of(call)))


def _weights_of(rewriter: LayoutRewriter, call: Any, data: Expr, gradient: Expr) -> Expr:
    """What some images give to the gradient of the weights, as a matrix with a row for each channel."""
    n, c, *_ = shape_of(data)
    _, o, *out = shape_of(gradient)
    kernel = shape_of(call)[2:]
    strides, dilation, padding = sliding_of(call)

    def element(image: Expr, y: Expr, x: Expr, channel: Expr, i: Expr, j: Expr) -> tuple[Expr, ...]:
        return image, channel, (y, x), (i, j)

    slides = Sliding(dilation, strides, padding)  # those of the convolution that this is the gradient of
    windows = _windows(rewriter, data, (n, *out, c, *kernel), element, slides)
    depth, positions = c * math.prod(kernel), n * math.prod(out)
    left = rewriter.emit(op.reshape(_swapped(rewriter, gradient), (o, positions)))
    return _product(rewriter, left, rewriter.emit(op.reshape(windows, (positions, depth))))


def _groups(
    rewriter: LayoutRewriter, depth: int, images: Expr, result: tuple[int, ...] | None = None
) -> list[Expr]:
    """The images in groups of equal size, whose windows of `depth` numbers are not too many for one product.

    There is a window for each position of an image of the shape `result`.
    """
    each = depth * math.prod((result or shape_of(images))[2:]) * 4
    count = shape_of(images)[0]
    size = max(n for n in range(1, count + 1) if count % n == 0 and (n == 1 or n * each <= _WINDOWS))
    if size == count:
        return [images]
    parts = rewriter.emit(op.split(images, count // size, 0))
    return [rewriter.emit(relax.TupleGetItem(parts, i)) for i in range(count // size)]


def _windows(rewriter: LayoutRewriter, data: Expr, shape: tuple[int, ...], element: Any, slides: Sliding) -> Expr:
    """What the windows see. `element` gives image, channel, position and tap of an index of the result."""
    size = shape_of(data)[2:]

    def copy(x: Any) -> Any:
        def value(*index: Expr) -> Expr:
            image, channel, position, tap = element(*index)
            at = [
                position[i] * slides.strides[i] + tap[i] * slides.dilation[i] - slides.padding[i] for i in range(2)
            ]
            number = x(image, channel, *at)
            if not any(slides.padding):
                return number
            inside = [tirx.all(a >= 0, a < n) for a, n in zip(at, size, strict=True)]
            return tirx.if_then_else(tirx.all(*inside), number, tirx.const(0, "float32"))

        return te.compute(shape, value, name="windows")

    return rewriter.call_te(copy, data, hint="windows", pattern=OPAQUE)


def _product(rewriter: LayoutRewriter, left: Expr, right: Expr) -> Expr:
    product = matmul.describe(shape_of(left), shape_of(right), False, rewriter.lanes)
    if product is None:
        return rewriter.emit(op.matmul(left, right))
    return rewriter.kernel("matmul", matmul.define, left, right, product)


def _swapped(rewriter: LayoutRewriter, images: Expr) -> Expr:
    """Images and channels change places."""
    first, second, *size = shape_of(images)
    if 1 in (first, second):
        return rewriter.emit(op.reshape(images, (second, first, *size)))
    return rewriter.emit(op.permute_dims(images, [1, 0, 2, 3]))
