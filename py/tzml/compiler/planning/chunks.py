"""Chunks of weights: what is loaded together, and where to."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from tzml.bundle import Argument, Chunk, Content, Region
from tzml.bundle.format import MAX_SECTIONS, align
from tzml.compiler.ir.graph import Buffer, GraphCall

CHUNK_SIZE = 256 * 1024
"""Bytes: small enough to stream through a few megabytes of secure memory, large enough that switching between the
worlds for each does not show.
"""
_MANY = MAX_SECTIONS * 3 // 4
"""Chunks to make at most, but for calls that each have more than one: each is a section of the bundle."""


def cut_into_chunks(
    calls: Sequence[GraphCall], chunk_size: int
) -> tuple[list[tuple[Argument, ...]], tuple[Content, ...]]:
    """Pack the constants of successive calls into chunks: each call's, in order, and each chunk's content.

    The constants of one call are never parted, so that a call takes one chunk. What several calls take is
    in one chunk if it can be; otherwise it is repeated. No constant is copied.
    """
    everything = {b for call in calls for b in call.buffers if b.data is not None}
    chunk_size = max(chunk_size, sum(align(b.size) for b in everything) // _MANY)
    places: list[tuple[Argument, ...]] = []
    chunks: list[list[bytes]] = []
    sizes: list[int] = []  # of each chunk, so far
    offsets: list[dict[Buffer, int]] = []  # of each constant in each chunk
    holders: dict[Buffer, set[int]] = {}  # the chunks that have a constant
    for call in calls:
        wanted = [b for b in dict.fromkeys(call.buffers) if b.data is not None]
        if not wanted:
            places.append(())
            continue
        complete = set.intersection(*(holders.get(b, set()) for b in wanted))
        number = max(complete) if complete else len(chunks) - 1
        more = sum(align(b.size) for b in wanted if not complete and number not in holders.get(b, ()))
        if number < 0 or (more and align(sizes[number]) + more > chunk_size):
            chunks.append([])
            sizes.append(0)
            offsets.append({})
            number = len(chunks) - 1
        for buffer in wanted:
            if number not in holders.setdefault(buffer, set()):
                start = align(sizes[number])
                chunks[number] += [bytes(start - sizes[number]), buffer.data or b""]
                sizes[number] = start + buffer.size
                offsets[number][buffer] = start
                holders[buffer].add(number)
        places.append(
            tuple(
                Argument(Region.weights, offsets[number][b], b.size, number)
                for b in call.buffers
                if b.data is not None
            )
        )
    return places, tuple(Content(tuple(filter(None, parts))) for parts in chunks)


def place_chunks(sizes: Sequence[int], taken: Sequence[int], budget: int) -> tuple[Chunk, ...]:
    """Give chunks places of their own such that few bytes are loaded; the rest take turns in one window.

    `taken` are the chunks that successive calls take. One that takes turns is loaded whenever the calls
    come to it from another: it counts as that, though the other may have a place of its own. The window
    is as large as the largest chunk in it.
    """
    loads = [0] * len(sizes)
    for number, _ in groupby(taken):
        loads[number] += 1
    by_worth = sorted(range(len(sizes)), key=lambda i: (-loads[i], -sizes[i], i))
    best: tuple[int, set[int], int] | None = None  # bytes that are loaded, chunks that stay, window
    for window in sorted({0, *map(align, sizes)}):
        staying = {i for i, size in enumerate(sizes) if align(size) > window}
        room = budget - window - sum(align(sizes[i]) for i in staying)
        if room < 0:
            continue
        for i in by_worth:
            if i not in staying and align(sizes[i]) <= room:
                staying.add(i)
                room -= align(sizes[i])
        loaded = sum(size * loads[i] for i, size in enumerate(sizes) if i not in staying)
        if best is None or loaded < best[0]:
            best = (loaded, staying, window)
    _, staying, window = best or (0, set(), 0)

    start = window if len(staying) < len(sizes) else 0
    chunks = []
    for i, size in enumerate(sizes):
        chunks.append(Chunk(size, start if i in staying else 0))
        start += align(size) if i in staying else 0
    return tuple(chunks)
