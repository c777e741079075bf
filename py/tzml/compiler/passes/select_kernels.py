"""Which kernel computes an operator of a model, in which layout.

Each handler takes a call of the model's function and returns what stands for its result, `Blocked` or
plain, or None for an operator, shape or type that tzml has no kernel for: that one stays as it is, in
the model's layout, and TVM's own definition is compiled.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tvm import relax

from tzml.compiler.codegen.build_graph import JOIN
from tzml.compiler.codegen.kernels import concat, conv, matmul, stencil
from tzml.compiler.ir.operators import is_elementwise
from tzml.compiler.ir.rewrite import (
    Expr,
    Sliding,
    const,
    constant,
    dtype_of,
    ints,
    is_tensor,
    op_name,
    pair,
    shape_of,
    sliding_of,
)
from tzml.compiler.passes.blocked_layout import OPAQUE, Blocked, LayoutRewriter, block_array, block_for
from tzml.compiler.passes.blocked_layout import nchw_shape as nchw
from tzml.compiler.passes.find_integer_layers import IntegerLayers
from tzml.compiler.passes.select_integer_kernels import integer_layer, integer_max_pool
from tzml.compiler.passes.variable_convolutions import convolution, transposed

_PLANAR = 4
"""Images with at most so many channels, as at a network's input, are read as they lie."""
_STANDING = Sliding((1, 1), (1, 1), (0, 0, 0, 0))
_UNROLLED = 64
"""Windows of more positions have no kernel, but for those that cover the whole image."""


def choose_kernels(module: Any, lanes: int, weights_limit: int | None = None) -> Any:
    """The module with `main` rewritten for kernels with vectors of that many float32 lanes.

    Its parameters and results have the same shapes, dtypes and order as before; between them, images lie in blocks
    of channels. Layers of integers are split where their weights take more than `weights_limit` bytes.
    """
    return relax.transform.DeadCodeElimination(["main"])(KernelSelector(module, lanes, weights_limit).run())


class KernelSelector(LayoutRewriter):
    """Rebuilds a function of operators with calls of tensor functions that kernels are written for."""

    def __init__(self, module: Any, lanes: int, weights_limit: int | None) -> None:
        super().__init__(module, lanes)
        self.weights_limit = weights_limit
        self.integer = IntegerLayers(module["main"])

    def call(self, variable: Any, call: Any) -> Expr | None:
        if variable in self.integer.inside or self.integer.is_constant(variable):
            return None
        result = self.integer_result(variable, call)
        handler = _elementwise if is_elementwise(call) else HANDLERS.get(op_name(call))
        is_float = hasattr(call.ty, "dtype") and dtype_of(call) == "float32"
        if result is None and handler and (is_float or handler in _OF_ANY_TYPE):
            result = handler(self, call)
        if result is None:
            return super().call(variable, call)
        if isinstance(result, Blocked):
            self.blocked[variable] = result
            return None
        return self.emit(result)

    def translate(self, expression: Expr) -> Expr:
        missing = isinstance(expression, relax.Var) and not (
            expression in self.values or expression in self.blocked
        )
        if missing and self.integer.is_constant(expression):  # weights of a layer that is not of integers
            real = self.integer.real_constant(expression)
            if real is not None:
                self.values[expression] = const(real.astype(dtype_of(expression)))
        return super().translate(expression)

    def integer_result(self, variable: Any, call: Any) -> Expr | Blocked | None:
        """The result of a layer of integers."""
        if variable in self.integer.found:
            return integer_layer(self, self.integer.found[variable], self.weights_limit)
        if op_name(call) == "relax.nn.max_pool2d" and dtype_of(call) == "int8":
            return integer_max_pool(self, call, call.args[0])
        return None

    def image(self, expression: Expr, channels_last: bool = False) -> Blocked:
        """An operand in vectors of channels, whichever it has by now."""
        known = self.as_blocked(expression)
        if known and known.block <= self.lanes:
            return known
        channels = nchw(shape_of(expression), channels_last)[1]
        return self.to_blocked(expression, block_for(channels, self.lanes), channels_last)


Handler = Callable[[KernelSelector, Any], Expr | None]


