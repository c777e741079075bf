"""Depthwise convolution and maximum pooling of int8 numbers: each channel by itself.

Data lies as [N][H][W][C]. Lines of the image are copied with what is outside it around them; a tile of
neighbouring positions times a vector of channels is computed at once. Two products of int8 fit into an
int16, if one of the numbers is at most -127; such pairs are added to int32.
"""

from __future__ import annotations

import itertools
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tvm import te, tirx

from tzml.compiler.codegen.kernels.cover import cover
from tzml.compiler.codegen.kernels.fused import Fused, annotate
from tzml.compiler.codegen.kernels.integer_gemm import signed
from tzml.compiler.codegen.kernels.isa import Isa
from tzml.compiler.codegen.kernels.patches import Patches
from tzml.compiler.codegen.kernels.scheduled import Packer, Scheduled
from tzml.compiler.codegen.kernels.tir import Buffer, Expr, T, Vector, dtype, flat, load
from tzml.compiler.codegen.kernels.window import Pair, Window

Array = NDArray[Any]

_STRIP = 32 << 10
"""Bytes of lines that are copied at once: they should stay in the innermost cache."""
_WIDTH = 4
"""Positions that are computed at once."""


@dataclass(frozen=True)
class IntegerWindow:
    """The geometry. `kind` is depthwise or max.

    `narrow` promises that no weight is -128. uint8 data counts from 128 in a depthwise convolution.
    """

    kind: str
    window: Window
    batch: int
    channels: int
    narrow: bool = True

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.batch, 1, *self.window.out_size, self.channels)


def define(data: Any, described: IntegerWindow, weights: Any = None, bias: Any = None, outside: Any = None) -> Any:
    """The operator in TE; `data` is (N, 1, H, W, C), `weights` are (KH, KW, C), `bias` is (C).

    `outside` (1) is what counts as the image's surroundings in a depthwise convolution: the zero point. It is there
    if the window is padded. Around an image that is pooled is the smallest number.
    """
    row = te.reduce_axis((0, described.window.kernel[0]), "row")
    column = te.reduce_axis((0, described.window.kernel[1]), "column")
    attributes = annotate("integer_window", **asdict(described))

    def value(index: tuple[Expr, ...], kind: str) -> Expr:
        n, _, h, w, c = index
        y, x = described.window.rows.position(h, row), described.window.columns.position(w, column)
        inside = tirx.all(y >= 0, y < described.window.size[0], x >= 0, x < described.window.size[1])
        number = data(n, 0, y, x, c)
        number = signed(number) if kind == "int32" else number
        if described.kind == "max":
            return tirx.if_then_else(inside, number, tirx.const(-128, kind))
        return number if outside is None else tirx.if_then_else(inside, number, outside(0).astype(kind))

    if described.kind == "max":
        return te.compute(
            described.shape, lambda *i: te.max(value(i, "int8"), [row, column]), name="max_pool", attrs=attributes
        )
    total = te.compute(
        described.shape,
        lambda *i: te.sum(weights(row, column, i[-1]).astype("int32") * value(i, "int32"), [row, column]),
        name="integer_depthwise",
    )
    return te.compute(described.shape, lambda *i: total(*i) + bias(i[-1]), name="biased", attrs=attributes)


