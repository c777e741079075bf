"""A fused function, taken apart: the anchor that a kernel is written for, and the epilogue after it.

FuseTIR leaves functions of several blocks. One of them, the anchor (a convolution, a matrix product, …),
carries the annotation KIND; the blocks it needs before it belong to it. The blocks after it are its
epilogue: each computes, from the same position of the one before, one element of its own. A kernel
calculates a tile of the anchor in registers and hands the values to `Fused.store`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import tvm_ffi
from tvm import ir, tirx
from tvm.s_tir import SBlock

from tzml.compiler.codegen.kernels.functions import expand, is_vectorizable
from tzml.compiler.codegen.kernels.tir import Buffer, Expr, T, Vector, at, loads, primfunc, shape, substitute

KIND = "tzml.kernel"
TILE = "tzml.tile"
"""The tile that a template is to take, as tiles.py writes it in a number."""
GEOMETRY = "tzml.geometry"


class NotFusableError(Exception):
    """The blocks after an anchor are no epilogue; the function is scheduled like any other."""


def annotate(kind: str, /, **geometry: Any) -> dict[str, str]:
    """Annotations for the TE computation that is to become an anchor."""
    return {KIND: kind, GEOMETRY: json.dumps(geometry, sort_keys=True)}


@dataclass(frozen=True)
class EpilogueBlock:
    """A block: the buffer it computes, the variables of its domain and the value at that point."""

    buffer: Buffer
    axes: tuple[Any, ...]
    index: tuple[Expr, ...]
    value: Expr

    def at(self, index: Sequence[Expr]) -> Expr:
        """The value at `index` of the domain."""
        return substitute(self.value, dict(zip(self.axes, index, strict=True)))


class Fused:
    """A PrimFunc with one anchor."""

    def __init__(self, function: Any) -> None:
        """Raises NotFusableError."""
        self.parameters: list[Buffer] = list(function.params)
        blocks = _blocks(function.body)
        anchors = [number for number, block in enumerate(blocks) if KIND in block.annotations]
        if len(anchors) != 1:
            raise NotFusableError(f"{len(anchors)} anchors")
        anchor = blocks[anchors[0]]
        self.kind = str(anchor.annotations[KIND])
        geometry = json.loads(str(anchor.annotations[GEOMETRY]))
        self.geometry: dict[str, Any] = _with_tuples(geometry)
        """What annotate() was given, with tuples for sequences."""
        self.anchor: Buffer = anchor.writes[0].source
        self.tile = int(anchor.annotations[TILE]) if TILE in anchor.annotations else None
        before = _producers(blocks[: anchors[0]], anchor)
        reads = [load.source for block in [*before, anchor] for load in loads(block.body)]
        self.operands: list[Buffer] = [
            read
            for read in reads
            if not read.same_as(self.anchor) and any(p.same_as(read) for p in self.parameters)
        ]
        """The parameters that the anchor reads, in the order of its definition."""
        rest = [block for block in blocks if block is not anchor and block not in before]
        self.epilogue = [_epilogue_block(block) for block in rest]
        self._check()

    def geometry_with(self, **parts: type) -> dict[str, Any]:
        """The geometry, with an object of that class in place of a part that is a dictionary itself."""
        return self.geometry | {name: part(**self.geometry[name]) for name, part in parts.items()}

    @property
    def output(self) -> Buffer:
        """What the function writes."""
        return self.epilogue[-1].buffer if self.epilogue else self.anchor

    def replace(self, old: Buffer, new: Buffer) -> int:
        """Give an operand another buffer, as when weights are packed. Returns its position."""
        position = next(i for i, p in enumerate(self.parameters) if p.same_as(old))
        self.parameters[position] = new
        return position

    def emit(self, body: Any) -> Any:
        """A function with these parameters; `body` emits its statements."""
        return primfunc(self.kind, self.parameters, body)

    def store(self, index: Sequence[Expr], value: Expr) -> None:
        """Emit the epilogue for the anchor's `value` at `index`, and the store of what comes out."""
        index = at(index)
        values = [(self.anchor, value)]
        last = index
        for block in self.epilogue:
            if shape(block.buffer) != shape(self.anchor):
                values.append((block.buffer, block))
                continue
            result = _without_casts_of_truth(expand(_replace_loads(block.at(index), values), T.Bind))
            if str(result.ty.dtype) != "bool":
                result = T.Bind(result)
            values.append((block.buffer, result))
            last = [substitute(i, dict(zip(block.axes, index, strict=True))) for i in block.index]
        T.buffer_store(self.output, values[-1][1], last)

    def store_vector(self, vector: Vector, index: Sequence[Expr], lanes: int) -> None:
        """`store` for the first `lanes` elements of a vector, along the last dimension from `index` on."""
        if lanes == 1:
            self.store(index, vector.element(0))
            return
        with T.vectorized(lanes) as lane:
            self.store([*index[:-1], index[-1] + lane], vector.element(lane))

    def _check(self) -> None:
        """Every block of the anchor's shape reads the ones before it where it is itself."""
        chain = [self.anchor]
        for block in self.epilogue:
            reads = [load for load in loads(block.value) if any(load.source.same_as(b) for b in chain)]
            if shape(block.buffer) != shape(self.anchor):
                if reads:
                    raise NotFusableError(f"{block.buffer.name} has another shape")
                continue
            for load in reads:
                if not all(i.same_as(axis) for i, axis in zip(load.indices, block.axes, strict=True)):
                    raise NotFusableError(f"{block.buffer.name} reads other positions")
            if not is_vectorizable(block.value):
                raise NotFusableError(f"{block.buffer.name} cannot be computed in vectors")
            chain.append(block.buffer)
        if not self.output.same_as(self.parameters[-1]):
            raise NotFusableError("several outputs")


