"""Winograd's convolution F(2x2, 3x3): 16 products where the definition has 36.

Four outputs, two by two, come of a tile of four by four inputs. Tiles and weights are transformed; for each of
the 16 elements of a tile the sum over the input channels is a matrix product; what comes out is transformed
back. That is done for a band of some rows of tiles at a time, so that it takes little memory.
Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2016.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from tvm import tirx

from tzml.compiler.codegen.kernels.cover import cover
from tzml.compiler.codegen.kernels.fused import Fused
from tzml.compiler.codegen.kernels.gemm import Accumulators, Operand, Weights, outer_product
from tzml.compiler.codegen.kernels.isa import Isa
from tzml.compiler.codegen.kernels.scheduled import Scheduled
from tzml.compiler.codegen.kernels.tiles import OutputSection, Reduction, candidates, sections
from tzml.compiler.codegen.kernels.tir import Buffer, Expr, T, Vector, f32, flat, load, splat, store

if TYPE_CHECKING:
    from tzml.compiler.codegen.kernels.conv import Conv2d

Array = NDArray[Any]
Tile = list[list[Any]]
"""Four rows of four vectors, or three of three weights."""

_LEAST_PIXELS = 144
"""Of the output: with fewer, what is saved goes into transforming the weights."""
_LEAST_CHANNELS = 16
"""In and out: with fewer, what is saved goes into transforming tiles."""
_ELEMENTS = 16
_TAPS = 9
_STEP = 4
"""Input channels that are multiplied at once."""
_DEPTH = 128
"""Input channels whose weights are transformed at a time, at most, so that they stay in a cache."""
_BAND_BYTES = 1 << 18
_BAND_TILES = 49
"""A band's transformed inputs take at most so many bytes, unless it has no more than so many tiles."""
_LINE = 16
"""Numbers in a line of a cache."""


def wins(conv: Conv2d, isa: Isa) -> bool:
    """Whether this is faster than the definition, by what was measured (docs/bench.md)."""
    is_known = (conv.kernel, conv.strides, conv.dilation, conv.groups) == ((3, 3), (1, 1), (1, 1), 1)
    in_vectors = conv.in_block == conv.out_block == isa.lanes
    height, width = conv.out_size
    enough = min(conv.channels, conv.out_channels) >= _LEAST_CHANNELS and height * width >= _LEAST_PIXELS
    return is_known and in_vectors and enough


def _inputs(d: Sequence[Any]) -> list[Any]:
    return [d[0] - d[2], d[1] + d[2], d[2] - d[1], d[3] - d[1]]


def _weights(g: Sequence[Any]) -> list[Any]:
    """The second and the third are twice what they should be: `_outputs` halves, which costs nothing there."""
    return [g[0], g[0] + g[2] + g[1], g[0] + g[2] - g[1], g[2]]


def _outputs(m: Sequence[Any], half: Expr) -> list[Any]:
    return [m[0] + (m[1] + m[2]) * half, m[3] + (m[1] - m[2]) * half]


def _transform(tile: Tile, one: Callable[[Sequence[Any]], list[Any]], bind: Callable[[Any], Any] = T.Bind) -> Tile:
    """`one` applied to the columns of a tile, and then to the rows of what comes out."""
    columns = [[bind(value) for value in one(column)] for column in zip(*tile, strict=True)]
    return [one(row) for row in zip(*columns, strict=True)]


def _rows(values: Sequence[Any], length: int) -> Tile:
    return [list(values[first : first + length]) for first in range(0, len(values), length)]


@dataclass(frozen=True)
class _Matrices:
    """A matrix for each element of a tile: rows of `length` numbers, `size` from matrix to matrix."""

    buffer: Buffer
    start: Expr
    size: int
    length: int

    @classmethod
    def scratch(cls, rows: int, length: int) -> _Matrices:
        """With a line in between, lest the same place of all 16 is in one set of a cache."""
        size = rows * length + _LINE
        return cls(T.alloc_buffer((_ELEMENTS * size,), "float32"), 0, size, length)

    def place(self, element: Expr, row: Expr, column: Expr) -> Expr:
        return self.start + element * self.size + row * self.length + column

    def store(self, row: Expr, column: Expr, tile: Tile, lanes: int) -> None:
        for element, value in enumerate(value for values in tile for value in values):
            store(self.buffer, self.place(element, row, column), value, lanes)

    def load(self, row: Expr, column: Expr, lanes: int) -> Tile:
        values = [T.Bind(load(self.buffer, self.place(e, row, column), lanes)) for e in range(_ELEMENTS)]
        return _rows(values, 4)


