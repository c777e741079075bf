"""The inner step of every convolution and matrix product: an outer product in registers.

A tile of `pixels` times `vectors` accumulators takes, for each of a few reduction indices k, the product of
one number a pixel and a vector of packed weights. See Goto and van de Geijn, "Anatomy of High-Performance
Matrix Multiplication", 2008.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tzml.compiler.codegen.kernels.isa import Isa
from tzml.compiler.codegen.kernels.tir import Buffer, Expr, T, Vector, f32, lane, load, splat


class Accumulators:
    """A tile of vector registers."""

    def __init__(self, pixels: int, vectors: int, lanes: int) -> None:
        self.pixels, self.vectors, self.lanes = pixels, vectors, lanes
        self.tile = [[Vector(lanes) for _ in range(vectors)] for _ in range(pixels)]

    def clear(self) -> None:
        for row in self.tile:
            for vector in row:
                vector.set(splat(f32(0), self.lanes))

    def __getitem__(self, at: tuple[int, int]) -> Vector:
        return self.tile[at[0]][at[1]]


@dataclass(frozen=True)
class Operand:
    """A flat buffer and an offset in it, in elements."""

    buffer: Buffer
    offset: Expr


@dataclass(frozen=True)
class Weights:
    """Rows of vectors in a flat buffer: row k's vector v is at `offset` + k · `step` + `places[v]`."""

    buffer: Buffer
    offset: Expr
    step: int
    places: Sequence[int]


def outer_product(
    isa: Isa, tile: Accumulators, data: Operand, taps: Sequence[Sequence[int | None]], weights: Weights
) -> None:
    """Emit tile[p, v] += data[taps[k][p]] * weights[k, v] for every k.

    `taps[k][p]` is relative to `data.offset` and known when this is compiled; None stands for a zero,
    of which nothing is emitted.
    """
    scalars = _lanes_of_vectors(isa, data, taps) if isa.by_element else {}
    for k, row in enumerate(taps):
        if all(tap is None for tap in row):
            continue
        vectors = [
            T.Bind(load(weights.buffer, weights.offset + (k * weights.step + place), tile.lanes))
            for place in weights.places
        ]
        for p, tap in enumerate(row):
            if tap is None:
                continue
            scalar = lane(*scalars[tap]) if tap in scalars else load(data.buffer, data.offset + tap, 1)
            number = T.Bind(splat(scalar, tile.lanes)) if not isa.by_element else splat(scalar, tile.lanes)
            for v, vector in enumerate(vectors):
                tile[p, v].set(tile[p, v].get() + number * vector)


def _lanes_of_vectors(isa: Isa, data: Operand, taps: Sequence[Sequence[int | None]]) -> dict[int, tuple[Expr, int]]:
    """Load the numbers at `taps` with as few vector loads as cover them: where each is, register and lane.

    No load goes below the first tap or beyond the last, so that nothing outside the operand is touched.
    """
    wanted = sorted({tap for row in taps for tap in row if tap is not None})
    found: dict[int, tuple[Expr, int]] = {}
    if not wanted or wanted[-1] - wanted[0] < isa.lanes - 1:
        return found
    for tap in wanted:
        if tap in found:
            continue
        start = min(tap, wanted[-1] - isa.lanes + 1)
        vector = T.Bind(load(data.buffer, data.offset + start, isa.lanes))
        for index in range(isa.lanes):
            found.setdefault(start + index, (vector, index))
    return found
