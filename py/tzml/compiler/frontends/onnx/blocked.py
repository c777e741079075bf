"""ONNX's QuantizeLinear and DequantizeLinear with a scale for each block of numbers along an axis, in Relax.

With a scale for a whole axis or tensor they are TVM's: the compiler looks for these to compute layers in integers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from onnx import helper
from tvm import relax

from tzml.compiler.ir.errors import CompileError
from tzml.compiler.ir.rewrite import const, dtype_of, shape_of

Expr = Any
_WHOLE = ("int8", "uint8", "int16", "int32")


def _blocks(builder: Any, inputs: Any, attributes: Any) -> list[Expr] | None:
    """A scale and a zero point for each number, in float32; None if there are no blocks."""
    size = int(attributes.get("block_size", 0))
    if not size:
        return None
    shape = shape_of(inputs[0])
    axis = int(attributes.get("axis", 1)) % len(shape)
    expected = tuple(-(-n // size) if i == axis else n for i, n in enumerate(shape))
    found = []
    for value in (inputs[1], inputs[2]):
        if value is None:
            found.append(const(np.zeros((), np.float32)))
            continue
        if shape_of(value) != expected:
            raise CompileError(f"its scales are {list(shape_of(value))}, not {list(expected)} of blocks of {size}")
        each = builder.emit(relax.op.repeat(value, size, axis))
        if shape[axis] % size:
            each = builder.emit(relax.op.strided_slice(each, [axis], [0], [shape[axis]]))
        found.append(each if dtype_of(each) == "float32" else builder.emit(relax.op.astype(each, "float32")))
    return found


def _real(builder: Any, value: Expr) -> Expr:
    return value if dtype_of(value) == "float32" else builder.emit(relax.op.astype(value, "float32"))


def quantize(builder: Any, inputs: Any, attributes: Any) -> Expr | None:
    """To the nearest integer, to the even one of two; NaN becomes the lowest."""
    blocks = _blocks(builder, inputs, attributes)
    if blocks is None:
        return None
    scale, zero = blocks
    kind = "uint8" if inputs[2] is None else dtype_of(inputs[2])
    if attributes.get("output_dtype", 0):
        kind = str(np.dtype(helper.tensor_dtype_to_np_dtype(attributes.get("output_dtype"))))
    if kind not in _WHOLE[:3] or attributes.get("precision", 0) not in (0, 1):
        raise CompileError(f"in blocks it makes {kind}; int8, uint8 and int16 are understood")
    low, high = (const(np.asarray(getattr(np.iinfo(kind), end), np.float32)) for end in ("min", "max"))
    scaled = builder.emit(relax.op.divide(_real(builder, inputs[0]), scale))
    shifted = builder.emit(relax.op.add(relax.op.round(scaled), zero))
    known = builder.emit(relax.op.where(relax.op.isnan(shifted), low, shifted))
    return relax.op.astype(builder.emit(relax.op.minimum(relax.op.maximum(known, low), high)), kind)


def dequantize(builder: Any, inputs: Any, attributes: Any) -> Expr | None:
    """To the type of the scales."""
    blocks = _blocks(builder, inputs, attributes)
    if blocks is None:
        return None
    scale, zero = blocks
    if dtype_of(inputs[0]) not in _WHOLE:
        raise CompileError(f"in blocks it is of {dtype_of(inputs[0])}; {', '.join(_WHOLE)} are understood")
    kind = dtype_of(inputs[1])
    if attributes.get("output_dtype", 0):
        kind = str(np.dtype(helper.tensor_dtype_to_np_dtype(attributes.get("output_dtype"))))
    result = relax.op.multiply(relax.op.subtract(_real(builder, inputs[0]), zero), scale)
    return result if kind == "float32" else relax.op.astype(builder.emit(result), kind)


BLOCKED: dict[str, Callable[..., Expr | None]] = {"DequantizeLinear": dequantize, "QuantizeLinear": quantize}
