"""ONNX's operators that read or write at positions that the data say, in TE.

None of them writes where an index says: each element of the result looks for the update that is meant for it. It is
then read from one row of numbers, at an index that is limited to that row in the kernel itself
(codegen/refuse_indirect.py looks for that). So no index leaves its tensor, whatever it is.

What is chosen is an index, by arithmetic: TVM makes a branch of a choice between numbers that are read. LLVM still
finds one in ScatterND and ScatterElements, so that these say that their time tells of indices.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from tvm import relax, te, tirx

from tzml.compiler.frontends.onnx.heed import as_text, known_number
from tzml.compiler.ir.errors import CompileError
from tzml.compiler.ir.operators import TELLS
from tzml.compiler.ir.rewrite import const, dtype_of, shape_of

Expr = Any

_CUBIC = -0.75
"""The parameter of Keys' kernel (doi:10.1109/TASSP.1981.1163711), as ONNX has it."""


def _reduction(name: str) -> Callable[..., Expr]:
    if name == "mul":
        return te.comm_reducer(lambda a, b: a * b, lambda kind: tirx.const(1, kind), "product")
    return {"add": te.sum, "max": te.max, "min": te.min}[name]


def _neutral(name: str, kind: str) -> Any:
    """What changes nothing."""
    if name in ("add", "mul"):
        return np.asarray(int(name == "mul"), kind)
    sign = -1 if name == "max" else 1
    if np.dtype(kind).kind == "f":
        return np.asarray(sign * np.inf, kind)
    return np.asarray(np.iinfo(kind).min if sign < 0 else np.iinfo(kind).max, kind)


def _combined(name: str, old: Expr, new: Expr) -> Expr:
    if name == "add":
        return old + new
    if name == "mul":
        return old * new
    return te.max(old, new) if name == "max" else te.min(old, new)


def _from_end(index: Expr, extent: int) -> Expr:
    """An index that may count from the end."""
    kind = index.ty.dtype
    return index + (index < tirx.const(0, kind)).astype(kind) * tirx.const(extent, kind)


def _limited(index: Expr, extent: int) -> Expr:
    return te.max(te.min(index, tirx.const(extent - 1, index.ty.dtype)), tirx.const(0, index.ty.dtype))


def _chosen(condition: Expr, one: Expr, other: Expr) -> Expr:
    """One integer or the other, without a branch."""
    return other + condition.astype("int32") * (one - other)


def _linear(at: Sequence[Expr], sizes: Sequence[int]) -> Expr:
    """The place of an element among all of a tensor's."""
    place = tirx.const(0, "int32")
    for p, size in zip(at, sizes, strict=True):
        place = place * size + p
    return place


def _row(builder: Any, *values: Expr) -> Expr:
    """All numbers of some tensors, one after another."""
    flat = [builder.emit(relax.op.reshape(value, (math.prod(shape_of(value)),))) for value in values]
    return builder.emit(relax.op.concat(flat, 0))


def _sizes(tensor: Any) -> list[int]:
    return [int(n) for n in tensor.shape]


Meant = Callable[[Sequence[Expr], Expr], Expr]
"""Whether an update, known by its number, is for an element."""
Place = Callable[[Sequence[Expr], Expr], Expr]
"""Where an update is among all numbers of the updates, for an element."""


def _scattered(
    builder: Any,
    data: Expr,
    updates: Expr,
    indices: Expr,
    reduction: str,
    how: Callable[..., tuple[int, Meant, Place]],
) -> Expr:
    """The data with updates; `how` is made of the tensor of indices, and tells how many updates there are."""
    shape, kind = shape_of(data), dtype_of(data)
    count = math.prod(shape)

    def last(numbers: Any, index: Any) -> Any:
        """The last update that is meant for an element, or what was there."""
        steps, is_meant, place = how(index)
        step = te.reduce_axis((0, steps), "step")
        found = te.compute(
            shape, lambda *at: te.max(is_meant(at, step).astype("int32") * (step + 1), axis=step), name="found"
        )

        def element(*at: Any) -> Any:
            update = count + place(at, found(*at) - 1)
            return numbers(_limited(_chosen(found(*at) > 0, update, _linear(at, shape)), _sizes(numbers)[0]))

        return te.compute(shape, element, name="scattered")

    def reduced(old: Any, numbers: Any, index: Any) -> Any:
        """All updates that are meant for an element; the last of `numbers` changes nothing."""
        steps, is_meant, place = how(index)
        step, nothing = te.reduce_axis((0, steps), "step"), _sizes(numbers)[0] - 1
        reduce = _reduction(reduction)

        def update(at: Sequence[Expr]) -> Expr:
            return numbers(_limited(_chosen(is_meant(at, step), place(at, step), nothing), nothing + 1))

        total = te.compute(shape, lambda *at: reduce(update(at), axis=step), name="total")
        return te.compute(shape, lambda *at: _combined(reduction, old(*at), total(*at)), name="scattered")

    about = {"primfunc_name_hint": "scatter", "primfunc_attrs": {TELLS: 1}}
    if reduction == "none":
        return builder.call_te(last, _row(builder, data, updates), indices, **about)
    numbers = _row(builder, updates, const(_neutral(reduction, kind)))
    return builder.call_te(reduced, data, numbers, indices, **about)


