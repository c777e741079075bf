"""Chains of layers whose values are larger than the memory for them, computed strip by strip.

A strip is some rows of the chain's result. Going back from the result, each layer says which rows of its
input it needs; neighbouring strips overlap there, and compute those rows twice. Only the chain's input,
its result and one strip of what lies between are in memory at once. Layers as the chain has them are
convolutions, pooling and operators of single numbers. Alwani et al., "Fused-Layer CNN Accelerators", 2016.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import tvm
from tvm import relax

from tzml.compiler.rewrite import Expr, Rewriter, constant, dtype_of, ints, op_name, shape_of
from tzml.compiler.split import BINARY, UNARY

# How many stages before and behind one that is too large are looked at.
_AROUND = 6

_WINDOWS = {"relax.nn.conv2d", "relax.nn.max_pool2d", "relax.nn.avg_pool2d"}


def tile_layers(module: Any, limit: int) -> Any:
    """The module, with chains in strips where a layer's input and output take more than `limit` bytes."""
    return relax.transform.DeadCodeElimination(["main"])(_Tile(module, limit).run())


@dataclass(frozen=True)
class _Rows:
    """Rows `first` to `end` of a value, and how many of padding there are above and below them."""

    first: int
    end: int
    above: int = 0
    below: int = 0


@dataclass(frozen=True)
class _Layer:
    """A call that computes rows of its result from rows of `data`; `axis` is theirs."""

    variable: Any
    call: Any
    data: Any
    axis: int

    def needs(self, rows: _Rows) -> _Rows:
        """The rows of the input of a convolution or pooling for some rows of its result."""
        attributes, count = self.call.attrs, shape_of(self.data)[self.axis]
        stride, dilation, above = (int(a[0]) for a in (attributes.strides, attributes.dilation, attributes.padding))
        if op_name(self.call) == "relax.nn.conv2d":
            kernel = shape_of(self.call.args[1])[str(attributes.kernel_layout).index("H")]
        else:
            kernel = int(attributes.pool_size[0])
        first = rows.first * stride - above
        end = (rows.end - 1) * stride - above + (kernel - 1) * dilation + 1
        return _Rows(max(first, 0), min(end, count), max(-first, 0), max(end - count, 0))

    def on(self, data: Expr, rows: _Rows) -> Expr:
        """The same layer on some rows of its input."""
        arguments = [data if a.same_as(self.data) else a for a in self.call.args]
        if op_name(self.call) not in _WINDOWS:
            return relax.Call(self.call.op, arguments, self.call.attrs, self.call.ty_args)
        a = self.call.attrs
        _, left, _, right = ints(a.padding)
        window = {
            "strides": ints(a.strides),
            "padding": (rows.above, left, rows.below, right),
            "dilation": ints(a.dilation),
        }
        if op_name(self.call) == "relax.nn.conv2d":
            return relax.op.nn.conv2d(
                *arguments, **window, groups=int(a.groups), data_layout=str(a.data_layout),
                kernel_layout=str(a.kernel_layout),
            )  # fmt: skip
        pool = relax.op.nn.max_pool2d if op_name(self.call) == "relax.nn.max_pool2d" else relax.op.nn.avg_pool2d
        counted = bool(a.count_include_pad)
        return pool(*arguments, ints(a.pool_size), **window, count_include_pad=counted, layout=str(a.layout))


@dataclass(frozen=True)
class _Stage:
    """A convolution or pooling, and the operators of single numbers behind it, which fuse with it."""

    layers: tuple[_Layer, ...]

    @property
    def window(self) -> _Layer:
        return self.layers[0]

    @property
    def rows(self) -> int:
        """Of the result."""
        return shape_of(self.window.call)[self.window.axis]

    @property
    def bytes(self) -> int:
        """Of the result."""
        return _bytes(self.window.call)

    @property
    def row_work(self) -> int:
        """Multiply-accumulates for a row of the result; pooling counts as one for each number."""
        numbers = math.prod(shape_of(self.window.call)) // self.rows
        if op_name(self.window.call) != "relax.nn.conv2d":
            return numbers
        weights = shape_of(self.window.call.args[1])
        return numbers * math.prod(weights) // weights[str(self.window.call.attrs.kernel_layout).index("O")]

    @property
    def input_rows(self) -> int:
        return shape_of(self.window.data)[self.window.axis]

    @property
    def input_bytes(self) -> int:
        return _bytes(self.window.data)


