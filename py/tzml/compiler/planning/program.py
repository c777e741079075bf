"""The program of a graph whose buffers have their places, with its tensors and its memory."""

from __future__ import annotations

from tzml.bundle import Call, Direction, Memory, Port, Program, Tensor
from tzml.compiler.ir.graph import Graph, GraphPort
from tzml.compiler.planning.memory import Layout


def make_tensors(graph: Graph) -> tuple[Tensor, ...]:
    """The inputs, then the outputs, as a bundle declares them."""

    def tensor(port: GraphPort, direction: Direction) -> Tensor:
        return Tensor(port.name, port.dtype, port.shape, direction)

    inputs = [tensor(port, Direction.input) for port in graph.inputs]
    return (*inputs, *(tensor(port, Direction.output) for port in graph.outputs))


def make_program(name: str, graph: Graph, layout: Layout, kernels_digest: bytes) -> Program:
    """The calls of a graph, in the places of `layout`; its ports are the tensors of `make_tensors`.

    `kernels_digest` is the SHA-256 that the kernel library has in its table.
    """
    indices = {kernel: index for index, kernel in enumerate(graph.kernels)}
    ports = [
        Port(number, layout.places[port.buffer].offset)
        for number, port in enumerate((*graph.inputs, *graph.outputs))
    ]
    return Program(
        name=name,
        inputs=tuple(ports[: len(graph.inputs)]),
        outputs=tuple(ports[len(graph.inputs) :]),
        calls=tuple(
            Call(indices[call.kernel], arguments)
            for call, arguments in zip(graph.calls, layout.arguments, strict=True)
        ),
        kernels_digest=kernels_digest,
    )


def make_memory(layout: Layout) -> Memory:
    """The memory that a layout takes."""
    return Memory(layout.arena_size, layout.weights_size, chunks=layout.chunks)