def scatter_elements(builder: Any, inputs: Any, attributes: Any) -> Expr:
    """An index outside of its axis changes nothing; of several updates of an element the last one counts."""
    data, indices, updates = inputs[0], inputs[1], inputs[2]
    shape, sizes = shape_of(data), shape_of(indices)
    axis = attributes.get("axis", 0) % len(shape)

    def how(index: Any) -> tuple[int, Meant, Place]:
        def where(at: Sequence[Expr], k: Expr) -> list[Expr]:
            return [k if i == axis else te.min(p, sizes[i] - 1) for i, p in enumerate(at)]

        def is_meant(at: Sequence[Expr], k: Expr) -> Expr:
            same = [_from_end(index(*where(at, k)), shape[axis]) == at[axis].astype(index.dtype)]
            same += [p < sizes[i] for i, p in enumerate(at) if i != axis and sizes[i] < shape[i]]
            return tirx.all(*same) if len(same) > 1 else same[0]

        return sizes[axis], is_meant, lambda at, k: _linear(where(at, k), sizes)

    return _scattered(builder, data, updates, indices, as_text(attributes.get("reduction", "none")), how)


def scatter_nd(builder: Any, inputs: Any, attributes: Any) -> Expr:
    """As ScatterElements, of whole parts of the data."""
    data, indices, updates = inputs[0], inputs[1], inputs[2]
    shape, places = shape_of(data), shape_of(indices)
    count, depth = math.prod(places[:-1]), places[-1]
    rows = builder.emit(relax.op.reshape(indices, (count, depth)))

    def how(index: Any) -> tuple[int, Meant, Place]:
        def is_meant(at: Sequence[Expr], k: Expr) -> Expr:
            same = [_from_end(index(k, i), shape[i]) == p.astype(index.dtype) for i, p in enumerate(at[:depth])]
            return tirx.all(*same) if len(same) > 1 else same[0]

        part = math.prod(shape[depth:])
        return count, is_meant, lambda at, k: k * part + _linear(at[depth:], shape[depth:])

    return _scattered(builder, data, updates, rows, as_text(attributes.get("reduction", "none")), how)


def tensor_scatter(builder: Any, inputs: Any, attributes: Any) -> Expr:
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
            row = _limited(step, sizes[axis]).astype("int32")
            new = math.prod(shape) + _linear((*at[:axis], row, *at[axis + 1 :]), sizes)
            return numbers(_limited(_chosen(there, new, _linear(at, shape)), _sizes(numbers)[0]))

        return te.compute(shape, element, name="cache")

    return builder.call_te(cache, _row(builder, past, update), begin, primfunc_name_hint="cache")


def reverse_sequence(builder: Any, inputs: Any, attributes: Any) -> Expr:
    """The first elements of each sequence backwards, as many as its length says."""
    time, batch = attributes.get("time_axis", 0), attributes.get("batch_axis", 1)
    return builder.call_te(_reverse_sequence, inputs[0], inputs[1], time, batch, primfunc_name_hint="reversed")


def _reverse_sequence(data: Any, lengths: Any, time: int, batch: int) -> Any:
    extent, kind = int(data.shape[time]), lengths.dtype

    def element(*at: Any) -> Any:
        place, length = at[time].astype(kind), lengths(at[batch])
        other = place + (place < length).astype(kind) * (length - 1 - place - place)
        return data(*at[:time], _limited(other, extent), *at[time + 1 :])

    return te.compute(data.shape, element, name="reversed")


