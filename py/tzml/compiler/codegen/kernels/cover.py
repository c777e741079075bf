"""How tiles cover an axis whose ends need code of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tzml.compiler.codegen.kernels.tir import Expr, T


@dataclass(frozen=True)
class Span:
    """`count` tiles of `size` from `start` on, `size` apart: a loop if there are several."""

    start: int
    count: int
    size: int

    def starts(self) -> Iterator[Expr]:
        """Where the tiles begin; a loop variable times `size` inside a loop. For use in a `for`."""
        if self.count == 1:
            yield self.start
            return
        with T.serial(self.count) as index:
            yield index * self.size + self.start


def cover(extent: int, size: int, is_regular: Callable[[int], bool] = lambda _: True) -> list[Span]:
    """Cover [0, extent) with tiles of `size` ≤ `extent`.

    The last tile is moved back where it would reach beyond the end: what it shares with the one before
    is computed twice, to the same values. Tiles that are not regular (near a border) stand alone, so
    that their position is a constant when their code is emitted.
    """
    spans: list[Span] = []
    for start in range(0, extent, size):
        begin = min(start, extent - size)
        previous = spans[-1] if spans else None
        follows = previous and is_regular(previous.start) and begin == previous.start + previous.count * size
        if previous and follows and is_regular(begin):
            spans[-1] = Span(previous.start, previous.count + 1, size)
        else:
            spans.append(Span(begin, 1, size))
    return spans
