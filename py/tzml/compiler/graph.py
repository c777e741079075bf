"""A compiled network as the rest of tzml sees it: kernels, buffers and calls, without TVM.

The compiler's passes end in this, the memory planner and the bundle writer begin with it.
"""

from __future__ import annotations

from dataclasses import dataclass

from tzml.bundle import Access, DType


@dataclass(frozen=True)
class Kernel:
    """A function `int32_t symbol(void *, …)` of the object file.

    `arguments` are the bytes each pointer may touch, and how.
    """

    symbol: str
    arguments: tuple[tuple[int, Access], ...]


@dataclass(eq=False)
class Buffer:
    """Memory for one value, in bytes. A buffer with `data` is a constant; others live in the arena."""

    size: int
    data: bytes | None = None


@dataclass(frozen=True)
class Call:
    """One call of a kernel."""

    kernel: Kernel
    buffers: tuple[Buffer, ...]


@dataclass(frozen=True)
class Port:
    """An input or output of the network."""

    name: str
    dtype: DType
    shape: tuple[int, ...]
    buffer: Buffer


@dataclass(frozen=True)
class Graph:
    """The calls of one inference, in order, and the object file with their kernels."""

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    calls: tuple[Call, ...]
    object_file: bytes

    @property
    def kernels(self) -> tuple[Kernel, ...]:
        """Every kernel that is called, in the order of the first calls."""
        return tuple(dict.fromkeys(call.kernel for call in self.calls))
