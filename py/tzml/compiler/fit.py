"""Make a model fit into the secure memory it may take."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from tzml.bundle import Bundle, Region
from tzml.bundle.format import PAGE, align
from tzml.compiler.ir.errors import CompileError
from tzml.compiler.ir.graph import Graph, GraphCall, GraphProgram
from tzml.compiler.ir.limits import NO_LIMITS, Limits
from tzml.compiler.planning.chunks import CHUNK_SIZE
from tzml.compiler.planning.program import plan_programs

_CHUNK_SIZES = (CHUNK_SIZE, CHUNK_SIZE // 4, CHUNK_SIZE // 16, 1)
"""Bytes that are tried one after another; with 1, each call that has weights has a chunk of its own."""

CompileWithin = Callable[[Limits], tuple[GraphProgram, Bundle]]
"""From what a layer may take to a program within these limits, and its bundle with all weights resident."""

_WEIGHTS_SHARE = 1 / 8
"""Of the memory for activations and weights, what weights get at least, unless they are fewer.

So much when layers are computed in strips to make room for the activations.
"""
_SMALLER_STRIPS = 7 / 8
"""What the activations may take in the next attempt, of what they might in the last.

Scratch memory of kernels counts as activations, and is known only afterwards.
"""


def fit(compile_within: CompileWithin, budget: int, widest: int) -> Bundle:
    """A bundle that takes at most `budget` bytes of secure memory, with layers split as little as it takes.

    Limits of `widest` bytes of activations or more leave all layers whole (tile_rows.widest_layer), and are not
    tried. Raises CompileError, which says what takes the room, if there is no such bundle.
    """
    limits = NO_LIMITS
    before: Bundle | None = None
    while True:
        program, bundle = compile_within(limits)
        graph = program.graph
        fitted = stream(bundle, [program], budget)
        if fitted.secure_memory <= budget:
            return fitted
        gains = before is None or fitted.secure_memory < before.secure_memory
        smaller = _smaller(limits, graph, fitted, budget, widest, gains=gains)
        if smaller is None:
            raise CompileError(
                f"streamed, the model takes {fitted.secure_memory:,} bytes of secure memory, not {budget:,}: "
                f"{_what_takes_the_room(graph, fitted)}",
                "give --secure-memory if the device has more, or make the layer smaller",
            )
        limits, before = smaller, fitted


def _smaller(
    limits: Limits, graph: Graph, fitted: Bundle, budget: int, widest: int, *, gains: bool
) -> Limits | None:
    """Limits with which the model may fit, after those with which it did not; None when there are none.

    What comes on top grows with the number of parts, so that it can take several attempts: each halves the weights
    of a layer's part, or makes strips smaller while activations take more than half of the memory. Where the last
    halving took more than it `gains`, strips come first.
    """
    memory = fitted.memory
    rest = budget - (fitted.secure_memory - memory.weights_size - memory.arena_size)
    for_weights = min(int(rest * _WEIGHTS_SHARE), sum(chunk.size for chunk in memory.chunks))
    weights, activations = limits.weights, limits.activations
    if memory.arena_size > rest - for_weights - PAGE and activations is None:
        activations = rest - for_weights - PAGE
        if activations < widest:
            return Limits(weights, activations)
    largest = _weights(max(graph.calls, key=_weights))
    room = min(rest - memory.arena_size - PAGE, largest - 1)
    while True:
        part = room if weights is None else min(room, weights // 2)
        splits = weights is None or largest < 2 * weights  # or there is something that cannot be split
        strips = activations is not None and min(activations, memory.arena_size) > rest // 2
        if part >= PAGE and splits and (gains or weights is None or not strips):
            return Limits(part, activations)
        if activations is None or not strips:
            return None
        weights, activations = None, int(activations * _SMALLER_STRIPS)
        if activations < widest:
            return Limits(weights, activations)


def stream(bundle: Bundle, programs: Sequence[GraphProgram], budget: int) -> Bundle:
    """The bundle with its weights placed such that it takes at most `budget` bytes, or as few as can be."""
    best = bundle
    for chunk_size in _CHUNK_SIZES:
        if best.secure_memory <= budget:
            break
        # what is over must come off the weights; smaller chunks make the tables a little larger
        room = bundle.memory.weights_size - (bundle.secure_memory - budget)
        planned = plan_programs(programs, bundle.programs[0].kernels_digest, max(0, room - PAGE), chunk_size)
        fitted = replace(bundle, programs=planned.programs, memories=(planned.memory,), chunks=planned.chunks)
        best = min(best, fitted, key=lambda b: b.secure_memory)
    return best


def _weights(call: GraphCall) -> int:
    """Bytes of the constants that a call takes."""
    return sum(align(b.size) for b in set(call.buffers) if b.data is not None)


def _what_takes_the_room(graph: Graph, bundle: Bundle) -> str:
    """The calls with the most activations and with the most weights, in words."""
    places = [
        {a.offset: a.size for a in call.arguments if a.region == Region.arena} for call in bundle.program.calls
    ]
    widest = max(range(len(places)), key=lambda i: sum(places[i].values()))
    heaviest = max(range(len(places)), key=lambda i: _weights(graph.calls[i]))
    return (
        f"{bundle.memory.arena_size:,} for activations, {sum(places[widest].values()):,} of them in call {widest}, "
        f"{graph.calls[widest].note}; {_weights(graph.calls[heaviest]):,} for the weights of call {heaviest}, "
        f"{graph.calls[heaviest].note}"
    )
