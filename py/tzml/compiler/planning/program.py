"""The programs of graphs whose buffers have their places, with their tensors and their memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tzml.bundle import Call, Content, Direction, Memory, Port, Program, Tensor
from tzml.bundle.format import MAX_MEMORY
from tzml.compiler.ir.errors import CompileError
from tzml.compiler.ir.graph import GraphPort, GraphProgram, kernels_of
from tzml.compiler.planning.chunks import CHUNK_SIZE
from tzml.compiler.planning.memory import Layout, lay_out_together


@dataclass(frozen=True)
class Planned:
    """What a bundle has of its programs, and the layout of each of them.

    `chunks` are the contents of the weights sections, `pieces` those of the state sections.
    """

    tensors: tuple[Tensor, ...]
    programs: tuple[Program, ...]
    memory: Memory
    chunks: tuple[Content, ...]
    pieces: tuple[Content, ...]
    layouts: tuple[Layout, ...]


def plan_programs(
    programs: Sequence[GraphProgram],
    kernels_digest: bytes,
    weights_budget: int = MAX_MEMORY,
    chunk_size: int = CHUNK_SIZE,
) -> Planned:
    """The programs that run graphs, each an entry point of its own, in one memory and with one kernel library.

    Tensors of equal names are one. `kernels_digest` is the SHA-256 that the library has in its table; the others
    are as in `lay_out`.
    """
    graphs = [program.graph for program in programs]
    layouts = lay_out_together(graphs, weights_budget, chunk_size)
    indices = {kernel: index for index, kernel in enumerate(kernels_of(graphs))}
    tensors = _tensors(programs)
    numbers = {tensor.name: number for number, tensor in enumerate(tensors)}

    def ports(found: Sequence[GraphPort], layout: Layout) -> tuple[Port, ...]:
        places = [layout.places[port.buffer] for port in found]
        return tuple(Port(numbers[p.name], a.offset, a.region) for p, a in zip(found, places, strict=True))

    return Planned(
        tensors,
        tuple(
            Program(
                name=program.name,
                inputs=ports(program.graph.inputs, layout),
                outputs=ports(program.graph.outputs, layout),
                calls=tuple(
                    Call(indices[call.kernel], arguments)
                    for call, arguments in zip(program.graph.calls, layout.arguments, strict=True)
                ),
                kernels_digest=kernels_digest,
                role=program.role,
                entry=entry,
            )
            for entry, (program, layout) in enumerate(zip(programs, layouts, strict=True))
        ),
        _memory(layouts),
        layouts[0].contents,
        layouts[0].state.contents,
        layouts,
    )


def _tensors(programs: Sequence[GraphProgram]) -> tuple[Tensor, ...]:
    """The inputs, then the outputs, of each program, as a bundle declares them."""
    found: dict[str, Tensor] = {}
    for program in programs:
        sides = ((program.graph.inputs, Direction.input), (program.graph.outputs, Direction.output))
        for port, direction in ((port, direction) for ports, direction in sides for port in ports):
            if port.name in program.graph.random:
                direction = Direction.random
            tensor = Tensor(port.name, port.dtype, port.shape, direction)
            if found.setdefault(port.name, tensor) != tensor:
                raise CompileError(
                    f"{port.name!r} is a tensor of the model, and another one of the program {program.name}",
                    f"give the model's another name: --rename {port.name}=NAME",
                )
    return tuple(found.values())


def _memory(layouts: Sequence[Layout]) -> Memory:
    """The memory that programs share."""
    first = layouts[0]
    return Memory(
        max(layout.arena_size for layout in layouts),
        first.weights_size,
        first.state.size,
        first.chunks,
        first.state.pieces,
    )
