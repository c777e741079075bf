"""Winograd's convolution F(2x2, 3x3): 16 products where the definition has 36.

Four outputs, two by two, come of a tile of four by four inputs. Tiles and weights are transformed; for each
of the 16 elements of a tile, the sum over the input channels is a matrix product; what comes out is
transformed back. A band of some rows of tiles is computed at a time, so that little memory is needed.
Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2016.
"""

from __future__ import annotations

from collections.abc import Sequence
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
_BAND = 24
"""Tiles of a band, at least: how often the weights are read against the memory that a band takes."""


def wins(conv: Conv2d, isa: Isa) -> bool:
    """Whether this takes fewer instructions than the definition, even if the weights are loaded in each inference."""
    if (conv.kernel, conv.strides, conv.dilation, conv.groups) != ((3, 3), (1, 1), (1, 1), 1):
        return False
    return conv.in_block == conv.out_block == isa.lanes


def _inputs(d: Sequence[Expr]) -> list[Expr]:
    return [d[0] - d[2], d[1] + d[2], d[2] - d[1], d[1] - d[3]]


def _weights(g: Sequence[Array]) -> list[Array]:
    return [g[0], (g[0] + g[1] + g[2]) / 2, (g[0] - g[1] + g[2]) / 2, g[2]]


def _outputs(m: Sequence[Expr]) -> list[Expr]:
    return [m[0] + m[1] + m[2], m[1] - m[2] - m[3]]


