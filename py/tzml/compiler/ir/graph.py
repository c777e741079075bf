"""A compiled network as the rest of tzml sees it: kernels, buffers and calls, without TVM.

The compiler's passes end in this, the memory planner and the bundle writer begin with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tzml.bundle import Access, DType


@dataclass(frozen=True)
class Kernel:
    """A function `int32_t symbol(void *, …)` of an object file.

    `arguments` are, for each pointer, how many bytes from there on it touches at most, and whether it writes them.
    """

    symbol: str
    arguments: tuple[tuple[int, Access], ...]


@dataclass(eq=False)
class Buffer:
    """Memory for one value, in bytes. A buffer with `data` is a constant; others live in the arena.

    One with `parts` consists of them, back to back: who writes a part writes to it. No buffer is a part
    of two.
    """

    size: int
    data: bytes | None = None
    parts: tuple[Buffer, ...] = ()

    def pieces(self) -> Iterator[tuple[int, Buffer]]:
        """What it consists of in the end, each with its offset; itself if it has no parts."""
        offset = 0
        for part in self.parts:
            for inner, piece in part.pieces():
                yield offset + inner, piece
            offset += part.size
        if not self.parts:
            yield 0, self


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
    """The calls of one inference, in order, and the object file of each kernel by its symbol."""

    inputs: tuple[GraphPort, ...]
    outputs: tuple[GraphPort, ...]
    calls: tuple[GraphCall, ...]
    objects: Mapping[str, bytes]

    @property
    def kernels(self) -> tuple[Kernel, ...]:
        """Every kernel that is called, in the order of the first calls."""
        return tuple(dict.fromkeys(call.kernel for call in self.calls))
