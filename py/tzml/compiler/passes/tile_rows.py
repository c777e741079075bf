"""Chains of layers whose values are larger than the memory for them, computed strip by strip.

A strip is some rows of the chain's result. Going back from the result, each layer says which rows of its
input it needs; neighbouring strips overlap there, and compute those rows twice. Only the chain's input,
its result and one strip of what lies between are in memory at once. Layers as the chain has them are
convolutions, pooling and operators of single numbers; a layer that is computed in integers begins with
the dequantization of its input. Alwani et al., "Fused-Layer CNN Accelerators", 2016.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from tvm import relax

from tzml.compiler.ir.rewrite import Expr, Rewriter
from tzml.compiler.passes.chains import Chains, Rows, Stage

_AROUND = 6
"""Stages that a tiled piece of a chain may have before one that is too large, and behind it.

Every pair of ends is tried with every height of a strip, so the time for that grows with the square.
"""


def tile_layers(module: Any, limit: int) -> Any:
    """The module, with chains in strips where a layer's input and output take more than `limit` bytes.

    Layers for which no height of a strip is low enough stay whole.
    """
    return relax.transform.DeadCodeElimination(["main"])(_TileRows(module, limit).run())


def widest_layer(module: Any) -> int:
    """The most bytes that the input and output of a layer take that could be tiled; no limit above it tiles any."""
    chains = _TileRows(module, 0).chains()
    return max((max(a + b for a, b in pairwise(_sizes(chain))) for chain in chains), default=0)


class _TileRows(Rewriter):
    def __init__(self, module: Any, limit: int) -> None:
        super().__init__(module)
        self.limit = limit
        # by the variable of the last layer: what to tile, and how many rows a strip has
        self.tiled: dict[Any, tuple[list[Stage], int]] = {}
        self.inside: set[Any] = set()  # variables of the other layers

    def chains(self) -> list[list[Stage]]:
        main = self.module["main"]
        self._count_uses(main)
        return list(Chains(main, self.uses).run())

    def run(self) -> Any:
        for chain in self.chains():
            for stages, height in _to_tile(chain, self.limit):
                *others, last = [layer.variable for stage in stages for layer in stage.layers]
                self.tiled[last] = stages, height
                self.inside.update(variable for variable in others if self.uses[variable] == 1)
        self.uses.clear()
        return super().run()

    def call(self, variable: Any, call: Any) -> Expr | None:
        if variable in self.inside:
            return None
        if variable in self.tiled:
            return self.strips(*self.tiled[variable])
        return super().call(variable, call)

    def strips(self, stages: list[Stage], height: int) -> Expr:
        """The result of the last stage, strip by strip."""
        axis = stages[0].window.axis
        data = self.translate(stages[0].data)
        strips = []
        for rows in _cover(stages[-1].rows, height):
            needs = _needs(stages, rows)
            value = self.emit(relax.op.strided_slice(data, [axis], [needs[0].first], [needs[0].end]))
            for stage, need in zip(stages, needs, strict=True):
                for layer in stage.layers:
                    value = self.emit(layer.on(value, need, self.translate), layer.variable)
            strips.append(value)
        return self.concat(strips, axis)


# What to tile, and how finely


def _sizes(chain: list[Stage]) -> list[int]:
    """Bytes of what a chain reads, and of each stage's result."""
    return [chain[0].input_bytes, *(stage.bytes for stage in chain)]


def _to_tile(chain: list[Stage], limit: int) -> Iterator[tuple[list[Stage], int]]:
    """The pieces of a chain to be tiled, and how many rows a strip has.

    A piece has the stages that take more than `limit` bytes, and some around them; of those that fit, the one
    for which the fewest numbers are computed twice.
    """
    sizes = _sizes(chain)
    start = 0
    while start < len(chain):
        wide = next((k for k in range(start, len(chain)) if sizes[k] + sizes[k + 1] > limit), None)
        if wide is None:
            return
        found = []
        for first in range(max(start, wide - _AROUND), wide + 1):
            for end in range(wide + 1, min(wide + _AROUND, len(chain)) + 1):
                height = _strip_height(chain[first:end], limit)
                if height is not None:
                    found.append((_work(chain[first:end], height), end, first, height))
        if not found:
            start = wide + 1
            continue
        _, end, first, height = min(found)
        yield chain[first:end], height
        start = end


def _strip_height(stages: list[Stage], limit: int) -> int | None:
    """The most rows a strip such that everything takes at most `limit` bytes; None if there is no such number.

    The result counts twice, as strips and as a whole. A strip must have rows to begin with, and not only
    padding.
    """
    ends = stages[0].input_bytes + 2 * stages[-1].bytes
    rows = stages[-1].rows
    if ends > limit:
        return None
    for height in sorted({-(-rows // count) for count in range(2, rows + 1)}, reverse=True):
        some = all(need.first < need.end for r in _cover(rows, height) for need in _needs(stages, r))
        if some and ends + _strip_bytes(stages, height) <= limit:
            return height
    return None


def _work(stages: list[Stage], height: int) -> int:
    """Multiply-accumulates that strips compute more than there are in the layers."""
    more = 0
    for rows in _cover(stages[-1].rows, height):
        needs = [*_needs(stages, rows), rows]
        more += sum((need.end - need.first) * s.row_work for need, s in zip(needs[1:], stages, strict=True))
    return more - sum(stage.rows * stage.row_work for stage in stages)


def _strip_bytes(stages: list[Stage], height: int) -> int:
    """The most bytes that the input and the result of a stage take in any strip."""
    most = 0
    for rows in _cover(stages[-1].rows, height):
        needs = [*_needs(stages, rows), rows]
        sizes = [stages[0].input_bytes // stages[0].input_rows] + [stage.bytes // stage.rows for stage in stages]
        taken = [(need.end - need.first) * size for need, size in zip(needs, sizes, strict=True)]
        most = max(most, *(a + b for a, b in pairwise(taken)))
    return most


def _cover(rows: int, height: int) -> Iterator[Rows]:
    for first in range(0, rows, height):
        yield Rows(first, min(first + height, rows))


def _needs(stages: list[Stage], rows: Rows) -> list[Rows]:
    """What each stage needs of its input for some rows of the last one's result."""
    needs = []
    for stage in reversed(stages):
        rows = stage.window.needs(rows)
        needs.append(rows)
    return needs[::-1]
