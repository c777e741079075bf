"""ONNX's Fourier transforms, each as a product with a constant matrix."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tvm import relax

from tzml.compiler.frontends.onnx.heed import known_number
from tzml.compiler.ir.errors import CompileError
from tzml.compiler.ir.rewrite import const, dtype_of, shape_of

Expr = Any
LARGEST_MATRIX = 1 << 24
"""Elements of a matrix: a transform of some thousand numbers."""


def dft(builder: Any, inputs: Any, attributes: Any) -> Expr:
    """Of real numbers, or of complex ones, which are pairs in the last axis."""
    x, length, axis = inputs[0], inputs[1], inputs[2]
    shape = shape_of(x)
    if axis is not None:
        axis = known_number(axis)
    elif "axis" in attributes:
        axis = attributes.get("axis")
    elif len(shape) != 3:
        raise CompileError("its axis is not given, and opsets have different defaults", "export it with an axis")
    else:
        axis = 1
    axis %= len(shape)
    inverse, onesided = bool(attributes.get("inverse", 0)), bool(attributes.get("onesided", 0))
    size = known_number(length) if length is not None else shape[axis]
    if length is None and inverse and onesided:
        size = 2 * (shape[axis] - 1)
    matrix = _matrix(shape[axis], shape[-1], size, inverse=inverse, onesided=onesided)
    # the axis goes beside the parts of each number, and both become the rows of the matrix
    order = [*(i for i in range(len(shape) - 1) if i != axis), axis, len(shape) - 1]
    moved = builder.emit(relax.op.permute_dims(x, order))
    result = _product(builder, moved, matrix, dtype_of(x))
    back = [order.index(i) for i in range(len(shape))]
    return relax.op.permute_dims(result, back)


def stft(builder: Any, inputs: Any, attributes: Any) -> Expr:
    """Transforms of frames, which overlap."""
    x, step, window, length = (inputs[i] for i in range(4))
    batch, samples, parts = shape_of(x)
    hop = known_number(step)
    size = known_number(length) if length is not None else shape_of(window)[0] if window else samples
    if hop <= 0 or not 0 < size <= samples:
        raise CompileError(f"it makes frames of {size}, {hop} apart, of {samples} samples")
    frames = 1 + (samples - size) // hop
    places = (np.arange(frames)[:, None] * hop + np.arange(size)).astype(np.int64).ravel()
    framed = builder.emit(relax.op.take(x, const(places), axis=1, mode="clip"))
    framed = builder.emit(relax.op.reshape(framed, (batch, frames, size, parts)))
    if window is not None:
        framed = builder.emit(relax.op.multiply(framed, relax.op.reshape(window, (size, 1))))
    matrix = _matrix(size, parts, size, inverse=False, onesided=bool(attributes.get("onesided", 1)))
    return _product(builder, framed, matrix, dtype_of(x))


def _product(builder: Any, x: Expr, matrix: NDArray[Any], kind: str) -> Expr:
    """Of the last two axes, with a matrix [places, parts, new places, new parts]."""
    *outer, places, parts = shape_of(x)
    rows = builder.emit(relax.op.reshape(x, (*outer, places * parts)))
    flat = const(matrix.reshape(places * parts, -1).astype(kind))
    return builder.emit(relax.op.reshape(builder.emit(relax.op.matmul(rows, flat)), (*outer, *matrix.shape[2:])))


def _matrix(count: int, parts: int, length: int, *, inverse: bool, onesided: bool) -> NDArray[Any]:
    """What a transform makes of each unit; it is linear in the parts of its numbers."""
    if count * parts * length * 2 > LARGEST_MATRIX or length < 1:
        raise CompileError(f"it transforms {count} numbers to {length}, which is too large a matrix")
    units = np.eye(count)
    found = []
    for part in (1, 1j)[:parts]:
        if inverse and onesided:
            real = np.fft.irfft(part * units, length, axis=1)
            found.append(real[..., None])
            continue
        result = (np.fft.ifft if inverse else np.fft.fft)(part * units, length, axis=1)
        result = result[:, : length // 2 + 1] if onesided else result
        found.append(np.stack((result.real, result.imag), -1))
    return np.stack(found, 1)


SIGNALS: dict[str, Callable[..., Expr]] = {"DFT": dft, "STFT": stft}
