"""Operators of constants, computed with NumPy while the model is compiled.

TVM can do this too, but compiles each operator first; a model has thousands of them, mostly reshapes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tvm import relax

from tzml.compiler.ir.rewrite import constant, ints, op_name

Array = NDArray[Any]
Fold = Callable[[Any, list[Array]], Array]

# what a folded constant may take (bytes): a broadcast should not blow up a bundle
LIMIT = 1 << 30


def _elementwise(function: Callable[..., Array]) -> Fold:
    return lambda _, operands: function(*operands)


def _axes(values: Any) -> tuple[int, ...] | None:
    return None if values is None else ints(values)


def _slice(call: Any, operands: list[Array]) -> Array:
    data = operands[0]
    axes, begin, end, *strides = (_tuple(argument) for argument in call.args[1:])
    steps = strides[0] if strides else (1,) * len(axes)
    index = [slice(None)] * data.ndim
    for axis, low, high, step in zip(axes, begin, end, steps, strict=True):
        # a negative end below the first element is how Relax writes "down to the first"
        index[axis] = slice(low, None if step < 0 and high < -data.shape[axis] else high, step)
    return data[tuple(index)]


def _tuple(expression: Any) -> tuple[int, ...]:
    return tuple(int(field.value) for field in expression.fields)


def _take(call: Any, operands: list[Array]) -> Array:
    data, index = operands
    axis = call.attrs.axis
    size = data.size if axis is None else data.shape[int(axis)]
    if index.size and not (-size <= index.min() and index.max() < size):
        raise IndexError(f"index {index} is outside of [{-size}, {size})")
    return np.take(data, index, axis=None if axis is None else int(axis), mode="wrap")


def _reshape(call: Any, operands: list[Array]) -> Array:
    return operands[0].reshape(ints(call.args[1].values))


def _astype(call: Any, operands: list[Array]) -> Array:
    return operands[0].astype(str(call.attrs.dtype))


_FOLD: dict[str, Fold] = {
    "relax.add": _elementwise(np.add),
    "relax.astype": _astype,
    "relax.broadcast_to": lambda call, x: np.broadcast_to(x[0], ints(call.args[1].values)),
    "relax.divide": lambda _, x: x[0] / x[1] if x[0].dtype.kind == "f" else (x[0] // x[1]).astype(x[0].dtype),
    "relax.equal": _elementwise(np.equal),
    "relax.exp": _elementwise(np.exp),
    "relax.expand_dims": lambda call, x: np.expand_dims(x[0], ints(call.attrs.axis)),
    "relax.greater": _elementwise(np.greater),
    "relax.isnan": _elementwise(np.isnan),
    "relax.less": _elementwise(np.less),
    "relax.maximum": _elementwise(np.maximum),
    "relax.minimum": _elementwise(np.minimum),
    "relax.multiply": _elementwise(np.multiply),
    "relax.negative": _elementwise(np.negative),
    "relax.permute_dims": lambda call, x: np.transpose(x[0], _axes(call.attrs.axes)),
    "relax.reshape": _reshape,
    "relax.sqrt": _elementwise(np.sqrt),
    "relax.squeeze": lambda call, x: np.squeeze(x[0], _axes(call.attrs.axis)),
    "relax.strided_slice": _slice,
    "relax.subtract": _elementwise(np.subtract),
    "relax.take": _take,
    "relax.where": _elementwise(np.where),
}


def fold(call: Any, arguments: Sequence[Any]) -> Array | None:
    """The value of a call whose tensor arguments are all constants; None if it cannot be had here."""
    name = op_name(call)
    if name == "relax.concat":
        parts = [constant(field) for field in getattr(arguments[0], "fields", [])]
        if parts and all(part is not None for part in parts):
            return np.concatenate([p for p in parts if p is not None], int(call.attrs.axis))
        return None
    if any(isinstance(argument, relax.Var) for argument in arguments):
        return None
    operands = [value for value in map(constant, arguments) if value is not None]
    return compute(call, operands) if operands else None


def compute(call: Any, operands: list[Array]) -> Array | None:
    """What an operator makes of arrays, perhaps a view of them; None if it cannot be had here."""
    if op_name(call) not in _FOLD:
        return None
    try:
        with np.errstate(all="ignore"):
            result = np.asarray(_FOLD[op_name(call)](call, operands))
    except (ValueError, IndexError, TypeError, AttributeError):
        return None
    return result if result.nbytes <= LIMIT else None
