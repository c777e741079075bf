"""One bundle of several: the parts of a partitioned model."""

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

    Programs of one entry point follow each other in the order of the parts. Those of one world share its memory;
    at most one part has state. Each part keeps its own kernel library, for its worlds only. The first part gives
    identity and version. There is no metadata.

    Notes tell only of what the normal world may run, of what is in the state, and whose time tells of their
    numbers.
    """
    memories: dict[Worlds, Memory] = {}
    shifts: list[int] = []
    for part, worlds in parts:
        before = memories.get(worlds, Memory(part.memory.arena_size, worlds=worlds))
        shifts.append(len(before.chunks))
        memories[worlds] = _extended(before, part.memory)
    tensors: list[Tensor] = []
    programs: list[Program] = []
    for number, own in sorted(_programs(parts), key=lambda found: (found[1].entry, found[0])):
        part, worlds = parts[number]
        programs.append(
            replace(
                own,
                name=_name(parts, number, own),
                inputs=_ports(tensors, part, own.inputs),
                outputs=_ports(tensors, part, own.outputs),
                calls=tuple(_shifted(call, shifts[number]) for call in own.calls),
                library=number,
                worlds=worlds,
            )
        )
    given = {port.tensor for program in programs for port in program.outputs}
    return replace(
        parts[0][0],
        tensors=tuple(
            replace(tensor, direction=_direction(tensor, number in given, outputs))
            for number, tensor in enumerate(tensors)
        ),
        programs=tuple(programs),
        memories=tuple(memories.values()),
        libraries=tuple(_library(part.libraries[0], worlds) for part, worlds in parts),
        chunks=tuple(c for of in memories for part, worlds in parts if worlds == of for c in part.chunks),
        pieces=tuple(p for of in memories for part, worlds in parts if worlds == of for p in part.pieces),
        metadata=b"",
        notes=_notes(parts),
        # the TA is there once
        code_memory=max((part.code_memory for part, worlds in parts if worlds & Worlds.tee), default=0),
    )


def _notes(parts: Sequence[tuple[Bundle, Worlds]]) -> bytes:
    """By program, what its part says of it; of one that only the secure world runs, what its time tells."""
    about: dict[str, Any] = {}
    state: dict[str, Any] = {}
    notes = [json.loads(part.notes) for part, _ in parts]
    for number, own in _programs(parts):
        said, worlds = notes[number]["programs"][own.name], parts[number][1]
        about[_name(parts, number, own)] = said if worlds & Worlds.ree else {"timing": said["timing"]}
        state |= {"state": notes[number]["state"]} if "state" in notes[number] else {}
    return json.dumps({"programs": about} | state).encode()


def _programs(parts: Sequence[tuple[Bundle, Worlds]]) -> list[tuple[int, Program]]:
    """All of them, each with the number of its part."""
    return [(number, program) for number, (part, _) in enumerate(parts) for program in part.programs]


def _name(parts: Sequence[tuple[Bundle, Worlds]], number: int, program: Program) -> str:
    """Of a program: its part's, where parts have but one each."""
    return f"part{number}" if all(len(part.programs) == 1 for part, _ in parts) else program.name


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
    """The memory of several parts: one arena in turn, weights side by side, and the state of that which has one."""
    start = align(before.weights_size)
    moved = tuple(Chunk(chunk.size, start + chunk.offset) for chunk in more.chunks)
    return replace(
        before,
        arena_size=max(before.arena_size, more.arena_size),
        weights_size=start + more.weights_size,
        chunks=(*before.chunks, *moved),
        state_size=before.state_size or more.state_size,
        pieces=before.pieces or more.pieces,
        noise=before.noise or more.noise,
    )


def _library(library: Library, worlds: Worlds) -> Library:
    return Library(library.tee if worlds & Worlds.tee else b"", library.ree if worlds & Worlds.ree else b"")


def _direction(tensor: Tensor, given: bool, outputs: Sequence[str]) -> Direction:
    if tensor.direction is Direction.random:
        return Direction.random
    if not given:
        return Direction.input
    return Direction.output if tensor.name in outputs else Direction.between
