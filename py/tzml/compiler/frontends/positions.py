"""Operators of several formats that read or write at positions that the data say, in TE.

None of them writes where an index says: each element of the result looks for the update that is meant for it. It is
then read from one row of numbers, at an index that is limited to that row in the kernel itself
(codegen/refuse_indirect.py looks for that). So no index leaves its tensor, whatever it is.

What is chosen is an index, by arithmetic: TVM makes a branch of a choice between numbers that are read. LLVM still
finds one in what scatters, which therefore says that its time tells of indices.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from tvm import relax, te, tirx

from tzml.compiler.ir.errors import CompileError
from tzml.compiler.ir.operators import TELLS
from tzml.compiler.ir.rewrite import const, dtype_of, shape_of

Expr = Any


def _reduction(name: str) -> Callable[..., Expr]:
    if name == "mul":
        return te.comm_reducer(lambda a, b: a * b, lambda kind: tirx.const(1, kind), "product")
    return {"add": te.sum, "max": te.max, "min": te.min}[name]


def neutral(name: str, kind: str) -> Any:
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


def limited(index: Expr, extent: int) -> Expr:
    return te.max(te.min(index, tirx.const(extent - 1, index.ty.dtype)), tirx.const(0, index.ty.dtype))


def chosen(condition: Expr, one: Expr, other: Expr) -> Expr:
    """One integer or the other, without a branch."""
    return other + condition.astype("int32") * (one - other)


def linear(at: Sequence[Expr], sizes: Sequence[int]) -> Expr:
    """The place of an element among all of a tensor's."""
    place = tirx.const(0, "int32")
    for p, size in zip(at, sizes, strict=True):
        place = place * size + p
    return place


def row_of(builder: Any, *values: Expr) -> Expr:
    """All numbers of some tensors, one after another."""
    flat = [builder.emit(relax.op.reshape(value, (math.prod(shape_of(value)),))) for value in values]
    return builder.emit(relax.op.concat(flat, 0))


def sizes_of(tensor: Any) -> list[int]:
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
            return numbers(limited(chosen(found(*at) > 0, update, linear(at, shape)), sizes_of(numbers)[0]))

        return te.compute(shape, element, name="scattered")

    def reduced(old: Any, numbers: Any, index: Any) -> Any:
        """All updates that are meant for an element; the last of `numbers` changes nothing."""
        steps, is_meant, place = how(index)
        step, nothing = te.reduce_axis((0, steps), "step"), sizes_of(numbers)[0] - 1
        reduce = _reduction(reduction)

        def update(at: Sequence[Expr]) -> Expr:
            return numbers(limited(chosen(is_meant(at, step), place(at, step), nothing), nothing + 1))

        total = te.compute(shape, lambda *at: reduce(update(at), axis=step), name="total")
        return te.compute(shape, lambda *at: _combined(reduction, old(*at), total(*at)), name="scattered")

    about = {"primfunc_name_hint": "scatter", "primfunc_attrs": {TELLS: 1}}
    if reduction == "none":
        return builder.call_te(last, row_of(builder, data, updates), indices, **about)
    numbers = row_of(builder, updates, const(neutral(reduction, kind)))
    return builder.call_te(reduced, data, numbers, indices, **about)


def scatter_elements(builder: Any, data: Expr, indices: Expr, updates: Expr, axis: int, reduction: str) -> Expr:
    """The data with updates along an axis: `reduction` is none, add, mul, max or min, as ONNX has them.

    An index outside of the axis changes nothing; of several updates of an element the last one counts.
    """
    shape, sizes = shape_of(data), shape_of(indices)
    axis %= len(shape)

    def how(index: Any) -> tuple[int, Meant, Place]:
        def where(at: Sequence[Expr], k: Expr) -> list[Expr]:
            return [k if i == axis else te.min(p, sizes[i] - 1) for i, p in enumerate(at)]

        def is_meant(at: Sequence[Expr], k: Expr) -> Expr:
            same = [_from_end(index(*where(at, k)), shape[axis]) == at[axis].astype(index.dtype)]
            same += [p < sizes[i] for i, p in enumerate(at) if i != axis and sizes[i] < shape[i]]
            return tirx.all(*same) if len(same) > 1 else same[0]

        return sizes[axis], is_meant, lambda at, k: linear(where(at, k), sizes)

    return _scattered(builder, data, updates, indices, reduction, how)


