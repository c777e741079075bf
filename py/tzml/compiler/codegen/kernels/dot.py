"""Products of int8 numbers, summed in int32: the step every integer kernel is made of.

Both operands run along the reduction, so that a vector of partial sums belongs to one result; at the end
its lanes are added up. AArch64 before ARMv8.2 has no dot product: two products of int8 (one at most -127)
fit into an int16, and pairs of those are added to int32 (SMULL, SMLAL2, SADALP: three instructions for
16 products). x86 widens both to int16 and has PMADDWD.
"""

from __future__ import annotations

from collections.abc import Sequence

from tvm import tirx

from tzml.compiler.codegen.kernels.isa import Isa
from tzml.compiler.codegen.kernels.tir import Buffer, Expr, T, Vector, load, splat

_PMADDWD = {4: "llvm.x86.sse2.pmadd.wd", 8: "llvm.x86.avx2.pmadd.wd", 16: "llvm.x86.avx512.pmaddw.d.512"}


def depth(isa: Isa) -> int:
    """How many products one step takes."""
    return 16 if isa.by_element else 2 * isa.lanes


def instructions(isa: Isa) -> int:
    """What one step takes, without its loads."""
    return 3 if isa.by_element else 2


def partial_sums(isa: Isa) -> Vector:
    """An accumulator, zero."""
    vector = Vector(isa.lanes, "int32")
    vector.set(zeros(isa.lanes))
    return vector


def zeros(lanes: int) -> Expr:
    return splat(tirx.IntImm("int32", 0), lanes)


def operand(isa: Isa, buffer: Buffer, offset: Expr) -> list[Expr]:
    """Numbers for a step, from `offset` of a flat int8 buffer on."""
    numbers = T.Bind(load(buffer, offset, depth(isa)))
    if not isa.by_element:
        return [T.Bind(tirx.Cast(f"int16x{depth(isa)}", numbers))]
    # LLVM makes SMULL and SMLAL2 of products of such halves
    halves = (tirx.Shuffle([numbers], list(range(first, first + 8))) for first in (0, 8))
    return [tirx.Cast("int16x8", half) for half in halves]


def accumulate(isa: Isa, sums: Vector, left: Sequence[Expr], right: Sequence[Expr], narrow: bool) -> None:
    """Add a step's products. `narrow` promises that no number of `right` is -128."""
    kind = f"int32x{isa.lanes}"
    if not isa.by_element:
        pairs = tirx.call_llvm_pure_intrin(kind, _PMADDWD[isa.lanes], left[0], right[0])
        sums.set(sums.get() + pairs)
        return
    products = [a * b for a, b in zip(left, right, strict=True)]
    for product in [products[0] + products[1]] if narrow else products:
        pairs = tirx.call_llvm_pure_intrin(kind, "llvm.aarch64.neon.saddlp.v4i32.v8i16", T.Bind(product))
        sums.set(sums.get() + pairs)


def totals(sums: Sequence[Vector]) -> Expr:
    """A vector with the sum of the lanes of each; there are as many as a power of two, four at least."""
    vectors = [T.Bind(_fold(vector.get(), vector.lanes)) for vector in sums]
    fours = [_pairs(_pairs(a, b), _pairs(c, d)) for a, b, c, d in zip(*[iter(vectors)] * 4, strict=True)]
    lanes = 4
    while len(fours) > 1:
        lanes *= 2
        fours = [tirx.Shuffle([a, b], list(range(lanes))) for a, b in zip(*[iter(fours)] * 2, strict=True)]
    return fours[0]


def _fold(vector: Expr, lanes: int) -> Expr:
    """Add one half to the other until four lanes are left."""
    while lanes > 4:
        lanes //= 2
        vector = T.Bind(vector)
        vector = tirx.Shuffle([vector], list(range(lanes))) + tirx.Shuffle([vector], list(range(lanes, 2 * lanes)))
    return vector


def _pairs(a: Expr, b: Expr) -> Expr:
    """The sums of neighbours in a, then in b: ADDP, PHADDD."""
    return T.Bind(tirx.Shuffle([a, b], [0, 2, 4, 6]) + tirx.Shuffle([a, b], [1, 3, 5, 7]))
