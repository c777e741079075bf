"""Exponentials and what is made of them, in arithmetic that vectors have; the C library's are of one number.

Each is within 2e-7 of the true value (tanh, sigmoid, erf) or 2e-7 of it (exp).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tvm_ffi
from tvm import ir, tirx

from tzml.compiler.codegen.kernels.tir import Expr, f32

_IF_THEN_ELSE = ir.Op.get("prim.if_then_else")
"""Computes one of two expressions, and not the other."""

Bind = Callable[[Expr], Expr]
"""Computes an expression once, and gives the variable with its value."""


def expand(value: Expr, bind: Bind) -> Expr:
    """An expression with calls of such functions replaced.

    What is needed more than once is computed before it, by `bind`; so an expression that computes
    one of two is left as it is.
    """
    branches: list[Any] = []
    tvm_ffi.structural_walk(value, (ir.Call, lambda call: branches.append(call.op.same_as(_IF_THEN_ELSE))))
    if any(branches):
        return value

    def replace(call: Any) -> Any:
        function = _FUNCTIONS.get(_name(call))
        return call if function is None or str(call.ty.dtype) != "float32" else function(bind(call.args[0]), bind)

    return tvm_ffi.structural_map(value, (ir.Call, replace))


def expand_stores(function: Any) -> Any:
    """A function with such calls replaced in what it stores."""

    def replace(store: Any) -> Any:
        before: list[Any] = []

        def bind(value: Expr) -> Expr:
            before.append(tirx.Bind(tirx.Var("x", value.ty.dtype), value))
            return before[-1].var

        expanded = tirx.BufferStore(store.buffer, expand(store.value, bind), store.indices)
        return tirx.SeqStmt([*before, expanded]) if before else store

    return tvm_ffi.structural_map(function, (tirx.BufferStore, replace))


def _name(call: Any) -> str:
    return str(getattr(call.op, "name", ""))


def _exp(x: Expr, bind: Bind) -> Expr:
    """Cephes' expf: 2^n times a polynomial of what remains."""
    x = bind(tirx.max(tirx.min(x, f32(88.0)), f32(-87.3)))
    n = bind(tirx.floor(x * f32(1.44269504) + f32(0.5)))
    r = bind(x - n * f32(0.693359375) - n * f32(-2.12194440e-4))
    series = _polynomial(r, 1.9875691e-4, 1.3981999e-3, 8.3334519e-3, 4.1665796e-2, 1.6666665e-1, 0.5) * (r * r) + r
    power = tirx.reinterpret("float32", (tirx.Cast("int32", n) + 127) * (1 << 23))
    return (series + f32(1)) * power


def _sigmoid(x: Expr, bind: Bind) -> Expr:
    return f32(1) / (f32(1) + _exp(f32(0) - x, bind))


def _tanh(x: Expr, bind: Bind) -> Expr:
    return f32(1) - f32(2) / (_exp(x * f32(2), bind) + f32(1))


def _erf(x: Expr, bind: Bind) -> Expr:
    """Abramowitz and Stegun, 7.1.26."""
    a = bind(tirx.max(x, f32(0) - x))
    t = bind(f32(1) / (f32(1) + f32(0.3275911) * a))
    series = _polynomial(t, 1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592) * t
    y = bind(f32(1) - series * _exp(f32(0) - a * a, bind))
    return tirx.Select(x < f32(0), f32(0) - y, y)


def _polynomial(x: Expr, *coefficients: float) -> Expr:
    """By Horner's rule; the highest power's coefficient comes first."""
    result: Expr = f32(coefficients[0])
    for coefficient in coefficients[1:]:
        result = result * x + f32(coefficient)
    return result


_FUNCTIONS: dict[str, Callable[[Expr, Bind], Expr]] = {
    "tirx.erf": _erf,
    "tirx.exp": _exp,
    "tirx.sigmoid": _sigmoid,
    "tirx.tanh": _tanh,
}
