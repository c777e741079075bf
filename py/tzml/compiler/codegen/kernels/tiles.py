"""How large a tile of the output is computed in registers at once.

A tile is `pixels` positions times `vectors` vectors of output channels (or rows times vectors of columns
of a matrix product): one accumulator each. The choice minimises an estimate of instructions (AArch64) or
cycles (x86), by enumeration: the same shape always gets the same tile, and nothing is measured.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache

from tzml.compiler.codegen.kernels.isa import Isa

_FMA_LATENCY = 4
"""Cycles from one multiply-add to the next that needs its result; two are issued a cycle on x86."""
_LOOP = 4
"""Instructions around the body of the innermost loop."""
_PIXELS = 1 << 8
"""A tile of p pixels and v vectors as one number is p * _PIXELS + v."""
_CANDIDATES = 16
"""Tiles that are worth measuring, when a kernel is tuned: so many with the lowest estimates."""
_PRESSURE = 1 / 16
"""Cycles by which each more load makes a step slower, where loads are not what it waits for: it decides ties."""


@dataclass(frozen=True)
class Reduction:
    """The reduction that every output element of a tile needs, along a row of the input.

    `taps` elements at distance `dilation` are read for each of the outputs, which are `stride` apart,
    for each of `depth` channels that lie side by side.
    """

    taps: int = 1
    stride: int = 1
    dilation: int = 1
    depth: int = 4

    def vectors(self, pixels: int, lanes: int) -> int:
        """How many vectors hold the numbers that the taps of `pixels` outputs touch.

        Of one channel, neighbours along the row share a vector; of several, the channels of a position do.
        """
        if self.depth == 1:
            return -(-((pixels - 1) * self.stride + (self.taps - 1) * self.dilation + 1) // lanes)
        touched = {p * self.stride + t * self.dilation for p in range(pixels) for t in range(self.taps)}
        return len(touched) * -(-self.depth // lanes)


@dataclass(frozen=True)
class OutputSection:
    """`count` tiles of `vectors` vectors of output channels, `pixels` wide each, from vector `first` on."""

    first: int
    count: int
    vectors: int
    pixels: int


@dataclass(frozen=True)
class _Tile:
    pixels: int
    vectors: int
    cost: float


@cache
def sections(
    isa: Isa, pixels: int, vectors: int, reduction: Reduction, tile: int | None = None
) -> tuple[OutputSection, ...]:
    """Cut `vectors` vectors of output channels into sections with the best tile for each.

    `tile`, from candidates(), is taken instead for as many as it can be.
    """
    if tile is not None:
        wide, size = divmod(tile, _PIXELS)
        count, rest = divmod(vectors, size)
        sides = sections(isa, pixels, rest, reduction) if rest else ()
        return (OutputSection(0, count, size, wide), *(replace(s, first=s.first + count * size) for s in sides))
    best: tuple[float, tuple[OutputSection, ...]] | None = None
    for wide in range(1, min(vectors, isa.registers // 2) + 1):
        main, rest = divmod(vectors, wide)
        cut: list[OutputSection] = []
        cost, first = 0.0, 0
        for count, size in ((main, wide), (1, rest)):
            if not size:
                continue
            found = _best_tile(isa, pixels, size, reduction)
            if found is None:
                break
            cut.append(OutputSection(first, count, size, found.pixels))
            cost += count * found.cost
            first += count * size
        if first == vectors and (best is None or cost < best[0]):
            best = (cost, tuple(cut))
    assert best is not None, "a tile of one vector fits every processor"
    return best[1]


@cache
def candidates(isa: Isa, pixels: int, vectors: int, reduction: Reduction) -> tuple[int, ...]:
    """Tiles that may be better than the one that is taken, by the estimate: each as one number."""
    chosen = sections(isa, pixels, vectors, reduction)[0]
    found = [
        (tile.cost / size, tile.pixels * _PIXELS + size)
        for size in range(1, min(vectors, isa.registers // 2) + 1)
        for tile in _tiles(isa, pixels, size, reduction)
        if (tile.pixels, size) != (chosen.pixels, chosen.vectors)
    ]
    return tuple(number for _, number in sorted(found)[:_CANDIDATES])


@cache
def _best_tile(isa: Isa, pixels: int, vectors: int, reduction: Reduction) -> _Tile | None:
    """The cheapest tile of that many vectors for a row of outputs."""
    tiles = list(_tiles(isa, pixels, vectors, reduction))
    return min(tiles, key=lambda tile: (tile.cost, -tile.pixels)) if tiles else None


def _tiles(isa: Isa, pixels: int, vectors: int, reduction: Reduction) -> Iterator[_Tile]:
    step = _by_element if isa.by_element else _broadcast
    for wide in range(1, min(pixels, isa.registers) + 1):
        cost = step(isa, wide, vectors, reduction)
        if cost is not None:
            yield _Tile(wide, vectors, -(-pixels // wide) * cost)


def _by_element(isa: Isa, pixels: int, vectors: int, reduction: Reduction) -> float | None:
    """Instructions for a step of `depth` channels and all taps, or None if registers do not suffice.

    Positions that several taps share are loaded once. Two loads of neighbours are one LDP.
    """
    held = reduction.vectors(pixels, isa.lanes)
    if pixels * vectors + held + vectors > isa.registers - 1:
        return None
    multiply = pixels * vectors * reduction.depth * reduction.taps
    weights = vectors * reduction.depth * reduction.taps
    return multiply + (held + weights) / 2 + _LOOP


def _broadcast(isa: Isa, pixels: int, vectors: int, reduction: Reduction) -> float | None:
    """Cycles for a step of one channel and one tap: two multiply-adds, or two loads, a cycle."""
    if pixels * vectors + vectors + 1 > isa.registers:
        return None
    busy = max(pixels * vectors / 2, (pixels + vectors) / 2, _FMA_LATENCY)
    return busy + (pixels + vectors) * _PRESSURE
