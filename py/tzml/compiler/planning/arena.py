"""Where values lie in the arena."""

from __future__ import annotations

from dataclasses import dataclass

from tzml.bundle import Argument, Region
from tzml.bundle.format import align
from tzml.compiler.ir.graph import Buffer, Graph


@dataclass
class Lifetime:
    """The first and the last call during which memory holds something."""

    first: int
    last: int

    def meets(self, other: Lifetime) -> bool:
        """Whether there is a call in both."""
        return self.first <= other.last and other.first <= self.last


@dataclass(frozen=True)
class Block:
    """Memory at `start` for as long as it is needed; `start` counts from its buffer, or from the arena's."""

    start: int
    size: int
    lifetime: Lifetime


def place_in_arena(graph: Graph) -> tuple[dict[Buffer, Argument], tuple[Block, ...]]:
    """The place of each buffer of the arena, and what is there when.

    Greedy by size: Pisarchyk and Lee, "Efficient Memory Management for Deep Neural Net Inference", 2020.
    A buffer that consists of others is placed as a whole, but each of them only takes its memory from when
    it is written until nobody needs it. Offsets and sizes are in bytes.
    """
    lifetimes = _lifetimes(graph)
    places: dict[Buffer, Argument] = {}
    placed: list[Block] = []
    for buffer in sorted(_outermost(graph), key=lambda buffer: -buffer.size):
        blocks = [Block(start, piece.size, lifetimes[piece]) for start, piece in buffer.pieces()]
        offset = _lowest_place(blocks, placed)
        placed += [Block(offset + block.start, block.size, block.lifetime) for block in blocks]
        _assign(buffer, offset, places)
    return places, tuple(placed)


def _lifetimes(graph: Graph) -> dict[Buffer, Lifetime]:
    """Of every piece. Inputs live from before the first call, outputs until after the last."""
    found: dict[Buffer, Lifetime] = {}

    def use(buffer: Buffer, when: int) -> None:
        for _, piece in buffer.pieces():
            lifetime = found.setdefault(piece, Lifetime(when, when))
            lifetime.last = max(lifetime.last, when)

    for port in graph.inputs:
        use(port.buffer, -1)
    for index, call in enumerate(graph.calls):
        for buffer in call.buffers:
            if buffer.in_arena:
                use(buffer, index)
    for port in graph.outputs:
        if port.buffer.in_arena:
            use(port.buffer, len(graph.calls))
    return found


def _outermost(graph: Graph) -> list[Buffer]:
    """The buffers that are part of no other, in the order of their first use."""
    used = [port.buffer for port in graph.inputs]
    used += [buffer for call in graph.calls for buffer in call.buffers if buffer.in_arena]
    used += [port.buffer for port in graph.outputs if port.buffer.in_arena]
    parts: set[Buffer] = set()
    for buffer in used:
        _collect_parts(buffer, parts)
    return [buffer for buffer in dict.fromkeys(used) if buffer not in parts]


def _collect_parts(buffer: Buffer, parts: set[Buffer]) -> None:
    for part in buffer.parts:
        if part not in parts:
            parts.add(part)
            _collect_parts(part, parts)


def _lowest_place(blocks: list[Block], placed: list[Block]) -> int:
    """The lowest offset at which no block meets one that was placed, in space and time."""
    taken = sorted(
        (other.start - block.start - block.size, other.start + other.size - block.start)
        for block in blocks
        for other in placed
        if block.lifetime.meets(other.lifetime)
    )
    offset = 0
    for below, above in taken:  # an offset strictly between these two is none
        if offset <= below:
            break
        offset = max(offset, align(above))
    return offset


def _assign(buffer: Buffer, offset: int, places: dict[Buffer, Argument]) -> None:
    places[buffer] = Argument(Region.arena, offset, buffer.size)
    for part in buffer.parts:
        _assign(part, offset, places)
        offset += part.size
