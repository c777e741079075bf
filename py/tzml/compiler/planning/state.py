"""Where the values that programs change lie: the state, which all programs of a model share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tzml.bundle import Argument, Chunk, Content, Region
from tzml.bundle.format import MAX_SEALED_SIZE, align
from tzml.compiler.ir.graph import Buffer, Graph

_PIECE = MAX_SEALED_SIZE // 2
"""Bytes after which another piece begins."""


@dataclass(frozen=True)
class State:
    """The place of each buffer; `contents[i]` is the initial content of `pieces[i]`, the rest is zero."""

    places: dict[Buffer, Argument]
    size: int
    pieces: tuple[Chunk, ...]
    contents: tuple[Content, ...]


def place_state(graphs: Sequence[Graph]) -> State:
    """Place the state of programs one buffer after another, in the order in which the graphs have it."""
    places: dict[Buffer, Argument] = {}
    found: list[tuple[int, list[bytes]]] = []  # pieces: where they begin, and their parts
    end = size = 0  # of the last piece, and of all
    for buffer in dict.fromkeys(b for graph in graphs for b in graph.state):
        places[buffer] = Argument(Region.state, size, buffer.size)
        if buffer.initial is not None:
            if found and align(end) == size and end - found[-1][0] < _PIECE:
                found[-1][1].extend((bytes(size - end), buffer.initial))
            else:
                found.append((size, [buffer.initial]))
            end = size + buffer.size
        size = align(size + buffer.size)
    contents = tuple(Content(tuple(filter(None, parts))) for _, parts in found)
    pieces = tuple(Chunk(len(c), start) for c, (start, _) in zip(contents, found, strict=True))
    return State(places, size, pieces, contents)
