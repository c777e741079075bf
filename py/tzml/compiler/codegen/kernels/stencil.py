"""Depthwise convolution and pooling: each channel by itself, a window that slides over it.

Data lies in blocks of channels, [N][C / c][H][W][c], so one vector holds a position of `c` channels. A
tile of output positions is computed at once; positions of the input that several of them read are
loaded once. Tiles at the border have code of their own, which leaves out what falls into the padding.
"""

from __future__ import annotations

import functools
import itertools
import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tvm import te, tirx

from tzml.compiler.codegen.kernels.cover import Span, cover
from tzml.compiler.codegen.kernels.fused import Fused, annotate
from tzml.compiler.codegen.kernels.isa import Isa
from tzml.compiler.codegen.kernels.scheduled import Packer, Scheduled
from tzml.compiler.codegen.kernels.tir import Expr, T, Vector, f32, flat, load, splat
from tzml.compiler.codegen.kernels.window import Pair, Window

Array = NDArray[Any]
Taps = list[tuple[Expr, int]]
"""The values that one output reads, each with the number of its tap."""

_LOWEST = float(np.finfo(np.float32).min)
_LARGEST = (4, 8)
"""Rows and columns of a tile at most: 32 accumulators, which is every register that a processor has."""
_LOOP = 4
"""Instructions around a tile, estimated: the counter, the branch and two addresses."""


@dataclass(frozen=True)
class Stencil:
    """The geometry. `kind` is depthwise, max or avg; `padding` is (top, left, bottom, right).

    `out_size` is given, since frameworks differ in how they round it. With `count_padding`, an average
    is divided by the window's size; without, by how much of the window lies inside the image.
    """

    kind: str
    batch: int
    blocks: int
    block: int
    size: Pair
    out_size: Pair
    kernel: Pair
    strides: Pair = (1, 1)
    dilation: Pair = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    count_padding: bool = False

    @property
    def window(self) -> Window:
        return Window(self.size, self.out_size, self.kernel, self.strides, self.dilation, self.padding[:2])

    @property
    def is_global(self) -> bool:
        """Whether it is the mean of an image."""
        return self.kind == "avg" and self.kernel == self.size and self.out_size == (1, 1) and not any(self.padding)

    def annotation(self) -> dict[str, str]:
        return annotate("stencil", **asdict(self))

    def count(self, output: tuple[Expr, Expr]) -> Expr:
        """By what the sum at an output position is divided; a number if the position is one."""
        total: Expr = 1
        for axis in range(2):
            first = output[axis] * self.strides[axis] - self.padding[axis]
            low, high = 0, self.size[axis]
            if self.count_padding:
                low, high = -self.padding[axis], high + self.padding[axis + 2]
            taps = [first + tap * self.dilation[axis] for tap in range(self.kernel[axis])]
            if isinstance(first, int):
                total *= sum(low <= tap < high for tap in taps)
            else:
                total *= sum(tirx.Cast("int32", tirx.all(tap >= low, tap < high)) for tap in taps)
        return total


def define_pool(data: Any, stencil: Stencil) -> Any:
    """A pooling in TE."""
    return define(data, None, stencil)


def define(data: Any, weights: Any, stencil: Stencil) -> Any:
    """The operator in TE. `data` is (N, C / c, H, W, c); weights are (C, 1, KH, KW), for depthwise only."""
    height, width = stencil.size
    row = te.reduce_axis((0, stencil.kernel[0]), "row")
    column = te.reduce_axis((0, stencil.kernel[1]), "column")
    shape = (stencil.batch, stencil.blocks, *stencil.out_size, stencil.block)

    def read(index: tuple[Expr, ...], outside: float, valid: Expr = True) -> Expr:
        n, block, h, w, lane = index
        y = h * stencil.strides[0] + row * stencil.dilation[0] - stencil.padding[0]
        x = w * stencil.strides[1] + column * stencil.dilation[1] - stencil.padding[1]
        inside = tirx.all(valid, y >= 0, y < height, x >= 0, x < width)
        return tirx.if_then_else(inside, data[n, block, y, x, lane], f32(outside))

    if stencil.kind == "max":
        return te.compute(
            shape, lambda *i: te.max(read(i, _LOWEST), [row, column]), name="max_pool", attrs=stencil.annotation()
        )
    if stencil.kind == "avg":
        total = te.compute(shape, lambda *i: te.sum(read(i, 0.0), [row, column]), name="sum_pool")
        return te.compute(
            shape,
            lambda *i: total(*i) / tirx.Cast("float32", stencil.count((i[2], i[3]))),
            name="avg_pool",
            attrs=stencil.annotation(),
        )
    channels = int(weights.shape[0])

    def product(*i: Expr) -> Expr:
        channel = i[1] * stencil.block + i[4]
        value = read(i, 0.0, channel < channels)
        weight = tirx.if_then_else(channel < channels, weights[channel, 0, row, column], f32(0.0))
        return te.sum(value * weight, [row, column])

    return te.compute(shape, product, name="depthwise", attrs=stencil.annotation())