class _Tile(Rewriter):
    def __init__(self, module: Any, limit: int) -> None:
        super().__init__(module)
        self.limit = limit
        # by the variable of the last layer: what to tile, and how many rows a strip has
        self.tiled: dict[Any, tuple[list[_Stage], int]] = {}
        self.inside: set[Any] = set()  # variables of the other layers

    def run(self) -> Any:
        main = self.module["main"]
        self._count_uses(main)
        for chain in _chains(main, self.uses):
            for stages, height in _to_tile(chain, self.limit):
                *others, last = [layer.variable for stage in stages for layer in stage.layers]
                self.tiled[last] = stages, height
                self.inside.update(others)
        self.uses.clear()
        return super().run()

    def call(self, variable: Any, call: Any) -> Expr | None:
        if variable in self.inside:
            return None
        if variable in self.tiled:
            return self.strips(*self.tiled[variable])
        return super().call(variable, call)

    def strips(self, stages: list[_Stage], height: int) -> Expr:
        """The result of the last stage, strip by strip."""
        axis = stages[0].window.axis
        data = self.translate(stages[0].window.data)
        strips = []
        for rows in _cover(stages[-1].rows, height):
            needs = _needs(stages, rows)
            value = self.emit(relax.op.strided_slice(data, [axis], [needs[0].first], [needs[0].end]))
            for stage, need in zip(stages, needs, strict=True):
                for layer in stage.layers:
                    value = self.emit(layer.on(value, need))
            strips.append(value)
        return self.emit(relax.op.concat(strips, axis))


# Chains


def _chains(main: Any, uses: Counter[Any]) -> list[list[_Stage]]:
    """Stages that follow each other, where nothing else uses what is between them."""
    chains: dict[Any, list[_Stage]] = {}  # by the variable at the end
    for block in main.body.blocks:
        for binding in block.bindings:
            variable, call = binding.var, binding.value
            data = next((a for a in getattr(call, "args", ()) if isinstance(a, relax.Var)), None)
            before = chains.get(data, []) if uses[data] == 1 else []
            axis = _rows_axis(call)
            if axis is not None and before and before[-1].window.axis == axis:
                chains[variable] = [*chains.pop(data), _Stage((_Layer(variable, call, data, axis),))]
            elif axis is not None:
                chains[variable] = [_Stage((_Layer(variable, call, data, axis),))]
            elif before and _is_pointwise(call, data, before[-1].window.axis):
                *others, last = chains.pop(data)
                layer = _Layer(variable, call, data, last.window.axis)
                chains[variable] = [*others, _Stage((*last.layers, layer))]
    return list(chains.values())


def _rows_axis(call: Any) -> int | None:
    """The axis of rows of a convolution or pooling that can be tiled; None for any other call."""
    name = op_name(call)
    if name not in _WINDOWS or not isinstance(call.args[0], relax.Var):
        return None
    conv = name == "relax.nn.conv2d"
    layout = str(call.attrs.data_layout if conv else call.attrs.layout)
    plain = str(call.attrs.out_layout) in ("", layout) and layout in ("NCHW", "NHWC")
    known = constant(call.args[1]) is not None if conv else not call.attrs.ceil_mode
    return layout.index("H") if plain and known else None


