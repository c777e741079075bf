"""Gradients of single examples, each clipped to a length and added up in integers, which DP-SGD puts noise on.

M. Abadi et al., "Deep Learning with Differential Privacy", 2016. What an example adds to the sums has a Euclidean
norm of at most BOUND units, exactly: sums of integers do not round, and a sum that reaches the end of int32 stays
there, which lets no example change it by more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from tvm import relax, s_tir, te, tirx

from tzml.compiler.codegen.kernels import mark_tuned
from tzml.compiler.ir.rewrite import Expr, const, shape_of
from tzml.compiler.passes.training.in_place import assign

BOUND = 1 << 16
"""Units: the norm of what an example adds is at most that."""

_SCALED = BOUND * (1 - 2**-14)
"""Units that a gradient of the clip's length is scaled to: the length is off by less than what is missing."""

_FINITE = 1e300
"""Above each sum of squares of float32."""

_LANES = (16, 8, 4, 1)
_ADDED = 64
"""Squares that are added up in float32, each of them of one lane: the sum is off by less than 2^-17."""

_OPAQUE = 8
"""TVM's OpPatternKind of what nothing is fused with."""


def unit(clip: float) -> float:
    """What one unit of the sums is of a gradient that is clipped to `clip`."""
    return clip / _SCALED


def add_clipped(
    builder: Any, gradients: Sequence[Expr], sums: Sequence[Expr], left: Expr, clip: Expr
) -> list[Expr]:
    """Add an example's gradients, rows of float32, to sums, rows of int32; what stands for these afterwards.

    All gradients together are scaled down to the length `clip` (float32, rank 0) if they are longer. Units are cut
    off towards zero. An example adds nothing if a gradient is not finite, or if `left` (int32, rank 0) is not
    above 0.
    """
    total = const(np.zeros(1))
    kind = relax.TensorType((1,), "float64")
    for gradient in gradients:
        total = _call(builder, "sum_of_squares", _sum_of_squares(*shape_of(gradient)), [gradient, total], kind)
    scale = _call(builder, "clip_scale", _scale(), [total, left, clip], relax.TensorType((1,), "float32"))

    def summed(total: Expr, gradient: Expr, scale: Expr) -> Expr:
        units = tirx.if_then_else(scale > tirx.const(0, "float32"), tirx.Cast("int32", gradient * scale), 0)
        return tirx.call_llvm_pure_intrin("int32", "llvm.sadd.sat", total, units)

    return [
        assign(builder, "add_clipped", total, summed, gradient, scale)
        for total, gradient in zip(sums, gradients, strict=True)
    ]


def added(builder: Any, one: Expr, other: Expr) -> Expr:
    """The sum of two numbers of rank 0, which is not put off until more can be added at once."""
    a, b = te.placeholder((), name="a"), te.placeholder((), name="b")
    function = te.create_prim_func([a, b, te.compute((), lambda: a() + b(), name="sum")])
    return _call(builder, "add", function, [one, other], relax.TensorType((), "float32"))


def _call(builder: Any, name: str, function: Any, arguments: Sequence[Expr], kind: Any) -> Expr:
    """The result of a tensor function."""
    variable = builder.add_func(function.with_attr("op_pattern", _OPAQUE), name)
    return builder.emit(relax.call_tir(variable, list(arguments), kind))


def _sum_of_squares(count: int) -> Any:
    """Of a row of float32, added to a number of float64.

    A few at a time are added up in float32, and these sums in float64: of 2^30 numbers the whole is off by less
    than 2^-16.
    """
    lanes = next(lanes for lanes in _LANES if count % lanes == 0)
    rows = count // lanes
    few = max(few for few in range(1, _ADDED + 1) if rows % few == 0)
    x, before = te.placeholder((count,), name="x"), te.placeholder((1,), "float64", name="before")
    k, b = te.reduce_axis((0, few), name="k"), te.reduce_axis((0, rows // few), name="b")
    j = te.reduce_axis((0, lanes), name="j")

    def square(i: Expr) -> Expr:
        return x(i) * x(i)

    parts = te.compute(
        (rows // few, lanes), lambda b, i: te.sum(square((b * few + k) * lanes + i), axis=k), name="parts"
    )
    wide = te.compute((lanes,), lambda i: te.sum(tirx.Cast("float64", parts(b, i)), axis=b), name="wide")
    total = te.compute((1,), lambda _: te.sum(wide(j), axis=j), name="total")
    result = te.compute((1,), lambda i: before(i) + total(i), name="result")
    sch = s_tir.Schedule(te.create_prim_func([x, before, result]))
    block, inner = sch.get_sblock("wide"), sch.get_sblock("parts")
    lane, step = sch.get_loops(block)
    sch.reorder(step, lane)
    sch.compute_at(inner, step, preserve_unit_loops=True)
    *_, lane_inside, step_inside = sch.get_loops(inner)
    sch.reorder(step_inside, lane_inside)
    if lanes > 1:
        sch.vectorize(lane)
        sch.vectorize(lane_inside)
    sch.decompose_reduction(inner, step_inside)
    sch.decompose_reduction(block, step)
    return mark_tuned(sch.mod["main"])


def _scale() -> Any:
    """Units of a gradient, by the square of its length, how many examples are left, and the clip; 0: none."""
    total = te.placeholder((1,), "float64", name="total")
    left, clip = te.placeholder((), "int32", name="left"), te.placeholder((), name="clip")

    def scale(i: Expr) -> Expr:
        length = tirx.max(tirx.sqrt(total(i)), tirx.Cast("float64", clip()))
        counts = tirx.And(total(i) < tirx.const(_FINITE, "float64"), left() > 0)
        scaled = tirx.Cast("float32", tirx.const(_SCALED, "float64") / length)
        return tirx.if_then_else(counts, scaled, tirx.const(0, "float32"))

    return mark_tuned(te.create_prim_func([total, left, clip, te.compute((1,), scale, name="scale")]))
