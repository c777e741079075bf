"""Winograd's convolution F(2x2, 3x3): 16 products where the definition has 36.

Four outputs, two by two, come of a tile of four by four inputs. Tiles and weights are transformed; for each
of the 16 elements of a tile, the sum over the input channels is a matrix product; what comes out is
transformed back. A band of some rows of tiles is computed at a time, so that little memory is needed.
Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2016.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from tvm import tirx

from tzml.compiler.kernels.cover import cover
from tzml.compiler.kernels.fused import Fused
from tzml.compiler.kernels.gemm import Accumulators, Operand, Weights, outer_product
from tzml.compiler.kernels.isa import Isa
from tzml.compiler.kernels.scheduled import Scheduled
from tzml.compiler.kernels.tiles import Section, Window, candidates, sections
from tzml.compiler.kernels.tir import Expr, T, Vector, f32, flat, load, splat, store

if TYPE_CHECKING:
    from tzml.compiler.kernels.conv import Conv2d

Array = NDArray[Any]

_ELEMENTS = 16
"""Of a transformed tile."""
_DEPTH = 4
"""Input channels that are taken at once."""
_TAPS = 9
_LINE = 16
"""Numbers in a line of the cache."""
import os
_BAND = int(os.environ.get("WB", 1 << 16))
_LEAST_TILES = int(os.environ.get("WT", 28))


def wins(conv: Conv2d, isa: Isa) -> bool:
    """Whether this takes fewer instructions than the definition, even if the weights are loaded in each inference."""
    if (conv.kernel, conv.strides, conv.dilation, conv.groups) != ((3, 3), (1, 1), (1, 1), 1):
        return False
    return conv.in_block == conv.out_block == isa.lanes


def _inputs(d: Sequence[Expr]) -> list[Expr]:
    return [d[0] - d[2], d[1] + d[2], d[2] - d[1], d[3] - d[1]]


def _weights(g: Sequence[Expr]) -> list[Expr]:
    """Twice the second and third; `_outputs` has the halves, where they cost nothing."""
    ends = T.Bind(g[0] + g[2])
    return [g[0], ends + g[1], ends - g[1], g[2]]


def _outputs(m: Sequence[Expr], half: Expr) -> list[Expr]:
    return [m[0] + (m[1] + m[2]) * half, m[3] + (m[1] - m[2]) * half]


def _transform(tile: Sequence[Sequence[Expr]], one: Callable[[Sequence[Expr]], list[Expr]]) -> list[list[Expr]]:
    """`one` applied to the columns of a tile, and then to the rows of what comes out."""
    columns = [[T.Bind(value) for value in one(column)] for column in zip(*tile, strict=True)]
    return [one(row) for row in zip(*columns, strict=True)]


class _Elements:
    """Scratch memory for 16 matrices of `rows` rows of `length` numbers, one for each element of a tile.

    What lies between them keeps their equal places from being in one set of a cache.
    """

    def __init__(self, rows: int, length: int) -> None:
        self.length = length
        self.size = rows * length + _LINE
        self.buffer = T.alloc_buffer((_ELEMENTS * self.size,), "float32")

    def place(self, element: Expr, row: Expr, column: Expr) -> Expr:
        return element * self.size + row * self.length + column

    def store(self, row: Expr, column: Expr, tile: list[list[Expr]], lanes: int) -> None:
        for element, value in enumerate(value for values in tile for value in values):
            store(self.buffer, self.place(element, row, column), value, lanes)

    def load(self, row: Expr, column: Expr, lanes: int) -> list[list[Expr]]:
        values = [T.Bind(load(self.buffer, self.place(e, row, column), lanes)) for e in range(_ELEMENTS)]
        return [values[first : first + 4] for first in range(0, _ELEMENTS, 4)]


class Winograd:
    """Emits one convolution."""

    def __init__(self, fused: Fused, conv: Conv2d, isa: Isa) -> None:
        self.fused, self.conv, self.isa = fused, conv, isa
        self.lanes = conv.out_block
        self.blocks = -(-conv.channels // self.lanes)
        self.rows, self.columns = (-(-n // 2) for n in conv.out_size)  # of tiles
        most = max(_LEAST_TILES, _BAND // (_ELEMENTS * self.blocks * self.lanes))
        fits = [rows for rows in range(1, self.rows + 1) if rows == 1 or rows * self.columns <= most]
        self.band = min(fits, key=lambda rows: -(-self.rows // rows) * (rows * self.columns + 2))
        self.tiles = self.band * self.columns  # of a band
        row = (isa, self.tiles, -(-conv.out_channels // self.lanes), Window())
        self.sections = sections(*row, fused.tile)
        self.candidates = partial(candidates, *row)

    def pack(self, weights: Array) -> Array:
        """(O, C, 3, 3) to [section][tile][input channel][row][column][vector][lane]."""
        blocks = sum(section.count * section.vectors for section in self.sections)
        padded = np.zeros((blocks * self.lanes, self.conv.channels * _TAPS), weights.dtype)
        padded[: len(weights)] = weights.reshape(len(weights), -1)
        parts = []
        for section in self.sections:
            first, count = section.first, section.count * section.vectors
            tiles = padded[first * self.lanes : (first + count) * self.lanes]
            parts.append(tiles.reshape(section.count, section.vectors * self.lanes, -1).transpose(0, 2, 1).ravel())
        return np.concatenate(parts)

    def emit(self) -> Scheduled:
        data, weights = self.fused.operands
        blocks = sum(section.count * section.vectors for section in self.sections)
        packed = tirx.decl_buffer((blocks * self.lanes * self.conv.channels * _TAPS,), "float32", "packed")
        position = self.fused.replace(weights, packed)

        def body() -> None:
            self.data, self.packed = flat(data), packed
            widest = max(section.vectors for section in self.sections) * self.lanes
            self.inputs = _Elements(self.tiles, self.blocks * self.lanes)
            self.weights = _Elements(self.conv.channels, widest)
            self.products = _Elements(self.tiles, widest)
            with T.serial(self.conv.batch) as n, T.serial(-(-self.rows // self.band)) as band:
                first = T.Bind(T.min(band * self.band, self.rows - self.band))
                self._transform_inputs(n, first)
                for section in self.sections:
                    with T.serial(section.count) as tile:
                        self._transform_weights(section, tile)
                        self._multiply(section)
                        self._transform_outputs(section, n, section.first + tile * section.vectors, first)

        return Scheduled(lambda: self.fused.emit(body), {position: self.pack}, self.candidates)

    def _transform_inputs(self, n: Expr, first: Expr) -> None:
        (_, width), (top, left, *_) = self.conv.size, self.conv.padding

        def is_inside(column: int) -> bool:
            return column * 2 >= left and column * 2 - left + 3 < width

        with T.serial(self.band) as row:
            for span in cover(self.columns, 1, is_inside):
                for column in span.starts():
                    with T.serial(self.blocks) as block:
                        y, x = (first + row) * 2 - top, column * 2 - left
                        tile = [[self._input(n, block, y + r, x + c) for c in range(4)] for r in range(4)]
                        place = row * self.columns + column
                        self.inputs.store(place, block * self.lanes, _transform(tile, _inputs), self.lanes)

    def _input(self, n: Expr, block: Expr, y: Expr, x: Expr) -> Expr:
        """The channels of a pixel; zeros outside of the image."""
        height, width = self.conv.size
        zeros = splat(f32(0), self.lanes)
        if isinstance(x, int) and not 0 <= x < width:
            return zeros
        offset = ((n * self.blocks + block) * height + y) * width + x
        pixel = load(self.data, offset * self.lanes, self.lanes)
        return T.Bind(tirx.if_then_else(tirx.all(y >= 0, y < height), pixel, zeros))

    def _transform_weights(self, section: Section, tile: Expr) -> None:
        width, channels = section.vectors * self.lanes, self.conv.channels
        packed = (section.first * self.lanes + tile * width) * channels * _TAPS
        with T.serial(channels) as channel, T.serial(section.vectors) as vector:
            start = packed + channel * _TAPS * width + vector * self.lanes
            taps = [[T.Bind(load(self.packed, start + (r * 3 + c) * width, self.lanes)) for c in range(3)] for r in range(3)]
            self.weights.store(channel, vector * self.lanes, _transform(taps, _weights), self.lanes)

    def _multiply(self, section: Section) -> None:
        channels, pitch = self.conv.channels, self.inputs.length
        with T.serial(_ELEMENTS) as element:
            for span in cover(self.tiles, section.pixels):
                for first in span.starts():
                    sums = Accumulators(section.pixels, section.vectors, self.lanes)
                    sums.clear()
                    with T.serial(channels // _DEPTH) as step:
                        self._add(sums, element, first, step * _DEPTH, _DEPTH)
                    if channels % _DEPTH:
                        self._add(sums, element, first, channels - channels % _DEPTH, channels % _DEPTH)
                    for p in range(section.pixels):
                        for v in range(section.vectors):
                            place = self.products.place(element, first + p, v * self.lanes)
                            store(self.products.buffer, place, sums[p, v].get(), self.lanes)

    def _add(self, sums: Accumulators, element: Expr, first: Expr, channel: Expr, depth: int) -> None:
        """Add some input channels to the products of one element of some tiles."""
        taps = [[p * self.inputs.length + c for p in range(sums.pixels)] for c in range(depth)]
        data = Operand(self.inputs.buffer, self.inputs.place(element, first, channel))
        start, step = self.weights.place(element, channel, 0), self.weights.length
        places = [v * self.lanes for v in range(sums.vectors)]
        outer_product(self.isa, sums, data, taps, Weights(self.weights.buffer, start, step, places))

    def _transform_outputs(self, section: Section, n: Expr, block: Expr, first: Expr) -> None:
        height, width = self.conv.out_size
        half = splat(f32(0.5), self.lanes)
        with T.serial(self.band) as row:
            for span in cover(self.columns, 1, lambda column: column * 2 + 1 < width):
                for column in span.starts():
                    with T.serial(section.vectors) as v:
                        tile = self.products.load(row * self.columns + column, v * self.lanes, self.lanes)
                        for r, values in enumerate(_transform(tile, lambda m: _outputs(m, half))):
                            y = (first + row) * 2 + r
                            for c, value in enumerate(values):
                                x = column * 2 + c
                                if not (isinstance(x, int) and x >= width):
                                    self._store(value, (n, block + v, y, x, 0), r == 1)

    def _store(self, value: Expr, index: tuple[Expr, ...], odd: bool) -> None:
        """Hand a vector to the epilogue; the second row of a tile may be below the image."""
        height = self.conv.out_size[0]

        def emit() -> None:
            vector = Vector(self.lanes)
            vector.set(value)
            self.fused.store_vector(vector, index, self.lanes)

        if odd and height % 2:
            with T.If(index[2] < height), T.Then():
                emit()
        else:
            emit()
