"""ONNX's operators that TVM's importer does not know, or computes otherwise, in Relax.

Each is a function of the block builder, of the inputs, None where one is left out, and of the attributes. What it
leaves to TVM's importer after all, it says by None.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from tvm import relax, te, tirx

from tzml.compiler.frontends.elements import broadcast, cumulative
from tzml.compiler.frontends.onnx.arithmetic import ARITHMETIC
from tzml.compiler.frontends.onnx.blocked import BLOCKED
from tzml.compiler.frontends.onnx.heed import known_number
from tzml.compiler.frontends.onnx.positions import POSITIONS
from tzml.compiler.frontends.onnx.recurrent import RECURRENT
from tzml.compiler.frontends.onnx.resize import RESIZE
from tzml.compiler.frontends.onnx.signals import SIGNALS
from tzml.compiler.frontends.onnx.windows import WINDOW_OPERATORS
from tzml.compiler.ir.errors import CompileError
from tzml.compiler.ir.rewrite import const, dtype_of, shape_of

Expr = Any


def _thresholded_relu(_: Any, inputs: Any, attributes: Any) -> Expr:
    """TVM multiplies by 0 instead, which makes NaN of what is infinite."""
    x, kind = inputs[0], dtype_of(inputs[0])
    alpha, zero = (const(np.asarray(number, kind)) for number in (attributes.get("alpha", 1.0), 0))
    return relax.op.where(relax.op.greater(x, alpha), x, zero)


def _one_hot(builder: Any, inputs: Any, attributes: Any) -> Expr:
    """TVM wants a depth of rank 0, and constant values. An index out of range has the first value everywhere."""
    indices, depth, values = (inputs[i] for i in range(3))
    size, kind = known_number(depth), dtype_of(indices)
    rank = len(shape_of(indices)) + 1
    axis = attributes.get("axis", -1) % rank
    index = builder.emit(relax.op.expand_dims(indices, axis))
    number = const(np.asarray(size, kind))
    index = relax.op.where(relax.op.less(index, const(np.asarray(0, kind))), relax.op.add(index, number), index)
    places = np.arange(size).astype(kind).reshape([-1 if i == axis else 1 for i in range(rank)])
    off, on = (relax.op.strided_slice(values, [0], [i], [i + 1]) for i in (0, 1))
    chosen = builder.emit(relax.op.equal(index, const(places)))
    return relax.op.where(chosen, on, off)


def _cumulative(name: str) -> Callable[..., Expr]:
    def convert(builder: Any, inputs: Any, attributes: Any) -> Expr:
        reverse, exclusive = (bool(attributes.get(which, 0)) for which in ("reverse", "exclusive"))
        return cumulative(builder, inputs[0], known_number(inputs[1]), name, reverse=reverse, exclusive=exclusive)

    return convert


def _lp_normalization(builder: Any, inputs: Any, attributes: Any) -> Expr:
    """Where the norm is 0, so is the result."""
    x, axis, p = inputs[0], attributes.get("axis", -1), attributes.get("p", 2)
    powers = relax.op.abs(x) if p == 1 else relax.op.multiply(x, x)
    norm = builder.emit(relax.op.sum(powers, axis, keepdims=True))
    norm = norm if p == 1 else builder.emit(relax.op.sqrt(norm))
    zero, one = (const(np.asarray(number, dtype_of(x))) for number in (0, 1))
    return relax.op.divide(x, relax.op.where(relax.op.equal(norm, zero), one, norm))


def _conv_integer(builder: Any, inputs: Any, attributes: Any) -> Expr:
    """A convolution of int32, exact as ONNX has it."""
    x, w = inputs[0], inputs[1]
    rank = len(shape_of(x)) - 2
    if rank != 2:
        raise CompileError(f"it is of {rank} dimensions; only 2 are supported")
    if attributes.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID"):
        raise CompileError("its attribute auto_pad must be NOTSET or VALID")

    def integers(value: Expr, zero: Expr, shape: tuple[int, ...]) -> Expr:
        wide = relax.op.astype(value, "int32")
        if zero is None:
            return builder.emit(wide)
        point = builder.emit(relax.op.astype(zero, "int32"))
        if shape_of(zero) and shape_of(zero) != (1,):
            point = builder.emit(relax.op.reshape(point, shape))
        return builder.emit(relax.op.subtract(builder.emit(wide), point))

    return relax.op.nn.conv2d(
        integers(x, inputs[2], ()),
        integers(w, inputs[3], (-1, 1, 1, 1)),
        strides=attributes.get("strides", (1, 1)),
        padding=attributes.get("pads", (0, 0, 0, 0)),
        dilation=attributes.get("dilations", (1, 1)),
        groups=attributes.get("group", 1),
        out_dtype="int32",
    )


def _bit_shift(builder: Any, inputs: Any, attributes: Any) -> Expr:
    """By less than nothing, or by all bits and more, as ONNX has it: nothing is left but the sign."""
    left = attributes.get("direction") in (b"LEFT", "LEFT")
    return builder.call_te(_shifted, inputs[0], inputs[1], left, primfunc_name_hint="shifted")


def _shifted(x: Any, amount: Any, left: bool) -> Any:
    kinds = [np.dtype(str(operand.dtype)) for operand in (x, amount)]
    bits, signed = 8 * kinds[0].itemsize, kinds[0].kind == "i"

    def element(*at: Any) -> Any:
        value, by = (broadcast(operand, at) for operand in (x, amount))
        inside = by < tirx.const(bits, amount.dtype)
        if kinds[1].kind == "i":
            inside = tirx.all(by >= tirx.const(0, amount.dtype), inside)
        inside, zero = inside.astype(x.dtype), tirx.const(0, x.dtype)
        near = by.astype(x.dtype) * inside  # without a branch
        shifted = (value << near if left else value >> near) * inside
        if left or not signed:
            return shifted
        return shifted - (value < zero).astype(x.dtype) * (tirx.const(1, x.dtype) - inside)

    shape = np.broadcast_shapes(*(tuple(int(n) for n in operand.shape) for operand in (x, amount)))
    return te.compute(shape, element, name="shifted")


OPERATORS: dict[str, Callable[..., Expr | None]] = {
    **ARITHMETIC,
    **BLOCKED,
    **POSITIONS,
    **RECURRENT,
    **RESIZE,
    **SIGNALS,
    **WINDOW_OPERATORS,
    "BitShift": _bit_shift,
    "ConvInteger": _conv_integer,
    "CumProd": _cumulative("prod"),
    "CumSum": _cumulative("sum"),
    "LpNormalization": _lp_normalization,
    "OneHot": _one_hot,
    "ThresholdedRelu": _thresholded_relu,
}
