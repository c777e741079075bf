"""ONNX's operators that read or write at positions that the data say, in TE.

The rules of frontends/positions.py are theirs, too.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from tvm import te, tirx

from tzml.compiler.frontends import positions
from tzml.compiler.frontends.onnx.heed import as_text, known_number
from tzml.compiler.frontends.positions import chosen, limited, linear, row_of, sizes_of
from tzml.compiler.ir.errors import CompileError
from tzml.compiler.ir.rewrite import const, dtype_of, shape_of

Expr = Any

_CUBIC = -0.75
"""The parameter of Keys' kernel (doi:10.1109/TASSP.1981.1163711), as ONNX has it."""


def _scatter_elements(builder: Any, inputs: Any, attributes: Any) -> Expr:
    axis, reduction = attributes.get("axis", 0), as_text(attributes.get("reduction", "none"))
    return positions.scatter_elements(builder, inputs[0], inputs[1], inputs[2], axis, reduction)


def _scatter_nd(builder: Any, inputs: Any, attributes: Any) -> Expr:
    reduction = as_text(attributes.get("reduction", "none"))
    return positions.scatter_nd(builder, inputs[0], inputs[1], inputs[2], reduction)


def _tensor_scatter(builder: Any, inputs: Any, attributes: Any) -> Expr:
    """Rows of a cache, which begin at an index for each element of the batch."""
    past, update, begin = inputs[0], inputs[1], inputs[2]
    shape, sizes = shape_of(past), shape_of(update)
    axis = attributes.get("axis", -2) % len(shape)
    circular = as_text(attributes.get("mode", "linear")) == "circular"
    if not axis:
        raise CompileError("its axis is that of the batch")
    if begin is None:
        begin = const(np.zeros(shape[0], np.int64))

    def cache(numbers: Any, first: Any) -> Any:
        kind = first.dtype

        def element(*at: Any) -> Any:
            step = at[axis].astype(kind) - first(at[0])
            step = tirx.floormod(step, tirx.const(shape[axis], kind)) if circular else step
            there = tirx.all(step >= tirx.const(0, kind), step < tirx.const(sizes[axis], kind))
            row = limited(step, sizes[axis]).astype("int32")
            new = math.prod(shape) + linear((*at[:axis], row, *at[axis + 1 :]), sizes)
            return numbers(limited(chosen(there, new, linear(at, shape)), sizes_of(numbers)[0]))

        return te.compute(shape, element, name="cache")

    return builder.call_te(cache, row_of(builder, past, update), begin, primfunc_name_hint="cache")


def _reverse_sequence(builder: Any, inputs: Any, attributes: Any) -> Expr:
    time, batch = attributes.get("time_axis", 0), attributes.get("batch_axis", 1)
    return positions.reverse_sequence(builder, inputs[0], inputs[1], time, batch)


def _top_k(builder: Any, inputs: Any, attributes: Any) -> Expr:
    attributes.get("sorted", 1)  # they are in any case
    axis, largest = attributes.get("axis", -1), bool(attributes.get("largest", 1))
    return positions.top_k(builder, inputs[0], known_number(inputs[1]), axis, largest=largest)


def _grid_sample(builder: Any, inputs: Any, attributes: Any) -> Expr:
    """Spatial transformer networks (arXiv:1506.02025), of images of 1 to 3 dimensions, as ONNX defines them."""
    data, grid = inputs[0], inputs[1]
    mode = as_text(attributes.get("mode", "linear")).removeprefix("bi")
    dimensions = len(shape_of(data)) - 2
    if mode == "cubic" and dimensions != 2:
        raise CompileError(f"its mode is cubic, of {dimensions} dimensions; only 2 are understood")
    if mode != "nearest" and "float" not in dtype_of(data):
        raise CompileError(
            f"its elements are of type {dtype_of(data)}; only its mode nearest is understood for them"
        )
    padding = as_text(attributes.get("padding_mode", "zeros"))
    align = bool(attributes.get("align_corners", 0))
    numbers = row_of(builder, data, const(np.zeros((), dtype_of(data))))
    return builder.call_te(
        _sampled, numbers, grid, shape_of(data), mode, padding, align, primfunc_name_hint="grid_sample"
    )