def _with_tuples(geometry: dict[str, Any]) -> dict[str, Any]:
    def value(v: Any) -> Any:
        return tuple(v) if isinstance(v, list) else _with_tuples(v) if isinstance(v, dict) else v

    return {name: value(v) for name, v in geometry.items()}


def _without_casts_of_truth(expression: Expr) -> Expr:
    """`expression` with casts of bool as choices between 0 and 1: TVM cannot bind vectors of the former."""

    def choice(cast: Any) -> Any:
        if str(cast.value.ty.dtype) != "bool":
            return cast
        one, zero = (tirx.const(value, str(cast.ty.dtype)) for value in (1, 0))
        return tirx.Select(cast.value, one, zero)

    return tvm_ffi.structural_map(expression, (tirx.Cast, choice))


def _replace_loads(expression: Expr, values: list[tuple[Buffer, Any]]) -> Expr:
    """`expression` with the values of buffers that are never written to memory."""

    def value(load: Any) -> Any:
        for buffer, known in values:
            if load.source.same_as(buffer):
                if isinstance(known, EpilogueBlock):
                    return _replace_loads(known.at(list(load.indices)), values)
                return known
        return load

    return tvm_ffi.structural_map(expression, (ir.TensorLoad, value))


def _blocks(body: Any) -> list[Any]:
    """The blocks of a function, in order, without the root."""
    found: list[Any] = []
    tvm_ffi.structural_walk(body, (SBlock, found.append), order="pre")
    return [block for block in found if len(block.iter_vars)]


def _producers(blocks: list[Any], anchor: Any) -> list[Any]:
    """The blocks among `blocks` whose results the anchor needs."""
    needed = [region.source for region in anchor.reads]
    chosen: list[Any] = []
    for block in reversed(blocks):
        if any(block.writes[0].source.same_as(buffer) for buffer in needed):
            chosen.insert(0, block)
            needed += [region.source for region in block.reads]
    return chosen


def _epilogue_block(block: Any) -> EpilogueBlock:
    if not isinstance(block.body, tirx.BufferStore) or any(int(v.iter_type) for v in block.iter_vars):
        raise NotFusableError(f"block {block.name_hint} is not elementwise")
    axes = tuple(variable.var for variable in block.iter_vars)
    return EpilogueBlock(block.body.buffer, axes, tuple(block.body.indices), block.body.value)
