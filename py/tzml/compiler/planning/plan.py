"""The plan of a bundle."""

from __future__ import annotations

from tzml.bundle import Call as PlanCall
from tzml.bundle import Plan, Tensor
from tzml.compiler.ir.graph import Graph, Port
from tzml.compiler.planning.memory import Layout


def make_plan(graph: Graph, layout: Layout, kernels_digest: bytes) -> Plan:
    """The plan of a graph whose buffers have their places."""
    indices = {kernel: index for index, kernel in enumerate(graph.kernels)}

    def tensor(port: Port) -> Tensor:
        return Tensor(port.name, port.dtype, port.shape, layout.places[port.buffer].offset)

    return Plan(
        kernels_digest=kernels_digest,
        arena_size=layout.arena_size,
        inputs=tuple(map(tensor, graph.inputs)),
        outputs=tuple(map(tensor, graph.outputs)),
        weights_size=layout.weights_size,
        chunks=layout.chunks,
        calls=tuple(
            PlanCall(indices[call.kernel], arguments)
            for call, arguments in zip(graph.calls, layout.arguments, strict=True)
        ),
    )