def _is_pointwise(call: Any, data: Any, axis: int) -> bool:
    """Whether the call computes number by number from `data` alone, in the same way for each row."""
    name, rank = op_name(call).removeprefix("relax."), len(shape_of(data))
    if name not in UNARY | BINARY or shape_of(call) != shape_of(data):
        return False
    others = [a for a in call.args if not a.same_as(data)]
    if name in BINARY and not (len(others) == 1 and isinstance(others[0], tvm.ir.GenericConst)):
        return False
    constants = [o for o in others if isinstance(o, tvm.ir.GenericConst)]
    return all(_row_size(shape_of(o), rank, axis) == 1 for o in constants)


def _row_size(shape: tuple[int, ...], rank: int, axis: int) -> int:
    """The extent of a broadcast operand along the axis of rows."""
    return ((1,) * (rank - len(shape)) + shape)[axis]


# What to tile, and how finely


def _to_tile(chain: list[_Stage], limit: int) -> Iterator[tuple[list[_Stage], int]]:
    """The pieces of a chain to be tiled, and how many rows a strip has.

    A piece has the stages that take more than `limit` bytes, and some around them; of those that fit, the one
    for which the fewest numbers are computed twice.
    """
    sizes = [chain[0].input_bytes, *(stage.bytes for stage in chain)]
    start = 0
    while start < len(chain):
        wide = next((k for k in range(start, len(chain)) if sizes[k] + sizes[k + 1] > limit), None)
        if wide is None:
            return
        found = []
        for first in range(max(start, wide - _AROUND), wide + 1):
            for end in range(wide + 1, min(wide + _AROUND, len(chain)) + 1):
                height = _strip_height(chain[first:end], limit)
                if height is not None:
                    found.append((_work(chain[first:end], height), end, first, height))
        if not found:
            start = wide + 1
            continue
        _, end, first, height = min(found)
        yield chain[first:end], height
        start = end


def _strip_height(stages: list[_Stage], limit: int) -> int | None:
    """The most rows a strip such that everything takes at most `limit` bytes; None if there is no such number.

    The result counts twice, as strips and as a whole. A strip must have rows to begin with, and not only
    padding.
    """
    ends = stages[0].input_bytes + 2 * stages[-1].bytes
    rows = stages[-1].rows
    if ends > limit:
        return None
    for height in sorted({-(-rows // count) for count in range(2, rows + 1)}, reverse=True):
        some = all(need.first < need.end for r in _cover(rows, height) for need in _needs(stages, r))
        if some and ends + _strip_bytes(stages, height) <= limit:
            return height
    return None


def _work(stages: list[_Stage], height: int) -> int:
    """Multiply-accumulates that strips compute more than there are in the layers."""
    more = 0
    for rows in _cover(stages[-1].rows, height):
        needs = [*_needs(stages, rows), rows]
        more += sum((need.end - need.first) * s.row_work for need, s in zip(needs[1:], stages, strict=True))
    return more - sum(stage.rows * stage.row_work for stage in stages)


def _strip_bytes(stages: list[_Stage], height: int) -> int:
    """The most bytes that the input and the result of a stage take in any strip."""
    most = 0
    for rows in _cover(stages[-1].rows, height):
        needs = [*_needs(stages, rows), rows]
        sizes = [stages[0].input_bytes // stages[0].input_rows] + [stage.bytes // stage.rows for stage in stages]
        taken = [(need.end - need.first) * size for need, size in zip(needs, sizes, strict=True)]
        most = max(most, *(a + b for a, b in pairwise(taken)))
    return most


def _cover(rows: int, height: int) -> Iterator[_Rows]:
    for first in range(0, rows, height):
        yield _Rows(first, min(first + height, rows))


def _needs(stages: list[_Stage], rows: _Rows) -> list[_Rows]:
    """What each stage needs of its input for some rows of the last one's result."""
    needs = []
    for stage in reversed(stages):
        rows = stage.window.needs(rows)
        needs.append(rows)
    return needs[::-1]


def _bytes(expression: Expr) -> int:
    return math.prod(shape_of(expression)) * np.dtype(dtype_of(expression)).itemsize
