"""Where each buffer of a graph lies: offsets in the arena, and chunks of weights."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tzml.bundle import Argument, Region
from tzml.bundle.format import align
from tzml.compiler.graph import Buffer, Graph

# Small enough to stream through a few megabytes of secure memory, large enough for few of them.
CHUNK_SIZE = 256 * 1024


@dataclass(frozen=True)
class Layout:
    """The place of every buffer, the arena's size in bytes, and the chunks' contents."""

    places: dict[Buffer, Argument]
    arena_size: int
    chunks: tuple[bytes, ...]


@dataclass(frozen=True)
class _Lifetime:
    """The first and the last call during which a buffer holds something."""

    buffer: Buffer
    first: int
    last: int

    def meets(self, other: _Lifetime) -> bool:
        return self.first <= other.last and other.first <= self.last


def lay_out(graph: Graph) -> Layout:
    """Place the constants in chunks, and everything else in an arena as small as a greedy search finds."""
    places, chunks = _place_constants(buffer for call in graph.calls for buffer in call.buffers)
    arena, arena_size = _place_in_arena(_lifetimes(graph))
    return Layout(places | arena, arena_size, chunks)


def _place_constants(buffers: Iterable[Buffer]) -> tuple[dict[Buffer, Argument], tuple[bytes, ...]]:
    """Pack constants in the order of their use; one that is larger than a chunk gets its own."""
    places: dict[Buffer, Argument] = {}
    seen: dict[bytes, Argument] = {}
    chunks = [bytearray()]
    for buffer in buffers:
        if buffer.data is None or buffer in places:
            continue
        if buffer.data not in seen:
            start = align(len(chunks[-1]))
            if start and start + buffer.size > CHUNK_SIZE:
                chunks.append(bytearray())
                start = 0
            chunks[-1] += bytes(start - len(chunks[-1])) + buffer.data
            seen[buffer.data] = Argument(Region.weights, start, buffer.size, len(chunks) - 1)
        places[buffer] = seen[buffer.data]
    return places, tuple(bytes(chunk) for chunk in chunks if chunk)


def _lifetimes(graph: Graph) -> list[_Lifetime]:
    """Inputs live from before the first call, outputs until after the last."""
    first = {port.buffer: -1 for port in graph.inputs}
    last = dict(first)
    for index, call in enumerate(graph.calls):
        for buffer in call.buffers:
            if buffer.data is None:
                first.setdefault(buffer, index)
                last[buffer] = index
    for port in graph.outputs:
        last[port.buffer] = len(graph.calls)
    return [_Lifetime(buffer, first[buffer], last[buffer]) for buffer in first]


def _place_in_arena(lifetimes: list[_Lifetime]) -> tuple[dict[Buffer, Argument], int]:
    """Greedy by size: Pisarchyk and Lee, "Efficient Memory Management for Deep Neural Net Inference", 2020."""
    places: dict[Buffer, Argument] = {}
    placed: list[_Lifetime] = []
    for lifetime in sorted(lifetimes, key=lambda lifetime: -lifetime.buffer.size):
        taken = sorted((places[other.buffer] for other in placed if other.meets(lifetime)), key=lambda a: a.offset)
        offset = 0
        for other in taken:
            if offset + lifetime.buffer.size <= other.offset:
                break
            offset = max(offset, align(other.offset + other.size))
        places[lifetime.buffer] = Argument(Region.arena, offset, lifetime.buffer.size)
        placed.append(lifetime)
    return places, align(max((a.offset + a.size for a in places.values()), default=0))