class Winograd:
    """Emits one convolution.

    Transformed weights are 16/9 as large. For x86, which has no TEE, they are in the bundle; for AArch64 each
    band transforms them anew, a tenth of what is saved: to load and to hash a byte more costs more than that.
    """

    def __init__(self, fused: Fused, conv: Conv2d, isa: Isa) -> None:
        self.fused, self.conv, self.isa = fused, conv, isa
        self.lanes = conv.out_block
        self.blocks = -(-conv.channels // self.lanes)
        self.in_bundle = not isa.by_element
        depths = [] if self.in_bundle else range(_DEPTH, _DEPTH // 4, -_STEP)
        self.depth = next((d for d in depths if conv.channels % d == 0), conv.channels)
        self.rows, self.columns = (-(-n // 2) for n in conv.out_size)  # of tiles
        most = max(_BAND_TILES, _BAND_BYTES // (4 * _ELEMENTS * self.blocks * self.lanes))
        fits = [rows for rows in range(1, self.rows + 1) if rows == 1 or rows * self.columns <= most]
        # to transform the weights takes as long as two tiles
        self.band = min(fits, key=lambda rows: -(-self.rows // rows) * (rows * self.columns + 2))
        self.tiles = self.band * self.columns  # of a band
        row = (isa, self.tiles, -(-conv.out_channels // self.lanes), Reduction())
        self.sections = sections(*row, fused.tile)
        self.candidates = partial(candidates, *row)

    def pack(self, weights: Array) -> Array:
        """(O, C, 3, 3) to [section][tile][element][input channel][vector][lane], transformed; or, if that is
        left to the kernel, to [section][tile][input channel][tap][vector][lane].
        """
        parts = weights.reshape(*weights.shape[:2], _TAPS).transpose(2, 0, 1)
        order = (0, 2, 3, 1)
        if self.in_bundle:
            parts = np.concatenate(_transform(_rows(list(parts), 3), _weights, lambda array: array))
            order = (0, 3, 2, 1)
        blocks = sum(section.count * section.vectors for section in self.sections)
        padded = np.zeros((blocks * self.lanes, self.conv.channels, len(parts)), weights.dtype)
        padded[: len(weights)] = parts.transpose(1, 2, 0)
        packed = []
        for section in self.sections:
            first, count = section.first, section.count * section.vectors
            tiles = padded[first * self.lanes : (first + count) * self.lanes]
            packed.append(tiles.reshape(section.count, -1, *padded.shape[1:]).transpose(order).ravel())
        return np.concatenate(packed)

    def emit(self) -> Scheduled:
        data, weights = self.fused.operands
        blocks = sum(section.count * section.vectors for section in self.sections)
        self.column = self.conv.channels * (_ELEMENTS if self.in_bundle else _TAPS)  # numbers an output channel
        self.packed = tirx.decl_buffer((blocks * self.lanes * self.column,), "float32", "packed")
        position = self.fused.replace(weights, self.packed)

        def body() -> None:
            self.data = flat(data)
            widest = max(section.vectors for section in self.sections) * self.lanes
            # in groups of tiles; what a last one that is not full has beyond the others is never looked at
            tiles = max(-(-self.tiles // section.pixels) * section.pixels for section in self.sections)
            self.inputs = _Matrices.scratch(tiles, self.blocks * self.lanes)
            self.products = _Matrices.scratch(tiles, widest)
            if not self.in_bundle:
                self.weights = _Matrices.scratch(self.depth, widest)
            with T.serial(self.conv.batch) as n, T.serial(-(-self.rows // self.band)) as band:
                first = T.Bind(T.min(band * self.band, self.rows - self.band))
                self._transform_inputs(n, first)
                for section in self.sections:
                    with T.serial(section.count) as tile:
                        self._section(section, n, first, tile)

        return Scheduled(lambda: self.fused.emit(body), {position: self.pack}, self.candidates)

    def _section(self, section: OutputSection, n: Expr, first: Expr, tile: Expr) -> None:
        """A tile of output channels, for all tiles of the band."""
        width = section.vectors * self.lanes
        packed = (section.first * self.lanes + tile * width) * self.column
        if self.in_bundle:
            size = self.conv.channels * width
            self._multiply(section, _Matrices(self.packed, packed, size, width), 0, is_first=True)
        else:
            self._transform_weights(section, packed)
            self._multiply(section, self.weights, 0, is_first=True)
            if self.depth < self.conv.channels:
                with T.serial(self.conv.channels // self.depth - 1) as part:
                    channel = (part + 1) * self.depth
                    self._transform_weights(section, packed + channel * _TAPS * width)
                    self._multiply(section, self.weights, channel, is_first=False)
        self._transform_outputs(section, n, section.first + tile * section.vectors, first)

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
        """Some channels of a pixel; zeros outside of the image."""
        height, width = self.conv.size
        zeros = splat(f32(0), self.lanes)
        if isinstance(x, int) and not 0 <= x < width:
            return zeros
        offset = ((n * self.blocks + block) * height + y) * width + x
        pixel = load(self.data, offset * self.lanes, self.lanes)
        return T.Bind(tirx.if_then_else(tirx.all(y >= 0, y < height), pixel, zeros))

    def _transform_weights(self, section: OutputSection, packed: Expr) -> None:
        """Of `depth` input channels."""
        with T.serial(self.depth) as channel, T.serial(section.vectors) as v:
            start = packed + (channel * _TAPS * section.vectors + v) * self.lanes
            places = [start + tap * section.vectors * self.lanes for tap in range(_TAPS)]
            taps = _rows([T.Bind(load(self.packed, place, self.lanes)) for place in places], 3)
            self.weights.store(channel, v * self.lanes, _transform(taps, _weights), self.lanes)

    def _multiply(self, section: OutputSection, weights: _Matrices, channel: Expr, is_first: bool) -> None:
        """Add the products of `depth` input channels, from `channel` on."""
        zeros = splat(f32(0), self.lanes)
        pixels = section.pixels
        with T.serial(_ELEMENTS) as element, T.serial(-(-self.tiles // pixels)) as group:
            sums = Accumulators(pixels, section.vectors, self.lanes)
            places = [
                (sums[p, v], self.products.place(element, group * pixels + p, v * self.lanes))
                for p in range(pixels)
                for v in range(section.vectors)
            ]
            for vector, place in places:
                vector.set(zeros if is_first else load(self.products.buffer, place, self.lanes))
            data = self.inputs.place(element, group * pixels, channel)
            rest = self.depth % _STEP
            with T.serial(self.depth // _STEP) as step:
                k = step * _STEP
                self._add(sums, data + k, weights, weights.place(element, k, 0), _STEP)
            if rest:
                k = self.depth - rest
                self._add(sums, data + k, weights, weights.place(element, k, 0), rest)
            for vector, place in places:
                store(self.products.buffer, place, vector.get(), self.lanes)

    def _add(self, sums: Accumulators, data: Expr, weights: _Matrices, start: Expr, count: int) -> None:
        """Add the products of `count` input channels."""
        taps = [[p * self.inputs.length + c for p in range(sums.pixels)] for c in range(count)]
        places = [v * self.lanes for v in range(sums.vectors)]
        rows = Weights(weights.buffer, start, weights.length, places)
        outer_product(self.isa, sums, Operand(self.inputs.buffer, data), taps, rows)

    def _transform_outputs(self, section: OutputSection, n: Expr, block: Expr, first: Expr) -> None:
        height, width = self.conv.out_size
        half = splat(f32(0.5), self.lanes)
        with T.serial(self.band) as row:
            for span in cover(self.columns, 1, lambda column: column * 2 + 1 < width):
                for column in span.starts():
                    with T.serial(section.vectors) as v:
                        products = self.products.load(row * self.columns + column, v * self.lanes, self.lanes)
                        upper, lower = _transform(products, lambda m: _outputs(m, half))
                        y, x = (first + row) * 2, column * 2
                        self._store(upper, n, block + v, y, x)
                        if height % 2:  # the last row of tiles reaches below the image
                            with T.If(y + 1 < height), T.Then():
                                self._store(lower, n, block + v, y + 1, x)
                        else:
                            self._store(lower, n, block + v, y + 1, x)

    def _store(self, row: list[Any], n: Expr, block: Expr, y: Expr, x: Expr) -> None:
        """Hand two neighbours, or what of them is in the image, to the epilogue."""
        for c, value in enumerate(row):
            if not isinstance(x, int) or x + c < self.conv.out_size[1]:
                vector = Vector(self.lanes)
                vector.set(value)
                self.fused.store_vector(vector, (n, block, y, x + c, 0), self.lanes)
