"""Operators of several formats, number by number, that TVM has for fewer types or devices, in Relax and TE."""

from __future__ import annotations

from typing import Any

import numpy as np
from tvm import relax, te, tirx

from tzml.compiler.ir.errors import CompileError
from tzml.compiler.ir.rewrite import dtype_of, shape_of

Expr = Any


def broadcast(operand: Any, at: Any) -> Any:
    """The element of an operand at a place of the result."""
    places = at[len(at) - len(operand.shape) :]
    return operand(*(p if int(n) > 1 else 0 for p, n in zip(places, operand.shape, strict=True)))


def power(builder: Any, base: Expr, exponent: Expr) -> Expr:
    """Of the base's type, whatever the exponent is. Integers are multiplied, and wrap around as NumPy's do.

    Raises CompileError for an integer's power of a real number.
    """
    kind = dtype_of(base)
    if "float" in kind:
        return relax.op.power(base, exponent if dtype_of(exponent) == kind else relax.op.astype(exponent, kind))
    if "float" in dtype_of(exponent):
        raise CompileError(
            f"it raises {kind} to powers of {dtype_of(exponent)}, which are not exact enough",
            "cast its first input to float32",
        )
    return builder.call_te(_integer_power, base, exponent, primfunc_name_hint="power")


def _integer_power(base: Any, exponent: Any) -> Any:
    """Squares that are multiplied. To less than nothing, all are 0 but the powers of 1 and -1."""
    kind = base.dtype
    shape = np.broadcast_shapes(*(tuple(int(n) for n in operand.shape) for operand in (base, exponent)))
    one = tirx.const(1, kind)

    def whole(condition: Expr) -> Expr:
        return tirx.Cast(kind, condition)

    def element(*at: Any) -> Any:
        square, power = (broadcast(operand, at) for operand in (base, exponent))
        unit = whole(square == one)
        if np.dtype(str(kind)).kind == "i":
            unit = unit + whole(square == tirx.const(-1, kind))
        is_negative = whole(power < tirx.const(0, power.ty.dtype))
        power = te.abs(power) if np.dtype(str(exponent.dtype)).kind == "i" else power
        # beyond that only 0, 1 and -1 do not overflow, of which the last asks whether it is odd
        large = tirx.const(64, power.ty.dtype)
        power = te.min(power, large + (power & tirx.const(1, power.ty.dtype)))
        result = one
        for bit in range(7):
            is_set = tirx.Cast(kind, (power >> tirx.const(bit, power.ty.dtype)) & tirx.const(1, power.ty.dtype))
            result = result * (one + is_set * (square - one))
            square = square * square
        return result * (one - is_negative * (one - unit))

    return te.compute(shape, element, name="power")


def cumulative(
    builder: Any, x: Expr, axis: int, name: str, *, reverse: bool = False, exclusive: bool = False
) -> Expr:
    """Sums or products (`name` is sum or prod) of what comes before along an axis, and of the element itself.

    TVM has them for GPUs only. Here sums of 1, 2, 4, … elements are added: a step for each bit of the length.
    """
    along, step = axis % len(shape_of(x)), -1 if reverse else 1
    return builder.call_te(_accumulated, x, along, step, exclusive, name, primfunc_name_hint=f"cum{name}")


def _accumulated(x: Any, axis: int, step: int, exclusive: bool, name: str) -> Any:
    extent, is_sum = int(x.shape[axis]), name == "sum"

    def earlier(of: Any, distance: int, at: Any) -> Any:
        place = at[axis] - step * distance
        inside = place >= 0 if step > 0 else place < extent
        limited = te.max(te.min(place, extent - 1), 0)
        value = of(*at[:axis], limited, *at[axis + 1 :])
        return tirx.if_then_else(inside, value, tirx.const(0 if is_sum else 1, value.ty.dtype))

    def joined(of: Any, distance: int) -> Any:
        def element(*at: Any) -> Any:
            mine, before = of(*at), earlier(of, distance, at)
            return mine + before if is_sum else mine * before

        return te.compute(x.shape, element, name="sums")

    total = x
    if exclusive:
        total = te.compute(x.shape, lambda *at: earlier(x, 1, at), name="shifted")
    distance = 1
    while distance < extent:
        total = joined(total, distance)
        distance *= 2
    return total if total is not x else te.compute(x.shape, lambda *at: x(*at), name="sums")


def bits_as(builder: Any, x: Expr, kind: str) -> Expr:
    """The same bits as numbers of another type of that size."""
    return builder.call_te(
        lambda source: te.compute(source.shape, lambda *at: tirx.reinterpret(kind, source(*at)), name="bits"),
        x,
        primfunc_name_hint="bits",
    )
