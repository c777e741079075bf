"""Functions of a number: how each is computed in vectors, and which function of C it is otherwise.

TVM's own code calls the C library's function for each lane of a vector; a kernel library has those of
support/math.c. Both are here, so that no function has one without the other: tests/compiler/test_functions.py
compares this table with math.c, and either with the host's C library.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import tvm_ffi
from tvm import ir, tirx

from tzml.compiler.codegen.kernels.tir import Expr, f32
from tzml.compiler.ir.errors import CompileError

Bind = Callable[[Expr], Expr]
"""Computes an expression once, and gives the variable with its value."""
InVectors = Callable[[Expr, Bind], Expr]
"""From the operand, a float32, to the result, in arithmetic that processors have instructions for."""


@dataclass(frozen=True)
class Function:
    """A function of TIR that takes many instructions.

    Attributes:
        c: The function of support/math.c that computes it number by number.
        vector: How to compute it in vectors, forty times as fast; or, in words, why there is no way yet.
        error: The largest one of a vector's result: of 1, or of the result where that is larger.

    """

    c: str
    vector: InVectors | str
    error: float = 2.5e-7


def expand(value: Expr, bind: Bind) -> Expr:
    """An expression with calls of such functions replaced.

    What is needed more than once is computed before it, by `bind`; so an expression that computes
    one of two is left as it is.
    """
    if not is_vectorizable(value):
        return value

    def replace(call: Any) -> Any:
        vector = _vector(call)
        return vector(bind(call.args[0]), bind) if vector else call

    return tvm_ffi.structural_map(value, (ir.Call, replace))


def is_vectorizable(value: Expr) -> bool:
    """Whether an expression can be computed for all lanes of a vector at once.

    What cannot, TVM computes lane by lane, and where that is bound to a variable, every lane gets the last one's.
    """
    calls: list[Any] = []
    tvm_ffi.structural_walk(value, (ir.Call, calls.append))
    return all(
        _vector(call) or _name(call) in _VECTORIZED or bool(call.op.get_attr("TVectorizable")) for call in calls
    )


def _vector(call: Any) -> InVectors | None:
    if _name(call) in _INSTRUCTIONS:
        vector: InVectors | str = _INSTRUCTIONS[_name(call)]
    elif _name(call) in FUNCTIONS:
        vector = FUNCTIONS[_name(call)].vector
    else:
        return None
    return None if isinstance(vector, str) or str(call.args[0].ty.dtype) != "float32" else vector


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
    """As TVM's Python has it: without the dialect that the operator is of."""
    return str(getattr(call.op, "name", "")).rpartition(".")[2]


def _exp(x: Expr, bind: Bind) -> Expr:
    """Cephes' expf: 2^n times a polynomial of what remains."""
    x = bind(tirx.max(tirx.min(x, f32(88.0)), f32(-87.3)))
    n = bind(tirx.floor(x * f32(1.44269504) + f32(0.5)))
    r = bind(x - n * f32(0.693359375) - n * f32(-2.12194440e-4))
    series = _polynomial(r, 1.9875691e-4, 1.3981999e-3, 8.3334519e-3, 4.1665796e-2, 1.6666665e-1, 0.5) * (r * r) + r
    power = tirx.reinterpret("float32", (tirx.Cast("int32", n) + 127) * (1 << 23))
    return (series + f32(1)) * power


def _is_nan(x: Expr) -> Expr:
    """By its bits: TVM takes a number to be equal to itself."""
    return (tirx.reinterpret("int32", x) & 0x7FFFFFFF) > 0x7F800000


def _sigmoid(x: Expr, bind: Bind) -> Expr:
    return f32(1) / (f32(1) + _exp(f32(0) - x, bind))


def _tanh(x: Expr, bind: Bind) -> Expr:
    return f32(1) - f32(2) / (_exp(x * f32(2), bind) + f32(1))


def _sinh(x: Expr, bind: Bind) -> Expr:
    power = bind(_exp(x, bind))
    return (power - f32(1) / power) * f32(0.5)


def _cosh(x: Expr, bind: Bind) -> Expr:
    power = bind(_exp(x, bind))
    return (power + f32(1) / power) * f32(0.5)


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


def _nearest(x: Expr, bind: Bind) -> Expr:
    """The nearest integer, of two the even one: from 2^23 on, a float32 has no fraction."""
    magnitude = bind(tirx.max(x, f32(0) - x))
    bits = tirx.reinterpret("int32", magnitude + f32(1 << 23))
    rounded = bind(tirx.Cast("float32", bits - 0x4B000000))
    return tirx.Select(magnitude < f32(1 << 23), tirx.Select(x < f32(0), f32(0) - rounded, rounded), x)


_VECTORIZED = {"call_llvm_pure_intrin", "reinterpret"}
"""Calls that TVM knows how to vectorise without being told so by an attribute."""

# Functions that are few instructions, and that TVM would compute lane by lane
_INSTRUCTIONS: dict[str, InVectors] = {
    "isnan": lambda x, bind: _is_nan(x),
    "nearbyint": _nearest,
    "rsqrt": lambda x, bind: f32(1) / tirx.sqrt(x),
}

_NOT_IN_VECTORS = "networks seldom have it: no form in vectors was written"

FUNCTIONS = {
    **{name: Function(f"{name}f", _NOT_IN_VECTORS) for name in (
        "acos", "acosh", "asin", "asinh", "atan", "cos", "sin")},
    "cosh": Function("coshf", _cosh),
    "erf": Function("erff", _erf, error=5e-7),
    "exp": Function("expf", _exp),
    "log": Function(
        "logf", "Cephes' logf was tried: TVM simplifies it for minutes where another function is beside it"
    ),
    "pow": Function("powf", "float32's product with the logarithm is off by 1e-5 where the power is large"),
    "sigmoid": Function("expf", _sigmoid),
    "sinh": Function("sinhf", _sinh),
    "tanh": Function("tanhf", _tanh),
}  # fmt: skip

BY_LLVM = {
    "__truncdfhf2": "float16 of float64, for which x86 has no instruction",
    "fmod": "the remainder of real numbers, which TIR has a node for",
    "fmodf": "the same of float32",
}
"""Functions of math.c that LLVM calls for what is no call in TIR."""

OF_FLOAT64 = {"exp": "exp", "log": "log", "sigmoid": "exp"}
"""The same as FUNCTIONS for float64, of which few are needed: those of C, which are never in vectors."""


def check_float64(name: str, function: Any) -> None:
    """Raise CompileError for a kernel with a function of float64 that math.c does not have.

    TVM would compute some with others: what cancels there is lost.
    """
    calls: list[Any] = []
    tvm_ffi.structural_walk(function.body, (ir.Call, calls.append))
    for call in calls:
        known = _name(call) in OF_FLOAT64 or _name(call) not in FUNCTIONS
        if not known and "float64" in str(call.args[0].ty.dtype):
            raise CompileError(
                f"{name} computes {_name(call)} of float64, for which there is no function",
                "export the layer in float32",
            )