def top_k(builder: Any, inputs: Any, attributes: Any) -> Expr:
    """Each element's rank is how many are before it; the element of each rank is then looked for."""
    data, k = inputs[0], known_number(inputs[1])
    shape = shape_of(data)
    axis = attributes.get("axis", -1) % len(shape)
    attributes.get("sorted", 1)
    largest = bool(attributes.get("largest", 1))
    if not 0 < k <= shape[axis]:
        raise CompileError(f"it wants {k} of {shape[axis]} elements")
    both = builder.emit(builder.call_te(_top_k, data, axis, k, largest, primfunc_name_hint="top_k"))
    return relax.Tuple([builder.emit(relax.TupleGetItem(both, i)) for i in range(2)])


def _top_k(data: Any, axis: int, count: int, largest: bool) -> Any:
    extent, kind = int(data.shape[axis]), "int32"
    other, all_ranks = te.reduce_axis((0, extent), "other"), te.reduce_axis((0, extent), "place")
    shape = [count if i == axis else n for i, n in enumerate(data.shape)]

    def beside(at: Sequence[Expr], place: Expr) -> Any:
        return (*at[:axis], place, *at[axis + 1 :])

    def is_before(at: Sequence[Expr]) -> Expr:
        mine, their = data(*at), data(*beside(at, other))
        before = their > mine if largest else their < mine
        return tirx.any(before, tirx.all(their == mine, other < at[axis]))

    rank = te.compute(
        data.shape,
        lambda *at: te.sum(tirx.Select(is_before(at), tirx.const(1, kind), tirx.const(0, kind)), axis=other),
        name="rank",
    )
    place = te.compute(
        shape,
        lambda *at: te.max(
            tirx.Select(rank(*beside(at, all_ranks)) == at[axis], all_ranks, tirx.const(0, kind)), axis=all_ranks
        ),
        name="place",
    )
    values = te.compute(shape, lambda *at: data(*beside(at, _limited(place(*at), extent))), name="values")
    return values, te.compute(shape, lambda *at: place(*at).astype("int64"), name="indices")


def grid_sample(builder: Any, inputs: Any, attributes: Any) -> Expr:
    """Spatial transformer networks (arXiv:1506.02025), of images of 1 to 3 dimensions, as ONNX defines them."""
    data, grid = inputs[0], inputs[1]
    mode = as_text(attributes.get("mode", "linear")).removeprefix("bi")
    dimensions = len(shape_of(data)) - 2
    if mode == "cubic" and dimensions != 2:
        raise CompileError(f"its mode is cubic, of {dimensions} dimensions; only 2 are understood")
    padding = as_text(attributes.get("padding_mode", "zeros"))
    align = bool(attributes.get("align_corners", 0))
    numbers = _row(builder, data, const(np.zeros((), dtype_of(data))))
    return builder.call_te(
        _grid_sample, numbers, grid, shape_of(data), mode, padding, align, primfunc_name_hint="grid_sample"
    )


def _grid_sample(numbers: Any, grid: Any, shape: tuple[int, ...], mode: str, padding: str, align: bool) -> Any:
    """`numbers` are those of the image, and a 0 for what is outside."""
    sizes, outside = shape[2:], math.prod(shape)
    real = "float32"

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
        return te.compute(_sizes(grid)[:-1], lambda *at: coordinate(at, i), name=f"place{i}")

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
            index.append(_limited(whole, size))
        place = _linear((at[0], at[1], *index), shape)
        if padding == "zeros":
            place = _chosen(tirx.all(*inside) if len(inside) > 1 else inside[0], place, outside)
        return numbers(_limited(place, outside + 1)).astype(real)

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
            return tap(at, [0] * len(sizes)).astype(numbers.dtype)
        along = [weights(at, i) for i in range(len(sizes))]
        total = number(0)
        for offsets in itertools.product(*along):
            weight = number(1)
            for i, offset in enumerate(offsets):
                weight = weight * along[i][offset]
            total = total + weight * tap(at, offsets)
        return total.astype(numbers.dtype)

    return te.compute([*shape[:2], *_sizes(grid)[1:-1]], element, name="sampled")


POSITIONS: dict[str, Callable[..., Expr]] = {
    "GridSample": grid_sample,
    "ReverseSequence": reverse_sequence,
    "Scatter": scatter_elements,
    "ScatterElements": scatter_elements,
    "ScatterND": scatter_nd,
    "TensorScatter": tensor_scatter,
    "TopK": top_k,
}
