"""What the windows of a convolution of int8 numbers read, copied into one row each ("im2col")."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tvm import tirx

from tzml.compiler.codegen.kernels.cover import cover
from tzml.compiler.codegen.kernels.tir import Buffer, Expr, T, dtype, load, splat, store
from tzml.compiler.codegen.kernels.window import Window

_WIDEST = 16
"""Bytes that are copied at once."""


@dataclass
class Patches:
    """Rows of `length` bytes, for `lines` lines of output positions at a time.

    A patch is [KH][KW][C], and then what happens to be there.
    """

    window: Window
    channels: int
    length: int
    lines: int

    def emit(self, data: Buffer, patches: Buffer, strip: Expr, outside: Buffer | None) -> None:
        """Fill `patches` from `data`, [N][H][W][C] without dimensions; uint8 becomes int8.

        `outside` has what the image has around it; without it, that is the smallest number.
        """
        lowest = tirx.IntImm("int8", -128)
        self.outside = lowest if outside is None else T.Bind(load(outside, 0, 1))
        rows = self.window.rows
        per_image = rows.out_size // self.lines
        image = tirx.floordiv(strip, per_image) * rows.size if not isinstance(strip, int) else 0
        with T.serial(self.lines) as line, T.serial(rows.taps) as tap:
            h = tirx.floormod(strip, per_image) * self.lines + line
            y = h * rows.stride + tap * rows.dilation - rows.before
            target = line * (self.window.columns.out_size * self.length) + tap * self._run
            if rows.padded_outputs():
                with T.If(tirx.all(y >= 0, y < rows.size)):
                    with T.Then():
                        self._line(data, patches, (image + y) * self.window.columns.size, target)
                    with T.Else(), T.serial(self.window.columns.out_size) as w:
                        self._fill(patches, target + w * self.length, self._run)
            else:
                self._line(data, patches, (image + y) * self.window.columns.size, target)

    @property
    def _run(self) -> int:
        """Bytes of a patch that come from one line of the image."""
        return self.window.columns.taps * self.channels

    def _line(self, data: Buffer, patches: Buffer, start: Expr, target: Expr) -> None:
        """One line of the image, which begins at pixel `start`, to the patches that need it."""
        axis, c = self.window.columns, self.channels
        for span in cover(axis.out_size, 1, lambda w: axis.is_inside(w, 1)):
            for w in span.starts():
                to = target + w * self.length
                x = w * axis.stride - axis.before
                inside = [tap for tap in range(axis.taps) if not isinstance(w, int) or axis.inside(w, tap)]
                for tap in set(range(axis.taps)).difference(inside):
                    self._fill(patches, to + tap * c, c)
                if axis.dilation == 1 and inside:  # neighbours in the image
                    first = inside[0]
                    _copy(data, (start + x + first) * c, patches, to + first * c, len(inside) * c)
                else:
                    for tap in inside:
                        _copy(data, (start + x + tap * axis.dilation) * c, patches, to + tap * c, c)

    def _fill(self, patches: Buffer, to: Expr, count: int) -> None:
        _in_vectors(count, lambda at, lanes: store(patches, to + at, splat(self.outside, lanes), lanes))


def _copy(data: Buffer, start: Expr, patches: Buffer, to: Expr, count: int) -> None:
    def move(at: Expr, lanes: int) -> None:
        value = load(data, start + at, lanes)
        if dtype(data) == "uint8":
            value = tirx.Cast(
                f"int8x{lanes}" if lanes > 1 else "int8", value ^ splat(tirx.IntImm("uint8", 128), lanes)
            )
        store(patches, to + at, value, lanes)

    _in_vectors(count, move)


def _in_vectors(count: int, emit: Any) -> None:
    """`emit(at, lanes)` for vectors that cover `count` bytes; the last two may overlap."""
    lanes = min(_WIDEST, 1 << (count.bit_length() - 1))
    whole = count // lanes
    if whole > 4:
        with T.serial(whole) as index:
            emit(index * lanes, lanes)
    else:
        for index in range(whole):
            emit(index * lanes, lanes)
    if count % lanes:
        emit(count - lanes, lanes)