def pack(weights: Array, block: int) -> Array:
    """(C, 1, KH, KW) to [C / c][KH · KW][c]."""
    channels = weights.shape[0]
    padded = np.zeros((-(-channels // block) * block, weights[0].size), weights.dtype)
    padded[:channels] = weights.reshape(channels, -1)
    return padded.reshape(-1, block, padded.shape[1]).transpose(0, 2, 1).ravel()


@functools.cache
def tile_size(isa: Isa, stencil: Stencil) -> Pair:
    """(rows, columns) of a tile: the one with the fewest instructions, by the estimate of `_cost`."""
    limits = [min(extent, limit) for extent, limit in zip(stencil.out_size, _LARGEST, strict=True)]
    sizes = [(rows, columns) for rows in range(1, limits[0] + 1) for columns in range(1, limits[1] + 1)]
    return min(sizes, key=lambda size: (_cost(isa, stencil, size), size))


def _cost(isa: Isa, stencil: Stencil, size: Pair) -> float:
    """Instructions for the whole of one block of channels, if tiles have this size."""
    window = stencil.window
    taps = stencil.kernel[0] * stencil.kernel[1]
    touched = [
        len({axis.position(output, tap) for output in range(count) for tap in range(axis.taps)})
        for axis, count in zip((window.rows, window.columns), size, strict=True)
    ]
    weights = taps if stencil.kind == "depthwise" else 0
    # accumulators and a row of inputs are live at once, besides a weight and a product
    live = size[0] * size[1] + touched[1]
    if live > isa.registers - 2:
        return math.inf if size != (1, 1) else sys.float_info.max  # something has to be the best
    # weights stay in registers if there is room for them and a product
    reloaded = weights if live + weights > isa.registers - 1 else 0
    loads = touched[0] * touched[1] + reloaded
    tiles = -(-stencil.out_size[0] // size[0]) * -(-stencil.out_size[1] // size[1])
    return tiles * (taps * size[0] * size[1] + loads / 2 + _LOOP)  # two loads of neighbours are one LDP


@dataclass
class _Inputs:
    """The input of a tile: loads each position once."""

    data: Any
    offset: Expr
    row_stride: int
    lanes: int
    known: dict[tuple[int, int], Expr] = field(default_factory=dict)

    def __call__(self, y: int, x: int) -> Expr:
        if (y, x) not in self.known:
            at = self.offset + (y * self.row_stride + x * self.lanes)
            self.known[y, x] = T.Bind(load(self.data, at, self.lanes))
        return self.known[y, x]


class _Emitter:
    """Emits one stencil."""

    def __init__(self, fused: Fused, isa: Isa) -> None:
        self.fused, self.stencil = fused, Stencil(**fused.geometry)
        self.window = self.stencil.window
        self.lanes = self.stencil.block
        self.tile = tile_size(isa, self.stencil)

    def emit(self) -> Scheduled:
        data, *weights = self.fused.operands
        stencil = self.stencil
        packers: dict[int, Packer] = {}
        packed = None
        if weights:
            size = stencil.blocks * stencil.kernel[0] * stencil.kernel[1] * self.lanes
            packed = tirx.decl_buffer((size,), "float32", "packed")
            packers[self.fused.replace(weights[0], packed)] = lambda array: pack(array, self.lanes)

        def body() -> None:
            self.data, self.packed = flat(data), packed
            with T.serial(stencil.batch) as n, T.serial(stencil.blocks) as block:
                if stencil.is_global:
                    self._whole(n, block)
                    return
                for rows, columns in itertools.product(*self._spans()):
                    for h in rows.starts():
                        for w in columns.starts():
                            self._tile(n, block, rows, columns, h, w)

        return Scheduled(lambda: self.fused.emit(body), packers)

    def _spans(self) -> Iterator[list[Span]]:
        for axis, size in zip((self.window.rows, self.window.columns), self.tile, strict=True):
            yield cover(axis.out_size, size, functools.partial(axis.is_inside, count=size))

    def _whole(self, n: Expr, block: Expr) -> None:
        """The mean of the whole image."""
        total, size = Vector(self.lanes), math.prod(self.stencil.size)
        total.set(splat(f32(0), self.lanes))
        with T.serial(size) as position:
            at = ((n * self.stencil.blocks + block) * size + position) * self.lanes
            total.set(total.get() + load(self.data, at, self.lanes))
        total.set(total.get() * splat(f32(1 / size), self.lanes))
        self.fused.store_vector(total, (n, block, 0, 0, 0), self.lanes)

    def _tile(self, n: Expr, block: Expr, rows: Span, columns: Span, h: Expr, w: Expr) -> None:
        """One tile with its upper left output at (h, w)."""
        height, width = self.stencil.size
        row_stride = width * self.lanes
        image = (n * self.stencil.blocks + block) * (height * row_stride)
        corner = h * (self.stencil.strides[0] * row_stride) + w * (self.stencil.strides[1] * self.lanes)
        inputs = _Inputs(self.data, image + corner, row_stride, self.lanes)
        results = []
        for r, c in itertools.product(range(self.tile[0]), range(self.tile[1])):
            result = Vector(self.lanes)
            result.set(self._output(inputs, block, _at(rows, r), _at(columns, c), (r, c)))
            results.append((r, c, result))
        for r, c, result in results:
            self.fused.store_vector(result, (n, block, h + r, w + c, 0), self.lanes)

    def _output(self, inputs: _Inputs, block: Expr, y: int | None, x: int | None, at: Pair) -> Expr:
        """The value of one output. `y` and `x` are its position where that is known, `at` that in the tile."""
        taps: Taps = []
        for number, (row, column) in enumerate(self.window.taps()):
            if y is not None and not self.window.rows.inside(y, row):
                continue
            if x is not None and not self.window.columns.inside(x, column):
                continue
            position = self.window.rows.position(at[0], row), self.window.columns.position(at[1], column)
            taps.append((inputs(*position), number))
        kind = self.stencil.kind
        if kind == "max":
            return _combine([value for value, _ in taps] or [splat(f32(_LOWEST), self.lanes)], T.max)
        if not taps:
            return splat(f32(0), self.lanes)
        if kind == "avg":
            total = _combine([value for value, _ in taps], lambda a, b: a + b)
            inside = (self._regular(0) if y is None else y, self._regular(1) if x is None else x)
            return total * splat(f32(1 / self.stencil.count(inside)), self.lanes)
        size = self.stencil.kernel[0] * self.stencil.kernel[1]
        weights = [load(self.packed, (block * size + number) * self.lanes, self.lanes) for _, number in taps]
        products = [value * weight for (value, _), weight in zip(taps, weights, strict=True)]
        return _combine(products, lambda a, b: a + b)

    def _regular(self, i: int) -> int:
        """Some output position whose window does not reach into the padding."""
        axis = (self.window.rows, self.window.columns)[i]
        return next(output for output in range(axis.out_size) if axis.is_inside(output, 1))


def _at(span: Span, offset: int) -> int | None:
    """The output position at an offset in a tile, if the tile's is known."""
    return span.start + offset if span.count == 1 else None


def _combine(values: list[Expr], function: Callable[[Expr, Expr], Expr]) -> Expr:
    result = values[0]
    for value in values[1:]:
        result = function(result, value)
    return result


def schedule(fused: Fused, isa: Isa) -> Scheduled:
    """A kernel for a depthwise convolution or a pooling."""
    return _Emitter(fused, isa).emit()