class _Emitter:
    """Emits one operator."""

    def __init__(self, fused: Fused, isa: Isa) -> None:
        self.fused = fused
        self.described = described = IntegerWindow(**fused.geometry_with(window=Window))
        self.window = window = described.window
        self.lanes = min(8 if isa.by_element else 2 * isa.lanes, 1 << (described.channels.bit_length() - 1))
        self.weights, self.bias, self.outside = None, None, None
        if described.kind == "max":
            (self.data,) = fused.operands
        else:
            self.weights, self.data, *outside, self.bias = fused.operands
            self.outside = outside[0] if outside else None
        padded = [axis.padded_outputs() for axis in (window.rows, window.columns)]
        self.lines = window.rows.out_size
        self.patches: Patches | None = None
        self.width = described.window.size[1]
        if any(padded) or dtype(self.data) != "int8":
            columns = window.columns
            self.width = (columns.out_size - 1) * columns.stride + (columns.taps - 1) * columns.dilation + 1
            divisors = [n for n in range(1, self.lines + 1) if self.lines % n == 0]
            self.lines = max(n for n in divisors if n == 1 or self._copied(n) * self._line <= _STRIP)
            strips = Window(
                described.window.size,
                (described.window.out_size[0] // self.lines, 1),
                (self._copied(self.lines), self.width),
                (described.window.strides[0] * self.lines, 1),
                (1, 1),
                described.window.before,
            )
            length = self._copied(self.lines) * self._line
            self.patches = Patches(strips, described.channels, length, 1)

    @property
    def _line(self) -> int:
        """Bytes of a line of what is read."""
        return self.width * self.described.channels

    def _copied(self, lines: int) -> int:
        """How many lines of the image so many lines of output read."""
        rows = self.window.rows
        return (lines - 1) * rows.stride + (rows.taps - 1) * rows.dilation + 1

    def emit(self) -> Scheduled:
        packers: dict[int, Packer] = {}
        if self.weights is not None:
            weights = self.weights
            size = self.described.window.kernel[0] * self.described.window.kernel[1] * self.described.channels
            self.weights = tirx.decl_buffer((size,), "int8", "packed")
            packers[self.fused.replace(weights, self.weights)] = np.ravel

        def body() -> None:
            data = flat(self.data)
            strips = self.described.window.out_size[0] // self.lines
            if self.patches is None:
                with T.serial(self.described.batch) as n:
                    self._strip(data, n * (self.described.window.size[0] * self._line), n, 0)
                return
            patches = T.alloc_buffer((self.patches.length,), "int8")
            with T.serial(self.described.batch) as n, T.serial(strips) as strip:
                self.patches.emit(data, patches, n * strips + strip, self.outside)
                self._strip(patches, 0, n, strip * self.lines)

        return Scheduled(lambda: self.fused.emit(body), packers)

    def _strip(self, data: Buffer, start: Expr, n: Expr, first: Expr) -> None:
        """`lines` lines of output from line `first` on; `data` has at `start` the first one that they read."""
        channels, columns = self.described.channels, self.window.columns
        size = min(_WIDTH, columns.out_size)
        with T.serial(self.lines) as line:
            at = start + line * (self.window.rows.stride * self._line)
            for vectors in cover(channels, self.lanes):
                for channel in vectors.starts():
                    for span in cover(columns.out_size, size):
                        for w in span.starts():
                            corner = at + w * (columns.stride * channels) + channel
                            for i, result in enumerate(self._tile(data, corner, channel, size)):
                                self.fused.store_vector(result, (n, 0, first + line, w + i, channel), self.lanes)

    def _tile(self, data: Buffer, corner: Expr, channel: Expr, size: int) -> list[Vector]:
        """`size` neighbouring positions, of which the first reads from `corner` on."""
        known: dict[int, Expr] = {}

        def value(position: int, tap: Pair) -> Expr:
            x = position * self.window.columns.stride + tap[1] * self.window.columns.dilation
            offset = tap[0] * self.window.rows.dilation * self._line + x * self.described.channels
            if offset not in known:
                known[offset] = T.Bind(load(data, corner + offset, self.lanes))
            return known[offset]

        taps = list(self.window.taps())
        if self.weights is None:
            return self._largest([[value(i, tap) for tap in taps] for i in range(size)])
        results = []
        for _ in range(size):
            results.append(Vector(self.lanes, "int32"))
            results[-1].set(load(self.bias, channel, self.lanes))
        count = 2 if self.described.narrow else 1
        numbered = list(enumerate(taps))
        for first in range(0, len(taps), count):
            group = numbered[first : first + count]
            weights = [
                T.Bind(load(self.weights, channel + number * self.described.channels, self.lanes))
                for number, _ in group
            ]
            for i, result in enumerate(results):
                products = [
                    self._widen(value(i, tap), "int16") * self._widen(weight, "int16")
                    for (_, tap), weight in zip(group, weights, strict=True)
                ]
                total = list(itertools.accumulate(products))[-1]
                result.set(result.get() + self._widen(T.Bind(total), "int32"))
        return results

    def _largest(self, values: list[list[Expr]]) -> list[Vector]:
        results = []
        for group in values:
            results.append(Vector(self.lanes, "int8"))
            results[-1].set(list(itertools.accumulate(group, T.max))[-1])
        return results

    def _widen(self, value: Expr, kind: str) -> Expr:
        return tirx.Cast(f"{kind}x{self.lanes}" if self.lanes > 1 else kind, value)


def schedule(fused: Fused, isa: Isa) -> Scheduled:
    """A kernel for a depthwise convolution or a pooling of integers."""
    return _Emitter(fused, isa).emit()
