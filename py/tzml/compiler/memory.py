"""Where each buffer of a graph lies: offsets in the arena, and chunks of weights."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tzml.bundle import Argument, Chunk, Region
from tzml.bundle.format import MAX_MEMORY, align
from tzml.compiler.graph import Buffer, Call, Graph

# Small enough to stream through a few megabytes of secure memory, large enough that switching
# between the worlds for each does not show.
CHUNK_SIZE = 256 * 1024


@dataclass(frozen=True)
class Layout:
    """The place of every argument of every call, in bytes of arena and of memory for weights.

    `arguments[i]` are call i's; `places` has the buffers in the arena; `contents[i]` is what
    `chunks[i]` holds.
    """

    places: dict[Buffer, Argument]
    arguments: tuple[tuple[Argument, ...], ...]
    arena_size: int
    chunks: tuple[Chunk, ...]
    contents: tuple[bytes, ...]

    @property
    def weights_size(self) -> int:
        """Bytes of memory that chunks are loaded into."""
        return max((align(chunk.offset + chunk.size) for chunk in self.chunks), default=0)

    @property
    def streamed(self) -> tuple[Chunk, ...]:
        """The chunks that are loaded anew in each inference, because they share their place."""
        return tuple(c for c in self.chunks if any(c is not d and c.overlaps(d) for d in self.chunks))


def lay_out(graph: Graph, weights_budget: int = MAX_MEMORY, chunk_size: int = CHUNK_SIZE) -> Layout:
    """Place everything: the weights in at most `weights_budget` bytes if the largest chunk fits there.

    Whether it did is for the caller to see in the result. Chunks are larger than `chunk_size` only
    where the constants of one call are.
    """
    places, arena_size = _place_in_arena(_lifetimes(graph))
    constants, contents = _cut(graph.calls, chunk_size)
    chunks = _place_chunks([len(content) for content in contents], weights_budget)
    arguments = tuple(
        tuple(constants[index, buffer] if buffer.data is not None else places[buffer] for buffer in call.buffers)
        for index, call in enumerate(graph.calls)
    )
    return Layout(places, arguments, arena_size, chunks, contents)


# Weights


def _cut(calls: Iterable[Call], chunk_size: int) -> tuple[dict[tuple[int, Buffer], Argument], tuple[bytes, ...]]:
    """Pack the constants of successive calls into chunks; those of one call are never parted.

    So a call takes one chunk, and chunks are taken one after the other. A constant that several
    calls take is repeated in each chunk that needs it.
    """
    places: dict[tuple[int, Buffer], Argument] = {}
    chunks = [bytearray()]
    here: dict[bytes, Argument] = {}  # what the last chunk has
    for index, call in enumerate(calls):
        wanted = {b: b.data for b in call.buffers if b.data is not None}
        more = sum(align(len(data)) for data in set(wanted.values()) - set(here))
        if chunks[-1] and align(len(chunks[-1])) + more > chunk_size:
            chunks.append(bytearray())
            here = {}
        for buffer, data in wanted.items():
            if data not in here:
                start = align(len(chunks[-1]))
                chunks[-1] += bytes(start - len(chunks[-1])) + data
                here[data] = Argument(Region.weights, start, len(data), len(chunks) - 1)
            places[index, buffer] = here[data]
    return places, tuple(bytes(chunk) for chunk in chunks if chunk)


def _place_chunks(sizes: list[int], budget: int) -> tuple[Chunk, ...]:
    """Give as many bytes as possible a place of their own; the rest take turns in one window.

    An inference takes the chunks in order, so that of those which take turns none is there when it
    is next needed: what counts is how many bytes they are in all. The window is as large as the
    largest of them, which is why large chunks are given places first.
    """
    by_size = sorted(range(len(sizes)), key=lambda i: -sizes[i])
    best: tuple[int, set[int], int] | None = None  # streamed bytes, pinned chunks, window
    for count in range(len(sizes) + 1):
        pinned = set(by_size[:count])
        rest = by_size[count:]
        window = align(sizes[rest[0]]) if rest else 0
        room = budget - window - sum(align(sizes[i]) for i in pinned)
        if room < 0:
            continue
        for i in rest:
            if align(sizes[i]) <= room:
                pinned.add(i)
                room -= align(sizes[i])
        streamed = sum(size for i, size in enumerate(sizes) if i not in pinned)
        if best is None or streamed < best[0]:
            best = (streamed, pinned, window)
    _, pinned, window = best or (0, set(), 0)

    start = window if len(pinned) < len(sizes) else 0
    chunks = []
    for i, size in enumerate(sizes):
        chunks.append(Chunk(size, start if i in pinned else 0))
        start += align(size) if i in pinned else 0
    return tuple(chunks)


# Activations


@dataclass(frozen=True)
class _Lifetime:
    """The first and the last call during which a buffer holds something."""

    buffer: Buffer
    first: int
    last: int

    def meets(self, other: _Lifetime) -> bool:
        return self.first <= other.last and other.first <= self.last


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
        taken = sorted((places[o.buffer] for o in placed if o.meets(lifetime)), key=lambda a: a.offset)
        offset = 0
        for other in taken:
            if offset + lifetime.buffer.size <= other.offset:
                break
            offset = max(offset, align(other.offset + other.size))
        places[lifetime.buffer] = Argument(Region.arena, offset, lifetime.buffer.size)
        placed.append(lifetime)
    return places, align(max((a.offset + a.size for a in places.values()), default=0))
