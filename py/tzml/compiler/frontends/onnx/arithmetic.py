"""ONNX's operators number by number, where TVM's importer knows fewer types or attributes, in Relax.

Each is a function of the block builder, of the inputs, and of the attributes. What it leaves to TVM's importer it
says by None.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from onnx import helper
from tvm import relax, te, tirx

from tzml.compiler.frontends.elements import power
from tzml.compiler.ir.errors import CompileError
from tzml.compiler.ir.rewrite import const, constant, dtype_of, shape_of

Expr = Any


def _is_real(value: Expr) -> bool:
    return "float" in dtype_of(value)


def _like(number: float, value: Expr) -> Expr:
    """A constant of a tensor's type."""
    return const(np.asarray(number, dtype_of(value)))


def _power(builder: Any, inputs: Any, attributes: Any) -> Expr | None:
    base, exponent = inputs[0], inputs[1]
    if dtype_of(base) == dtype_of(exponent) and _is_real(base):
        return None
    return power(builder, base, exponent)


def _mod(builder: Any, inputs: Any, attributes: Any) -> Expr | None:
    """Of real numbers, exactly: TVM subtracts a multiple that is rounded."""
    a, b = inputs[0], inputs[1]
    is_truncated = bool(attributes.get("fmod", 0))
    if not _is_real(a):
        return (relax.op.mod if is_truncated else relax.op.floor_mod)(a, b)
    kind = dtype_of(a)
    if kind == "float16":
        a, b = (builder.emit(relax.op.astype(x, "float32")) for x in (a, b))
    rest = builder.emit(relax.op.mod(a, b))
    if not is_truncated:
        zero = _like(0, rest)
        signs = relax.op.logical_xor(relax.op.less(rest, zero), relax.op.less(b, zero))
        is_other = builder.emit(relax.op.logical_and(relax.op.not_equal(rest, zero), signs))
        rest = builder.emit(relax.op.where(is_other, relax.op.add(rest, b), rest))
    return relax.op.astype(rest, kind) if dtype_of(rest) != kind else rest


def _is_inf(builder: Any, inputs: Any, attributes: Any) -> Expr:
    x = inputs[0]
    up, down = (bool(attributes.get(f"detect_{which}", 1)) for which in ("positive", "negative"))
    if up and down:
        return relax.op.isinf(x)
    if not up and not down:
        return relax.op.less(x, x)  # nowhere
    infinity = _like(np.inf if up else -np.inf, x)
    return relax.op.equal(x, infinity)


def _elu(builder: Any, inputs: Any, attributes: Any) -> Expr | None:
    """TVM's constants are of float32."""
    x, alpha = inputs[0], float(attributes.get("alpha", 1.0))
    if dtype_of(x) == "float32":
        return None
    below = relax.op.nn.relu(relax.op.subtract(_like(1, x), relax.op.exp(x)))
    return relax.op.add(relax.op.multiply(_like(-alpha, x), below), relax.op.nn.relu(x))


def _shrink(builder: Any, inputs: Any, attributes: Any) -> Expr | None:
    """Of real numbers: TVM makes its limits integers, and of unsigned ones large ones of those below zero."""
    if not _is_real(inputs[0]):
        raise CompileError(f"its elements are of type {dtype_of(inputs[0])}, not real", "cast them to float32")
    return None


def _bit_cast(builder: Any, inputs: Any, attributes: Any) -> Expr:
    x, to = inputs[0], attributes.get("to")
    kind = str(np.dtype(helper.tensor_dtype_to_np_dtype(to)))
    if np.dtype(kind).itemsize != np.dtype(dtype_of(x)).itemsize:
        raise CompileError(f"it makes {kind} of {dtype_of(x)}, which has another size")
    if "bool" in (kind, dtype_of(x)):
        return relax.op.astype(x, kind)
    return builder.call_te(_reinterpreted, x, kind, primfunc_name_hint="bit_cast")


def _reinterpreted(x: Any, kind: str) -> Any:
    return te.compute(x.shape, lambda *at: tirx.reinterpret(kind, x(*at)), name="bits")


