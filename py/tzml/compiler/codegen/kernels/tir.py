"""Short names for what kernels are built of: vectors in TensorIR.

Kernels are emitted with TVMScript's builder as plain loop nests, without blocks. A value that must stay
in a register is a local buffer of one vector: LLVM promotes it, since every index is constant.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import tvm_ffi
from tvm import ir, tirx
from tvm.script.ir_builder import IRBuilder
from tvm.tirx.script import builder as T  # noqa: N812 - TVM's own name for it

__all__ = [
    "Buffer", "Expr", "T", "Vector", "at", "dtype", "elements", "f32", "flat", "lane", "load", "loads", "primfunc",
    "shape", "splat", "store", "substitute", "unravel",
]  # fmt: skip

Expr = Any
"""A TIR expression, or a Python number where TVM takes one."""
Buffer = Any
"""A `tirx.Buffer`."""


def primfunc(name: str, buffers: Iterable[Buffer], body: Callable[[], None]) -> Any:
    """A function of `buffers`; `body` emits its statements."""
    with IRBuilder() as builder, T.prim_func(s_tir=True):
        T.func_name(name)
        T.func_attr({"tirx.noalias": True})
        for buffer in buffers:
            T.arg(buffer.name, buffer)
        body()
    return builder.get()


def flat(buffer: Buffer) -> Buffer:
    """The same memory as a row of elements."""
    return T.decl_buffer((elements(buffer),), dtype(buffer), data=buffer.data)


def elements(buffer: Buffer) -> int:
    """How many elements a buffer has."""
    return math.prod(shape(buffer))


def shape(buffer: Buffer) -> tuple[int, ...]:
    return tuple(int(n) for n in buffer.ty.shape)


def dtype(buffer: Buffer) -> str:
    return str(buffer.ty.dtype.dtype)


def unravel(offset: Expr, extents: Sequence[int]) -> list[Expr]:
    """The indices of the element at `offset` of a row-major tensor."""
    index: list[Expr] = []
    for extent in reversed(extents[1:]):
        index.insert(0, tirx.floormod(offset, extent))
        offset = tirx.floordiv(offset, extent)
    return [offset, *index] if extents else []


def load(buffer: Buffer, offset: Expr, lanes: int) -> Expr:
    """`lanes` elements from a flat buffer; one element if `lanes` is 1."""
    return tirx.BufferLoad(buffer, [_ramp(offset, lanes)])


def store(buffer: Buffer, offset: Expr, value: Expr, lanes: int) -> None:
    """Store a vector to a flat buffer."""
    T.buffer_store(buffer, value, [_ramp(offset, lanes)])


def splat(value: Expr, lanes: int) -> Expr:
    """A vector of equal elements."""
    return tirx.Broadcast(value, lanes) if lanes > 1 else value


def lane(vector: Expr, index: int) -> Expr:
    """One element of a vector."""
    return tirx.Shuffle([vector], [index])


def f32(value: float) -> Expr:
    return tirx.FloatImm("float32", value)


def _ramp(offset: Expr, lanes: int) -> Expr:
    offset = tirx.IntImm("int32", offset) if isinstance(offset, int) else offset
    return tirx.Ramp(offset, 1, lanes) if lanes > 1 else offset


class Vector:
    """A vector register that can be assigned to."""

    def __init__(self, lanes: int, kind: str = "float32") -> None:
        self.lanes = lanes
        self.buffer = T.alloc_buffer((lanes,), kind)

    def get(self) -> Expr:
        return load(self.buffer, 0, self.lanes)

    def set(self, value: Expr) -> None:
        store(self.buffer, 0, value, self.lanes)

    def element(self, index: Expr) -> Expr:
        return tirx.BufferLoad(self.buffer, [index])


def substitute(expression: Expr, values: dict[Any, Expr]) -> Expr:
    """`expression` with variables replaced."""
    return tvm_ffi.structural_map(expression, (ir.Var, lambda var: values.get(var, var)))


def loads(expression: Expr) -> list[Any]:
    """Every read of a buffer in an expression."""
    found: list[Any] = []
    tvm_ffi.structural_walk(expression, (ir.TensorLoad, found.append))
    return found


def at(index: Sequence[Expr], kind: str = "int64") -> list[Expr]:
    """Indices as TE's functions have them."""
    return [tirx.IntImm(kind, i) if isinstance(i, int) else tirx.Cast(kind, i) for i in index]
