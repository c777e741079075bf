"""A network in several programs, each for one world: bundles of its parts, joined into one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import onnx.utils

from tzml.bundle import Argument, Bundle, Call, Chunk, Direction, Memory, Port, Program, Region, Tensor, Worlds
from tzml.bundle.format import align
from tzml.compiler import CompileOptions, compile_model


@dataclass(frozen=True)
class Part:
    """Layers of a network that lie between two of its values, and the world that computes them."""

    begin: str
    end: str
    worlds: Worlds


def compile_parts(model: Path, parts: Sequence[Part], options: CompileOptions, folder: Path) -> Bundle:
    """The bundle of an ONNX network with one input and one output, cut at the ends of `parts`.

    Args:
        model: the ONNX file
        parts: from the network's input to its output, each beginning where the one before ends
        options: how to compile each part
        folder: for the parts' own ONNX files

    """
    compiled = []
    for number, part in enumerate(parts):
        path = folder / f"part{number}.onnx"
        onnx.utils.extract_model(model, path, [part.begin], [part.end])
        compiled.append((compile_model(path, options), part.worlds))
    return join(compiled)


def join(parts: Sequence[tuple[Bundle, Worlds]]) -> Bundle:
    """One bundle of several that have one program each, whose outputs are the inputs of the next one.

    Programs of one world share its memory. Each keeps its own kernel library.
    """
    memories: dict[Worlds, Memory] = {}
    tensors: list[Tensor] = []
    programs: list[Program] = []
    chunks = {worlds: [c for part, of in parts if of == worlds for c in part.chunks] for _, worlds in parts}
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
    directions = _directions(programs, len(tensors))
    return replace(
        parts[0][0],
        tensors=tuple(replace(t, direction=d) for t, d in zip(tensors, directions, strict=True)),
        programs=tuple(programs),
        memories=tuple(memories.values()),
        libraries=tuple(part.libraries[0] for part, _ in parts),
        chunks=tuple(c for worlds in memories for c in chunks[worlds]),
        metadata=b"",
        notes=b"",
        code_memory=sum(part.code_memory for part, _ in parts),
    )


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


def _directions(programs: Sequence[Program], count: int) -> list[Direction]:
    """Of each tensor: what no program gives is an input, and what no program takes an output."""
    given = {port.tensor for program in programs for port in program.outputs}
    taken = {port.tensor for program in programs for port in program.inputs}
    found = []
    for tensor in range(count):
        if tensor not in given:
            found.append(Direction.input)
        else:
            found.append(Direction.between if tensor in taken else Direction.output)
    return found
