"""Where each buffer of a graph lies: offsets in the arena, and chunks of weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tzml.bundle import Argument, Chunk, Content
from tzml.bundle.format import MAX_MEMORY, align
from tzml.compiler.ir.graph import Buffer, Graph
from tzml.compiler.planning.arena import Block, place_in_arena
from tzml.compiler.planning.chunks import CHUNK_SIZE, cut_into_chunks, place_chunks
from tzml.compiler.planning.state import State, place_state


@dataclass(frozen=True)
class Layout:
    """The place of every argument of every call, in bytes of arena, of memory for weights, and of state.

    `arguments[i]` are call i's; `places` has the buffers in the arena and the state; `blocks` tell when
    each part of the arena is needed; `contents[i]` is what `chunks[i]` holds.
    """

    places: dict[Buffer, Argument]
    arguments: tuple[tuple[Argument, ...], ...]
    blocks: tuple[Block, ...]
    chunks: tuple[Chunk, ...]
    contents: tuple[Content, ...]
    state: State

    @property
    def arena_size(self) -> int:
        """Bytes."""
        return align(max((block.start + block.size for block in self.blocks), default=0))

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
    where the constants of one call are, or where there would be too many.
    """
    (layout,) = lay_out_together([graph], weights_budget, chunk_size)
    return layout


def lay_out_together(
    graphs: Sequence[Graph], weights_budget: int = MAX_MEMORY, chunk_size: int = CHUNK_SIZE
) -> tuple[Layout, ...]:
    """The same for graphs that run in turn: each has the arena for itself, and they share weights and state."""
    constants, contents = cut_into_chunks([call for graph in graphs for call in graph.calls], chunk_size)
    taken = [found[0].chunk for found in constants if found]
    chunks = place_chunks(list(map(len, contents)), taken, weights_budget)
    state = place_state(graphs)
    of_calls = iter(constants)
    layouts = []
    for graph in graphs:
        in_arena, blocks = place_in_arena(graph)
        places = in_arena | state.places
        arguments = []
        for call in graph.calls:
            from_weights = iter(next(of_calls))
            arguments.append(tuple(places[b] if b.data is None else next(from_weights) for b in call.buffers))
        layouts.append(Layout(places, tuple(arguments), blocks, chunks, contents, state))
    return tuple(layouts)