def _conv2d(rewriter: KernelSelector, call: Any) -> Expr | None:
    given, layout = rewriter.translate(call.args[1]), str(call.attrs.data_layout)
    known = constant(given)
    if known is None:
        return convolution(rewriter, call)
    if layout not in ("NCHW", "NHWC"):
        return None
    last = layout == "NHWC"
    order = tuple(str(call.attrs.kernel_layout).index(letter) for letter in "OIHW")
    weights = known.transpose(order)
    kept = rewriter.derived(("transpose", order), [given], lambda: weights)
    n, c, h, w = nchw(shape_of(call.args[0]), last)
    groups, out_channels, kernel = int(call.attrs.groups), weights.shape[0], pair(weights.shape[2:])
    slides = sliding_of(call)
    out_block = block_for(out_channels, rewriter.lanes)
    if groups > 1 and groups == c == out_channels:
        if math.prod(kernel) > _UNROLLED:
            return None
        data = rewriter.image(call.args[0], last)
        out_size = nchw(shape_of(call), last)[2:]
        blocks = shape_of(data.data)[1]
        depthwise = stencil.Stencil("depthwise", n, blocks, data.block, (h, w), out_size, kernel, *slides)
        return Blocked(rewriter.kernel("depthwise", stencil.define, data.data, kept, depthwise), c, last)
    if groups > 1:
        in_block, out_block = (math.gcd(rewriter.lanes, count // groups) for count in (c, out_channels))
        data = rewriter.to_blocked(call.args[0], in_block, last)
    elif c <= _PLANAR and not rewriter.as_blocked(call.args[0]):
        data = rewriter.to_blocked(call.args[0], c if last else 1, last)
    else:
        data = rewriter.image(call.args[0], last)
    described = conv.Conv2d(n, c, data.block, (h, w), out_channels, out_block, kernel, *slides, groups)
    return Blocked(rewriter.kernel("conv2d", conv.define, data.data, kept, described), out_channels, last)


def _conv2d_transpose(rewriter: KernelSelector, call: Any) -> Expr | None:
    return transposed(rewriter, call) if constant(rewriter.translate(call.args[1])) is None else None


def _pool2d(kind: str) -> Handler:
    def handler(rewriter: KernelSelector, call: Any) -> Expr | None:
        attributes = call.attrs
        layout, kernel = str(attributes.layout), pair(attributes.pool_size)
        if layout not in ("NCHW", "NHWC") or math.prod(kernel) > _UNROLLED:
            return None
        out_size = nchw(shape_of(call), layout == "NHWC")[2:]
        count_padding = kind == "avg" and bool(attributes.count_include_pad)
        return _stencil(
            rewriter, kind, call.args[0], layout == "NHWC", out_size, kernel, sliding_of(call), count_padding
        )

    return handler


def _stencil(
    rewriter: KernelSelector,
    kind: str,
    image: Expr,
    last: bool,
    out_size: tuple[int, int],
    kernel: tuple[int, int],
    slides: Sliding = _STANDING,
    count_padding: bool = False,
) -> Blocked:
    """A pooling; without `slides`, of an image as large as its window."""
    data = rewriter.image(image, last)
    n, blocks, h, w, block = shape_of(data.data)
    described = stencil.Stencil(kind, n, blocks, block, (h, w), out_size, kernel, *slides, count_padding)
    return Blocked(rewriter.kernel(f"{kind}_pool", stencil.define_pool, data.data, described), data.channels, last)


def _mean(rewriter: KernelSelector, call: Any) -> Expr | None:
    """A mean over an image's height and width."""
    shape = shape_of(call.args[0])
    axes = sorted(axis % len(shape) for axis in ints(call.attrs.axis or []))
    if len(shape) != 4 or axes not in ([2, 3], [1, 2]):
        return None
    known = rewriter.as_blocked(call.args[0])
    last = axes == [1, 2]
    if last != bool(known.channels_last if known else last):
        return None
    size = nchw(shape, last)[2:]
    result = _stencil(rewriter, "avg", call.args[0], last, (1, 1), size)
    return result if call.attrs.keepdims else relax.op.reshape(rewriter.to_plain(result), shape_of(call))


def _adaptive_avg_pool2d(rewriter: KernelSelector, call: Any) -> Expr | None:
    last = str(call.attrs.layout) == "NHWC"
    size, out_size = (nchw(shape_of(tensor), last)[2:] for tensor in (call.args[0], call))
    if str(call.attrs.layout) not in ("NCHW", "NHWC"):
        return None
    if size == out_size:
        return rewriter.as_blocked(call.args[0]) or rewriter.translate(call.args[0])
    return _stencil(rewriter, "avg", call.args[0], last, (1, 1), size) if out_size == (1, 1) else None


def _concat(rewriter: KernelSelector, call: Any) -> Expr | None:
    fields = getattr(call.args[0], "fields", [])
    parts = [rewriter.as_blocked(field) for field in fields]
    first = next((part for part in parts if part), None)
    if first is None:
        return None
    along = _letter(first, int(call.attrs.axis))
    alike = all(p and (p.block, p.channels_last) == (first.block, first.channels_last) for p in parts)
    if along == "H" and alike:
        return replace(first, data=rewriter.emit(relax.op.concat([part.data for part in parts if part], 2)))
    if along != "C" or not (alike or dtype_of(call) == "float32"):
        return None
    blocked = [rewriter.to_blocked(field, first.block, first.channels_last) for field in fields]
    if first.batch != 1 or not all(part.is_full for part in blocked[:-1]):
        return None
    channels = sum(part.channels for part in blocked)
    data = rewriter.call_te(
        concat.define, *(part.data for part in blocked), hint="concat", pattern=OPAQUE, **{JOIN: 1}
    )
    return Blocked(data, channels, first.channels_last)


def _strided_slice(rewriter: KernelSelector, call: Any) -> Expr | None:
    """Some rows of an image, or whole blocks of its channels."""
    image, others = rewriter.as_blocked(call.args[0]), [_numbers(argument) for argument in call.args[1:]]
    if image is None or len(others) != 3 or [len(numbers) for numbers in others] != [1, 1, 1]:
        return None
    [axis], [first], [end] = others
    along = _letter(image, axis)
    if along == "H":
        return replace(image, data=rewriter.emit(relax.op.strided_slice(image.data, [2], [first], [end])))
    if along != "C" or first % image.block or end % image.block or not 0 <= first < end <= image.channels:
        return None
    blocks = [first // image.block], [end // image.block]
    data = rewriter.emit(relax.op.strided_slice(image.data, [1], *blocks))
    return replace(image, data=data, channels=end - first)


def _letter(image: Blocked, axis: int) -> str:
    """What an axis of an image, as the model knows it, is: of N, C, H and W."""
    return ("NHWC" if image.channels_last else "NCHW")[axis]


def _numbers(expression: Any) -> list[int]:
    """Of an argument such as the axes of a slice."""
    return [int(field.value) for field in expression.fields]


def _elementwise(rewriter: KernelSelector, call: Any) -> Expr | None:
    """An element-wise operator of an image, and of others that can be brought into its layout."""
    shape = shape_of(call)
    images = [known for known in map(rewriter.as_blocked, call.args) if known and known.shape == shape]
    if not images:
        return None
    operands = [_like(rewriter, images[0], argument) for argument in call.args]
    if any(operand is None for operand in operands):
        return None
    result = relax.Call(call.op, operands, call.attrs, call.ty_args)
    return Blocked(rewriter.emit(result), images[0].channels, images[0].channels_last)


def _like(rewriter: KernelSelector, image: Blocked, expression: Expr) -> Expr | None:
    """An operand of an element-wise operator with an image, in that image's layout."""
    if not is_tensor(expression):
        return expression
    shape, array = shape_of(expression), constant(expression)
    if array is not None:
        if array.size == 1:
            return rewriter.derived("scalar", [expression], lambda: array.reshape(()))
        four = array.reshape((1,) * (4 - array.ndim) + array.shape)
        how = ("block", image.block, image.channels_last)
        return rewriter.derived(how, [expression], lambda: block_array(four, image.block, image.channels_last))
    if len(shape) != 4 or nchw(shape, image.channels_last)[1] != image.channels:
        return None
    known = rewriter.as_blocked(expression)
    if known and known.channels_last != image.channels_last:
        return None
    return rewriter.to_blocked(expression, image.block, image.channels_last).data


def _matmul(rewriter: KernelSelector, call: Any) -> Expr | None:
    data, weights = map(rewriter.translate, call.args)
    product = matmul.describe(shape_of(data), shape_of(weights), constant(weights) is not None, rewriter.lanes)
    if product is None or dtype_of(data) != "float32":
        return None
    return rewriter.kernel("matmul", matmul.define, data, weights, product)


HANDLERS: dict[str, Handler] = {
    "relax.concat": _concat,
    "relax.matmul": _matmul,
    "relax.mean": _mean,
    "relax.nn.adaptive_avg_pool2d": _adaptive_avg_pool2d,
    "relax.nn.avg_pool2d": _pool2d("avg"),
    "relax.nn.conv2d": _conv2d,
    "relax.nn.conv2d_transpose": _conv2d_transpose,
    "relax.nn.max_pool2d": _pool2d("max"),
    "relax.strided_slice": _strided_slice,
}
_OF_ANY_TYPE = (_concat, _elementwise, _strided_slice)
