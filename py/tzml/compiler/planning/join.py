"""One bundle of several that have one program each: the parts of a partitioned model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from tzml.bundle import (
    Argument,
    Bundle,
    Call,
    Chunk,
    Direction,
    Library,
    Memory,
    Port,
    Program,
    Region,
    Tensor,
    Worlds,
)
from tzml.bundle.format import align


def join(parts: Sequence[tuple[Bundle, Worlds]], outputs: Sequence[str]) -> Bundle:
    """The bundle whose programs follow each other; tensors with equal names are one, `outputs` are the caller's.

    Programs of one world share its memory. Each keeps its own kernel library, for its worlds only. The first part
    gives identity and version. There is no metadata.

    Notes tell only of what the normal world may run, and whose time tells of their numbers.
    """
    memories: dict[Worlds, Memory] = {}
    tensors: list[Tensor] = []
    programs: list[Program] = []
    for number, (part, worlds) in enumerate(parts):
        before = memories.get(worlds, Memory(part.memory.arena_size, worlds=worlds))
        programs.append(
            replace(
                part.program,
                name=f"part{number}",
                inputs=_ports(tensors, part, part.program.inputs),
                outputs=_ports(tensors, part, part.program.outputs),
                calls=tuple(_shifted(call, len(before.chunks)) for call in part.program.calls),
                library=number,
                worlds=worlds,
            )
        )
        memories[worlds] = _extended(before, part.memory)
    given = {port.tensor for program in programs for port in program.outputs}
    return replace(
        parts[0][0],
        tensors=tuple(
            replace(tensor, direction=_direction(tensor.name, number in given, outputs))
            for number, tensor in enumerate(tensors)
        ),
        programs=tuple(programs),
        memories=tuple(memories.values()),
        libraries=tuple(_library(part.libraries[0], worlds) for part, worlds in parts),
        chunks=tuple(c for of in memories for part, worlds in parts if worlds == of for c in part.chunks),
        metadata=b"",
        notes=_notes(parts),
        # the TA is there once
        code_memory=max((part.code_memory for part, worlds in parts if worlds & Worlds.tee), default=0),
    )


def _notes(parts: Sequence[tuple[Bundle, Worlds]]) -> bytes:
    """By program, what its part says of it; of one that only the secure world runs, what its time tells."""
    about: dict[str, Any] = {}
    for number, (part, worlds) in enumerate(parts):
        said = next(iter(json.loads(part.notes)["programs"].values()))
        about[f"part{number}"] = said if worlds & Worlds.ree else {"timing": said["timing"]}
    return json.dumps({"programs": about}).encode()


def _ports(tensors: list[Tensor], part: Bundle, ports: Sequence[Port]) -> tuple[Port, ...]:
    """The same ports, with the numbers of all parts' tensors."""
    names = [tensor.name for tensor in tensors]
    found = []
    for port in ports:
        tensor = part.tensors[port.tensor]
        if tensor.name not in names:
            tensors.append(tensor)
            names.append(tensor.name)
        found.append(replace(port, tensor=names.index(tensor.name)))
    return tuple(found)


def _shifted(call: Call, chunks: int) -> Call:
    """The call, with as many chunks before its own."""

    def moved(argument: Argument) -> Argument:
        return replace(argument, chunk=argument.chunk + chunks) if argument.region == Region.weights else argument

    return replace(call, arguments=tuple(map(moved, call.arguments)))


def _extended(before: Memory, more: Memory) -> Memory:
    """The memory of several programs: one arena in turn, weights side by side."""
    start = align(before.weights_size)
    moved = tuple(Chunk(chunk.size, start + chunk.offset) for chunk in more.chunks)
    return replace(
        before,
        arena_size=max(before.arena_size, more.arena_size),
        weights_size=start + more.weights_size,
        chunks=(*before.chunks, *moved),
    )


def _library(library: Library, worlds: Worlds) -> Library:
    return Library(library.tee if worlds & Worlds.tee else b"", library.ree if worlds & Worlds.ree else b"")


def _direction(name: str, given: bool, outputs: Sequence[str]) -> Direction:
    if not given:
        return Direction.input
    return Direction.output if name in outputs else Direction.between