class Winograd:
    """Emits one convolution."""

    def __init__(self, fused: Fused, conv: Conv2d, isa: Isa) -> None:
        self.fused, self.conv, self.isa = fused, conv, isa
        self.lanes = conv.out_block
        self.blocks = -(-conv.channels // self.lanes)
        self.rows, self.columns = (-(-n // 2) for n in conv.out_size)  # of tiles
        bands = max(1, self.rows * self.columns // _BAND)
        self.band = -(-self.rows // bands)  # rows of tiles
        self.tiles = self.band * self.columns  # of a band
        row = (isa, self.tiles, -(-conv.out_channels // self.lanes), Window())
        self.sections = sections(*row, fused.tile)
        self.candidates = partial(candidates, *row)

    def pack(self, weights: Array) -> Array:
        """(O, C, 3, 3) to [section][tile][element][input channel][vector][lane], transformed."""
        blocks = sum(section.count * section.vectors for section in self.sections)
        padded = np.zeros((blocks * self.lanes, self.conv.channels, 3, 3), np.float64)
        padded[: len(weights)] = weights
        rows = np.stack(_weights([padded[:, :, r] for r in range(3)]), axis=2)
        elements = np.stack(_weights([rows[..., c] for c in range(3)]), axis=3).astype(weights.dtype)
        parts = []
        for section in self.sections:
            first, count = section.first, section.count * section.vectors
            tiles = elements[first * self.lanes : (first + count) * self.lanes]
            tiles = tiles.reshape(section.count, section.vectors * self.lanes, self.conv.channels, _ELEMENTS)
            parts.append(tiles.transpose(0, 3, 2, 1).ravel())
        return np.concatenate(parts)

    def emit(self) -> Scheduled:
        data, weights = self.fused.operands
        blocks = sum(section.count * section.vectors for section in self.sections)
        size = _ELEMENTS * self.conv.channels * blocks * self.lanes
        packed = tirx.decl_buffer((size,), "float32", "packed")
        position = self.fused.replace(weights, packed)

        def body() -> None:
            self.data, self.weights = flat(data), packed
            widest = max(section.vectors for section in self.sections)
            self.inputs = T.alloc_buffer((_ELEMENTS * self.tiles * self.blocks * self.lanes,), "float32")
            self.products = T.alloc_buffer((_ELEMENTS * self.tiles * widest * self.lanes,), "float32")
            with T.serial(self.conv.batch) as n, T.serial(-(-self.rows // self.band)) as band:
                first = T.Bind(T.min(band * self.band, self.rows - self.band))
                self._transform_inputs(n, first)
                for section in self.sections:
                    with T.serial(section.count) as tile:
                        self._multiply(section, tile)
                        self._transform_outputs(section, n, section.first + tile * section.vectors, first)

        return Scheduled(lambda: self.fused.emit(body), {position: self.pack}, self.candidates)

    def _transform_inputs(self, n: Expr, first: Expr) -> None:
        """Fill `inputs`, [element][tile][channel]."""
        (height, width), (top, left, *_) = self.conv.size, self.conv.padding
        pitch = self.blocks * self.lanes

        def is_inside(column: int) -> bool:
            return column * 2 >= left and column * 2 - left + 3 < width

        with T.serial(self.band) as row:
            for span in cover(self.columns, 1, is_inside):
                for column in span.starts():
                    with T.serial(self.blocks) as block:
                        image = n * self.blocks + block
                        tile = [
                            [self._input(image, (first + row) * 2 - top + r, column * 2 - left + c) for r in range(4)]
                            for c in range(4)
                        ]
                        columns = [[T.Bind(v) for v in _inputs(values)] for values in tile]
                        for r in range(4):
                            for c, value in enumerate(_inputs([values[r] for values in columns])):
                                place = (r * 4 + c) * self.tiles + row * self.columns + column
                                store(self.inputs, place * pitch + block * self.lanes, value, self.lanes)

    def _input(self, image: Expr, y: Expr, x: Expr) -> Expr:
        """The channels of a pixel; zeros outside of the image."""
        height, width = self.conv.size
        zeros = splat(f32(0), self.lanes)
        if isinstance(x, int) and not 0 <= x < width:
            return zeros
        pixel = load(self.data, ((image * height + y) * width + x) * self.lanes, self.lanes)
        return T.Bind(tirx.if_then_else(tirx.all(y >= 0, y < height), pixel, zeros))

    def _multiply(self, section: Section, tile: Expr) -> None:
        """Fill `products`, [tile][element][vector][lane]."""
        channels, pitch = self.conv.channels, self.blocks * self.lanes
        width = section.vectors * self.lanes
        packed = section.first * self.lanes * _ELEMENTS * channels + tile * (width * _ELEMENTS * channels)
        places = [v * self.lanes for v in range(section.vectors)]
        with T.serial(_ELEMENTS) as element:
            for span in cover(self.tiles, section.pixels):
                for first in span.starts():
                    sums = Accumulators(section.pixels, section.vectors, self.lanes)
                    sums.clear()
                    here = (element * self.tiles + first) * pitch

                    def add(channel: Expr, depth: int) -> None:
                        taps = [[p * pitch + c for p in range(section.pixels)] for c in range(depth)]
                        weights = packed + (element * channels + channel) * width
                        outer_product(
                            self.isa, sums, Operand(self.inputs, here + channel), taps,
                            Weights(self.weights, weights, width, places),
                        )  # fmt: skip

                    with T.serial(channels // _DEPTH) as step:
                        add(step * _DEPTH, _DEPTH)
                    if channels % _DEPTH:
                        add(channels - channels % _DEPTH, channels % _DEPTH)
                    for p in range(section.pixels):
                        for v in range(section.vectors):
                            place = ((first + p) * _ELEMENTS + element) * width + v * self.lanes
                            store(self.products, place, sums[p, v].get(), self.lanes)

    def _transform_outputs(self, section: Section, n: Expr, block: Expr, first: Expr) -> None:
        width = self.conv.out_size[1]
        with T.serial(self.band) as row:
            for span in cover(self.columns, 1, lambda column: column * 2 + 1 < width):
                for column in span.starts():
                    with T.serial(section.vectors) as v:
                        at = (row * self.columns + column) * _ELEMENTS * section.vectors + v
                        tile = [
                            [
                                T.Bind(load(self.products, (at + (r * 4 + c) * section.vectors) * self.lanes, self.lanes))
                                for r in range(4)
                            ]
                            for c in range(4)
                        ]
                        columns = [[T.Bind(value) for value in _outputs(values)] for values in tile]
                        for r in range(2):
                            y = (first + row) * 2 + r
                            for c, value in enumerate(_outputs([values[r] for values in columns])):
                                x = column * 2 + c
                                if isinstance(x, int) and x >= width:
                                    continue
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