def _sampled(numbers: Any, grid: Any, shape: tuple[int, ...], mode: str, padding: str, align: bool) -> Any:
    """`numbers` are those of the image, and a 0 for what is outside."""
    sizes, outside = shape[2:], math.prod(shape)
    real = "float64" if "float64" in (str(numbers.dtype), str(grid.dtype)) else "float32"

    def number(value: float) -> Expr:
        return tirx.const(value, real)

    def reflected(x: Expr, size: int) -> Expr:
        low, span = (0.0, size - 1.0) if align else (-0.5, float(size))
        if not span:
            return number(low)
        away = te.abs(x - number(low))
        turns = te.floor(away / number(span))
        rest = away - turns * number(span)
        is_odd = turns - number(2) * te.floor(turns / number(2))
        return number(low) + rest + is_odd * (number(span) - rest - rest)

    def coordinate(at: Sequence[Expr], i: int) -> Expr:
        """The place along an axis of the image, in pixels; the grid has the last axis first."""
        x = grid(*at, len(sizes) - 1 - i).astype(real) + number(1)
        size = sizes[i]
        x = x * number((size - 1) / 2) if align else (x * number(size) - number(1)) / number(2)
        if mode == "nearest":
            x = te.nearbyint(x)
        if mode == "cubic":  # PyTorch and ONNX Runtime leave it, and limit each pixel alone
            return x
        if padding == "border":
            return te.max(te.min(x, number(size - 1)), number(0))
        return reflected(x, size) if padding == "reflection" else x

    def placed(i: int) -> Any:
        return te.compute(sizes_of(grid)[:-1], lambda *at: coordinate(at, i), name=f"place{i}")

    places = [placed(i) for i in range(len(sizes))]

    def tap(at: Sequence[Expr], offsets: Sequence[int]) -> Expr:
        """A pixel near the place; 0 outside, unless the image goes on there."""
        index, inside = [], []
        for i, (offset, size) in enumerate(zip(offsets, sizes, strict=True)):
            x = places[i](at[0], *at[2:])
            x = (x if mode == "nearest" else te.floor(x)) + number(offset)
            if padding == "reflection":
                x = reflected(x, size)
            # NaN becomes the lower limit here, before it is an integer
            whole = tirx.Cast("int32", te.min(te.max(x, number(-2)), number(size + 1)))
            inside.append(tirx.all(x >= number(0), x < number(size)))
            index.append(limited(whole, size))
        place = linear((at[0], at[1], *index), shape)
        if padding == "zeros":
            place = chosen(tirx.all(*inside) if len(inside) > 1 else inside[0], place, outside)
        return numbers(limited(place, outside + 1))

    def weights(at: Sequence[Expr], i: int) -> dict[int, Expr]:
        x = places[i](at[0], *at[2:])
        t = x - te.floor(x)
        if mode == "linear":
            return {0: number(1) - t, 1: t}

        def far(s: Expr) -> Expr:
            return ((number(_CUBIC) * s - number(5 * _CUBIC)) * s + number(8 * _CUBIC)) * s - number(4 * _CUBIC)

        def near(s: Expr) -> Expr:
            return (number(_CUBIC + 2) * s - number(_CUBIC + 3)) * s * s + number(1)

        return {-1: far(t + number(1)), 0: near(t), 1: near(number(1) - t), 2: far(number(2) - t)}

    def element(*at: Any) -> Any:
        if mode == "nearest":
            return tap(at, [0] * len(sizes))
        along = [weights(at, i) for i in range(len(sizes))]
        total = number(0)
        for offsets in itertools.product(*along):
            weight = number(1)
            for i, offset in enumerate(offsets):
                weight = weight * along[i][offset]
            total = total + weight * tap(at, offsets).astype(real)
        return total.astype(numbers.dtype)

    return te.compute([*shape[:2], *sizes_of(grid)[1:-1]], element, name="sampled")


POSITIONS: dict[str, Callable[..., Expr]] = {
    "GridSample": _grid_sample,
    "ReverseSequence": _reverse_sequence,
    "Scatter": _scatter_elements,
    "ScatterElements": _scatter_elements,
    "ScatterND": _scatter_nd,
    "TensorScatter": _tensor_scatter,
    "TopK": _top_k,
}