def _unsqueeze(builder: Any, inputs: Any, attributes: Any) -> Expr | None:
    """By one axis without a dimension, as the bodies of ONNX's own functions have it."""
    known = constant(inputs[1]) if inputs[1] is not None else None
    if known is None or known.ndim:
        return None
    return relax.op.expand_dims(inputs[0], int(known))


def _dropout(builder: Any, inputs: Any, attributes: Any) -> Expr | None:
    """In an inference nothing is dropped, and the mask is true. Without one it is as TVM has it, for training."""
    x = inputs[0]
    if attributes["tvm_custom"]["num_outputs"] < 2:
        return None
    return relax.Tuple([x, const(np.ones(shape_of(x), bool))])


def _reduced_bools(name: str) -> Callable[..., Expr | None]:
    """The largest or smallest of truth values; of numbers, TVM's is right."""

    def convert(builder: Any, inputs: Any, attributes: Any) -> Expr | None:
        x = inputs[0]
        if dtype_of(x) != "bool":
            return None
        axes = _axes(inputs, attributes)
        if axes == () and attributes.get("noop_with_empty_axes", 0):
            return x
        small = builder.emit(relax.op.astype(x, "int8"))
        keep = bool(attributes.get("keepdims", 1))
        chosen = builder.emit(getattr(relax.op, name)(small, list(axes) or None, keepdims=keep))
        return relax.op.astype(chosen, "bool")

    return convert


def _reduced_mean(builder: Any, inputs: Any, attributes: Any) -> Expr | None:
    """Of integers of 32 bits, added up in 64: TVM's sum wraps around, and its mean is of int64."""
    x = inputs[0]
    kind = dtype_of(x)
    if kind == "uint64":
        raise CompileError("its elements are of type uint64, whose sums may be too large", "cast them to float64")
    if kind not in ("int32", "uint32"):
        return None
    axes = _axes(inputs, attributes)
    if axes == () and attributes.get("noop_with_empty_axes", 0):
        return x
    wide = builder.emit(relax.op.astype(x, "int64"))
    mean = relax.op.mean(wide, list(axes) or None, keepdims=bool(attributes.get("keepdims", 1)))
    return relax.op.astype(builder.emit(mean), kind)


def _axes(inputs: Any, attributes: Any) -> tuple[int, ...]:
    if "axes" in attributes:
        return tuple(int(axis) for axis in attributes.get("axes"))
    known = inputs[1]
    return () if known is None else tuple(int(axis) for axis in known.value.numpy().ravel())


_LARGEST_DETERMINANT = 4


def _determinant(builder: Any, inputs: Any, attributes: Any) -> Expr:
    """Of small matrices, along the first row, as Laplace has it."""
    x = inputs[0]
    *_, rows, columns = shape_of(x)
    if rows != columns or rows > _LARGEST_DETERMINANT:
        raise CompileError(f"it is of matrices of {rows} x {columns}; those of up to 4 x 4 are understood")
    return builder.call_te(_laplace, x, rows, primfunc_name_hint="determinant")


def _laplace(x: Any, size: int) -> Any:
    def minor(at: Any, row: int, columns: tuple[int, ...]) -> Any:
        if len(columns) == 1:
            return x(*at, row, columns[0])
        total = None
        for i, column in enumerate(columns):
            part = x(*at, row, column) * minor(at, row + 1, columns[:i] + columns[i + 1 :])
            total = part if total is None else total + part if i % 2 == 0 else total - part
        return total

    outer = list(x.shape[:-2])
    if not outer:
        return te.compute((), lambda: minor((), 0, tuple(range(size))), name="determinant")
    return te.compute(outer, lambda *at: minor(at, 0, tuple(range(size))), name="determinant")


ARITHMETIC: dict[str, Callable[..., Expr | None]] = {
    "BitCast": _bit_cast,
    "Det": _determinant,
    "Dropout": _dropout,
    "Elu": _elu,
    "IsInf": _is_inf,
    "Mod": _mod,
    "Pow": _power,
    "ReduceMax": _reduced_bools("max"),
    "ReduceMean": _reduced_mean,
    "ReduceMin": _reduced_bools("min"),
    "Shrink": _shrink,
    "Unsqueeze": _unsqueeze,
}
