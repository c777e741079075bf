"""Convolution with many input channels an output channel, straight from its definition.

Data lies in blocks of channels, [N][C / c][H][W][c]; see blocked_layout.py. A tile of neighbouring output pixels
times some vectors of output channels stays in registers over the whole reduction. Nothing is padded:
near the left and right border the tile's code leaves out the taps that fall outside, and the loop over
kernel rows runs over those inside. Georganas et al., "Anatomy of High-Performance Deep Learning
Convolutions on SIMD Architectures", 2018.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tvm import te, tirx

from tzml.compiler.codegen.kernels.cover import Span, cover
from tzml.compiler.codegen.kernels.fused import Fused, annotate
from tzml.compiler.codegen.kernels.gemm import Accumulators, Operand, Weights, outer_product
from tzml.compiler.codegen.kernels.isa import Isa
from tzml.compiler.codegen.kernels.scheduled import Scheduled
from tzml.compiler.codegen.kernels.tiles import OutputSection, Reduction, candidates, sections
from tzml.compiler.codegen.kernels.tir import Expr, T, flat
from tzml.compiler.codegen.kernels.winograd import Winograd
from tzml.compiler.codegen.kernels.winograd import wins as winograd_wins

Array = NDArray[Any]


@dataclass(frozen=True)
class Conv2d:
    """The geometry of a convolution. Pairs are (rows, columns); padding is (top, left, bottom, right).

    Channels come in blocks of `in_block` and go out in blocks of `out_block`; in a last block that is
    not full the rest is padding, which is written and never read. Weights are (O, C / groups, KH, KW).
    """

    batch: int
    channels: int
    in_block: int
    size: tuple[int, int]
    out_channels: int
    out_block: int
    kernel: tuple[int, int]
    strides: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    groups: int = 1

    @property
    def out_size(self) -> tuple[int, int]:
        """Height and width of the output."""

        def extent(axis: int) -> int:
            padded = self.size[axis] + self.padding[axis] + self.padding[axis + 2]
            return (padded - (self.kernel[axis] - 1) * self.dilation[axis] - 1) // self.strides[axis] + 1

        return extent(0), extent(1)

    @property
    def group_channels(self) -> int:
        """Input channels that one output channel depends on."""
        return self.channels // self.groups

    @property
    def is_pointwise(self) -> bool:
        """Whether each output pixel depends on the one input pixel at the same place."""
        return (self.kernel, self.strides, self.padding) == ((1, 1), (1, 1), (0, 0, 0, 0))

    def annotation(self) -> dict[str, str]:
        return annotate("conv2d", **asdict(self))


def define(data: Any, weights: Any, conv: Conv2d) -> Any:
    """The convolution in TE. `data` is (N, C / c, H, W, c), weights as in Conv2d."""
    height, width = conv.size
    group_outputs = conv.out_channels // conv.groups
    channel = te.reduce_axis((0, conv.group_channels), "channel")
    row = te.reduce_axis((0, conv.kernel[0]), "row")
    column = te.reduce_axis((0, conv.kernel[1]), "column")

    def pixel(n: Expr, block: Expr, h: Expr, w: Expr, lane: Expr) -> Expr:
        output = block * conv.out_block + lane
        y = h * conv.strides[0] + row * conv.dilation[0] - conv.padding[0]
        x = w * conv.strides[1] + column * conv.dilation[1] - conv.padding[1]
        c = output // group_outputs * conv.group_channels + channel
        inside = tirx.all(output < conv.out_channels, y >= 0, y < height, x >= 0, x < width)
        read = data[n, c // conv.in_block, y, x, c % conv.in_block]
        weight = weights[output, channel, row, column]
        return te.sum(tirx.if_then_else(inside, read * weight, 0.0), [channel, row, column])

    blocks = -(-conv.out_channels // conv.out_block)
    shape = (conv.batch, blocks, *conv.out_size, conv.out_block)
    return te.compute(shape, pixel, name="conv2d", attrs=conv.annotation())


@dataclass(frozen=True)
class _Channels:
    """`count` runs of `lanes` input channels from `first` on, `stride` elements apart from run to run.

    In a run, neighbouring channels are `lane_stride` elements apart, and are taken `depth` at a time.
    """

    first: int
    count: int
    lanes: int
    stride: int
    lane_stride: int
    depth: int

    @property
    def steps(self) -> int:
        return self.lanes // self.depth


class _Direct:
    """Emits one convolution."""

    def __init__(self, fused: Fused, conv: Conv2d, isa: Isa) -> None:
        self.fused, self.conv, self.isa = fused, conv, isa
        self.lanes = conv.out_block
        pixels = conv.size[0] * conv.size[1]
        # a pointwise convolution is a matrix product: its rows of pixels are one long row
        self.size = (1, pixels) if conv.is_pointwise else conv.size
        self.out_size = (1, pixels) if conv.is_pointwise else conv.out_size
        self.runs = self._runs()
        # where taps share inputs, loading these once saves instructions; on x86 it only takes registers
        self.shares_taps = isa.by_element
        reduction = Reduction(
            conv.kernel[1] if self.shares_taps else 1, conv.strides[1], conv.dilation[1], self.runs[0].depth
        )
        blocks = -(-conv.out_channels // conv.groups // conv.out_block)
        row = (isa, self.out_size[1], blocks, reduction)
        self.sections = sections(*row, fused.tile)
        self.tiles = partial(candidates, *row)
        self.reduction = conv.group_channels * conv.kernel[0] * conv.kernel[1]

    def _runs(self) -> list[_Channels]:
        conv, channels, block = self.conv, self.conv.group_channels, self.conv.in_block
        area = conv.size[0] * conv.size[1]
        if block == 1:
            return [_Channels(0, 1, channels, 0, area, 1)]
        full, rest = divmod(channels, block)
        runs = []
        if full:
            runs.append(_Channels(0, full, block, area * block, 1, _depth(block)))
        if rest:
            runs.append(_Channels(full * block, 1, rest, area * block, 1, _depth(rest)))
        return runs

    # Weights

    def pack(self, weights: Array) -> Array:
        """(O, C / g, KH, KW) to [section][tile][reduction step][vector][lane], in the order of their use."""
        conv = self.conv
        channel, row, column = np.array(list(self._order()), np.int64).T
        ordered = weights[:, channel, row, column].reshape(conv.groups, -1, self.reduction)
        blocks = sum(section.count * section.vectors for section in self.sections)
        padded = np.zeros((conv.groups, blocks * self.lanes, self.reduction), weights.dtype)
        padded[:, : ordered.shape[1]] = ordered
        parts = []
        for group in padded:
            for section in self.sections:
                first, count = section.first, section.count * section.vectors
                tiles = group[first * self.lanes : (first + count) * self.lanes].reshape(
                    section.count, section.vectors * self.lanes, self.reduction
                )
                parts.append(tiles.transpose(0, 2, 1).ravel())
        return np.concatenate(parts)

    def _order(self) -> Iterator[tuple[int, int, int]]:
        """(channel, row, column) in the order in which `_reduce` takes them."""
        columns = range(self.conv.kernel[1])
        for row in range(self.conv.kernel[0]):
            for run in self.runs:
                for index in range(run.count):
                    first = run.first + index * run.lanes
                    steps = [range(first + s * run.depth, first + (s + 1) * run.depth) for s in range(run.steps)]
                    if self.shares_taps:
                        yield from ((c, row, column) for step in steps for column in columns for c in step)
                    else:
                        yield from ((c, row, column) for column in columns for step in steps for c in step)

    # Loops

    def emit(self) -> Scheduled:
        data, weights = self.fused.operands
        conv = self.conv
        blocks = sum(section.count * section.vectors for section in self.sections)
        packed = tirx.decl_buffer((conv.groups * blocks * self.lanes * self.reduction,), "float32", "packed")
        position = self.fused.replace(weights, packed)

        def body() -> None:
            self.data, self.weights = flat(data), packed
            with T.serial(conv.batch) as n, T.serial(conv.groups) as group:
                for section in self.sections:
                    with T.serial(section.count) as tile:
                        self._section(section, n, group, tile)

        return Scheduled(lambda: self.fused.emit(body), {position: self.pack}, self.tiles)

    def _section(self, section: OutputSection, n: Expr, group: Expr, tile: Expr) -> None:
        blocks = sum(s.count * s.vectors for s in self.sections)
        width = section.vectors * self.lanes
        packed = (group * blocks + section.first) * self.lanes * self.reduction + tile * width * self.reduction
        block = group * blocks + section.first + tile * section.vectors
        with T.serial(self.out_size[0]) as h:
            for span in cover(self.out_size[1], section.pixels, lambda w: self._is_inside(w, section.pixels)):
                for w in span.starts():
                    self._tile(section, span, n, group, block, h, w, packed)

    def _is_inside(self, w: int, pixels: int) -> bool:
        """Whether all taps of all pixels from output column `w` on are inside the input."""
        return all(self._inside(w + p, t) for p in range(pixels) for t in range(self.conv.kernel[1]))

    def _inside(self, w: int, tap: int) -> bool:
        x = w * self.conv.strides[1] + tap * self.conv.dilation[1] - self.conv.padding[1]
        return 0 <= x < self.size[1]

    def _tile(
        self, section: OutputSection, span: Span, n: Expr, group: Expr, block: Expr, h: Expr, w: Expr, packed: Expr
    ) -> None:
        conv = self.conv
        tile = Accumulators(section.pixels, section.vectors, self.lanes)
        tile.clear()
        row_stride = self.size[1] * conv.in_block
        image = -(-conv.channels // conv.in_block) * conv.size[0] * conv.size[1] * conv.in_block
        corner = n * image + group * conv.group_channels * conv.size[0] * conv.size[1]
        corner += (h * conv.strides[0] - conv.padding[0]) * row_stride
        corner += (w * conv.strides[1] - conv.padding[1]) * conv.in_block
        low, high = self._rows(h)
        row_weights = conv.group_channels * conv.kernel[1] * section.vectors * self.lanes
        with T.serial(low, high) as row:
            data = corner + row * conv.dilation[0] * row_stride
            self._reduce(tile, span, data, packed + row * row_weights)
        self._finish(tile, n, block, h, w)

    def _rows(self, h: Expr) -> tuple[Expr, Expr]:
        """The kernel rows that fall inside the input for output row `h`."""
        conv = self.conv
        top = conv.padding[0] - h * conv.strides[0]
        low: Expr = 0
        high: Expr = conv.kernel[0]
        if conv.padding[0]:
            low = T.max(0, tirx.floordiv(top + conv.dilation[0] - 1, conv.dilation[0]))
        reach = (self.out_size[0] - 1) * conv.strides[0] + (conv.kernel[0] - 1) * conv.dilation[0]
        if reach - conv.padding[0] >= self.size[0]:
            high = T.min(high, tirx.floordiv(top + self.size[0] - 1, conv.dilation[0]) + 1)
        return low, high

    def _reduce(self, tile: Accumulators, span: Span, data: Expr, packed: Expr) -> None:
        """Add one kernel row over all its columns and all channels to the tile."""
        columns = self.conv.kernel[1]
        width = tile.vectors * tile.lanes
        for run in self.runs:
            start = packed + run.first * columns * width
            with T.serial(run.count) as index:
                at = data + index * run.stride
                if run.first:
                    at += run.first // self.conv.in_block * run.stride
                here = start + index * run.lanes * columns * width
                if self.shares_taps:
                    with T.serial(run.steps) as step:
                        depth = step * run.depth
                        weights = here + depth * columns * width
                        self._step(tile, span, run, range(columns), at + depth * run.lane_stride, weights)
                elif span.count > 1 or self._is_inside(span.start, tile.pixels):
                    with T.serial(columns) as column, T.serial(run.steps) as step:
                        shift = column * self.conv.dilation[1] * self.conv.in_block
                        depth = step * run.depth
                        weights = here + (column * run.lanes + depth) * width
                        self._step(tile, None, run, range(1), at + shift + depth * run.lane_stride, weights)
                else:
                    for column in range(columns):
                        with T.serial(run.steps) as step:
                            depth = step * run.depth
                            weights = here + (column * run.lanes + depth) * width
                            one = range(column, column + 1)
                            self._step(tile, span, run, one, at + depth * run.lane_stride, weights)

    def _step(
        self, tile: Accumulators, span: Span | None, run: _Channels, columns: range, data: Expr, packed: Expr
    ) -> None:
        """Add `depth` channels of some columns; with a span, only where its taps are inside the input."""
        conv = self.conv
        taps: list[list[int | None]] = []
        for column in columns:
            for c in range(run.depth):
                row: list[int | None] = []
                for p in range(tile.pixels):
                    outside = span is not None and span.count == 1 and not self._inside(span.start + p, column)
                    x = p * conv.strides[1] + column * conv.dilation[1]
                    row.append(None if outside else x * conv.in_block + c * run.lane_stride)
                taps.append(row)
        places = [v * tile.lanes for v in range(tile.vectors)]
        weights = Weights(self.weights, packed, tile.vectors * tile.lanes, places)
        outer_product(self.isa, tile, Operand(self.data, data), taps, weights)

    def _finish(self, tile: Accumulators, n: Expr, block: Expr, h: Expr, w: Expr) -> None:
        width = self.conv.out_size[1]
        for v in range(tile.vectors):
            for p in range(tile.pixels):
                y, x = h, w + p
                if self.conv.is_pointwise:
                    y, x = tirx.floordiv(x, width), tirx.floormod(x, width)
                self.fused.store_vector(tile[p, v], (n, block + v, y, x, 0), self.lanes)


def _depth(lanes: int) -> int:
    """How many channels are taken at once: the code's size against the loop's cost."""
    return max(d for d in range(1, 5) if lanes % d == 0)


def schedule(fused: Fused, isa: Isa) -> Scheduled:
    """A kernel for a convolution."""
    conv = Conv2d(**fused.geometry)
    emitter = Winograd if winograd_wins(conv, isa) else _Direct
    return emitter(fused, conv, isa).emit()