def scatter_nd(builder: Any, data: Expr, indices: Expr, updates: Expr, reduction: str) -> Expr:
    """As scatter_elements, of whole parts of the data: the last axis of the indices is that of a place."""
    shape, places = shape_of(data), shape_of(indices)
    count, depth = math.prod(places[:-1]), places[-1]
    rows = builder.emit(relax.op.reshape(indices, (count, depth)))

    def how(index: Any) -> tuple[int, Meant, Place]:
        def is_meant(at: Sequence[Expr], k: Expr) -> Expr:
            same = [_from_end(index(k, i), shape[i]) == p.astype(index.dtype) for i, p in enumerate(at[:depth])]
            return tirx.all(*same) if len(same) > 1 else same[0]

        part = math.prod(shape[depth:])
        return count, is_meant, lambda at, k: k * part + linear(at[depth:], shape[depth:])

    return _scattered(builder, data, updates, rows, reduction, how)


def reverse_sequence(builder: Any, data: Expr, lengths: Expr, time: int, batch: int) -> Expr:
    """The first elements of each sequence backwards, as many as its length says."""
    return builder.call_te(_reverse_sequence, data, lengths, time, batch, primfunc_name_hint="reversed")


def _reverse_sequence(data: Any, lengths: Any, time: int, batch: int) -> Any:
    extent, kind = int(data.shape[time]), lengths.dtype

    def element(*at: Any) -> Any:
        place, length = at[time].astype(kind), lengths(at[batch])
        other = place + (place < length).astype(kind) * (length - 1 - place - place)
        return data(*at[:time], limited(other, extent), *at[time + 1 :])

    return te.compute(data.shape, element, name="reversed")


def top_k(builder: Any, data: Expr, k: int, axis: int = -1, *, largest: bool = True) -> Expr:
    """The `k` largest or smallest elements along an axis, in order, and where they are (int64).

    Each element's rank is how many are before it; the element of each rank is then looked for. Raises CompileError
    if there are fewer.
    """
    shape = shape_of(data)
    axis %= len(shape)
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
    values = te.compute(shape, lambda *at: data(*beside(at, limited(place(*at), extent))), name="values")
    return values, te.compute(shape, lambda *at: place(*at).astype("int64"), name="indices")


def update_slice(builder: Any, data: Expr, update: Expr, start: Expr) -> Expr:
    """The data with a part replaced, from the place that `start` says on, or the nearest where the part fits."""
    about = {"primfunc_name_hint": "update_slice", "primfunc_attrs": {TELLS: 1}}
    return builder.call_te(_update_slice, data, update, start, **about)


def _update_slice(data: Any, update: Any, start: Any) -> Any:
    sizes, parts = sizes_of(data), sizes_of(update)

    def element(*at: Any) -> Any:
        begins = [
            limited(start(i), size - part + 1).astype("int32")
            for i, (size, part) in enumerate(zip(sizes, parts, strict=True))
        ]
        inside = [p >= begin for p, begin in zip(at, begins, strict=True)]
        inside += [p < begin + part for p, begin, part in zip(at, begins, parts, strict=True)]
        new = update(*(limited(p - begin, part) for p, begin, part in zip(at, begins, parts, strict=True)))
        return tirx.Select(tirx.all(*inside), new, data(*at))

    return te.compute(data.shape, element, name="updated")


def gather_batches(builder: Any, data: Expr, indices: Expr, axis: int, batches: int) -> Expr:
    """Elements along an axis; the first axes of the indices are those of the data."""
    rank = len(shape_of(data))
    return builder.call_te(_gather_batches, data, indices, axis % rank, batches, primfunc_name_hint="gather")


def _gather_batches(data: Any, indices: Any, axis: int, batches: int) -> Any:
    sizes, places = sizes_of(data), sizes_of(indices)
    shape = [*sizes[:axis], *places[batches:], *sizes[axis + 1 :]]
    inner = len(places) - batches

    def element(*at: Any) -> Any:
        index = indices(*at[:batches], *at[axis : axis + inner])
        return data(*at[:axis], limited(index, sizes[axis]), *at[axis + inner :])

    return te.compute(shape, element, name="gathered")
