"""A compiled network as the rest of tzml sees it: kernels, buffers and calls, without TVM.

The compiler's passes end in this, the memory planner and the bundle writer begin with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from tzml.bundle import Access, DType, Role
from tzml.compiler.ir.errors import CompileError


@dataclass(frozen=True)
class Kernel:
    """A function `int32_t symbol(void *, …)` of an object file.

    `arguments` are, for each pointer, how many bytes from there on it touches at most, and whether it writes them.
    """

    symbol: str
    arguments: tuple[tuple[int, Access], ...]


@dataclass(eq=False)
class Buffer:
    """Memory for one value, in bytes. A buffer with `data` is a constant; others live in arena or state.

    One with `parts` consists of them, back to back: who writes a part writes to it. No buffer is a part
    of two.
    """

    size: int
    data: bytes | None = None
    parts: tuple[Buffer, ...] = ()

    @property
    def in_arena(self) -> bool:
        """Whether it is memory of one run."""
        return self.data is None

    def pieces(self) -> Iterator[tuple[int, Buffer]]:
        """What it consists of in the end, each with its offset; itself if it has no parts."""
        offset = 0
        for part in self.parts:
            for inner, piece in part.pieces():
                yield offset + inner, piece
            offset += part.size
        if not self.parts:
            yield 0, self


@dataclass(eq=False)
class StateBuffer(Buffer):
    """Memory that lives as long as a session, and that all programs of a model share.

    `initial` is its first content; without it, that is zeros. Its numbers have four bytes each; `name`, `shape` and
    `dtype` are for the notes.
    """

    initial: bytes | None = None
    name: str = ""
    shape: tuple[int, ...] = ()
    dtype: str = "float32"

    @property
    def in_arena(self) -> bool:
        """Whether it is memory of one run."""
        return False


@dataclass(frozen=True)
class GraphCall:
    """One call of a kernel; `note` tells people which layer it is."""

    kernel: Kernel
    buffers: tuple[Buffer, ...]
    note: str = ""


@dataclass(frozen=True)
class GraphPort:
    """An input or output of the network: the buffer that holds a row-major tensor of that shape."""

    name: str
    dtype: DType
    shape: tuple[int, ...]
    buffer: Buffer


@dataclass(frozen=True)
class Graph:
    """The calls of one run, in order, the object file of each kernel by its symbol, and the state that there is.

    `timing` names the layers whose time tells of their numbers. `random` are the names of inputs that nobody gives:
    the world fills them with random bytes.
    """

    inputs: tuple[GraphPort, ...]
    outputs: tuple[GraphPort, ...]
    calls: tuple[GraphCall, ...]
    objects: Mapping[str, bytes]
    state: tuple[StateBuffer, ...] = ()
    timing: tuple[str, ...] = ()
    random: tuple[str, ...] = ()


@dataclass(frozen=True)
class GraphProgram:
    """A graph as a program of a bundle."""

    name: str
    graph: Graph
    role: Role = Role.infer


def share_constants(programs: Sequence[GraphProgram]) -> list[GraphProgram]:
    """The programs with one buffer for constants of equal content, so that a bundle has them once."""
    kept: dict[bytes, Buffer] = {}

    def shared(call: GraphCall) -> GraphCall:
        buffers = (b if b.data is None else kept.setdefault(b.data, b) for b in call.buffers)
        return replace(call, buffers=tuple(buffers))

    return [replace(p, graph=replace(p.graph, calls=tuple(map(shared, p.graph.calls)))) for p in programs]


def kernels_of(graphs: Iterable[Graph]) -> tuple[Kernel, ...]:
    """Every kernel that is called, in the order of the first calls. Raises CompileError if two have one symbol."""
    found: dict[str, Kernel] = {}
    for call in (call for graph in graphs for call in graph.calls):
        if found.setdefault(call.kernel.symbol, call.kernel) != call.kernel:
            raise CompileError(f"kernel {call.kernel.symbol} is called in two ways; this is an error in tzml")
    return tuple(found.values())
