"""Convolution and dense layers of int8 numbers: a matrix product of patches and weights.

Data lies as [N][H][W][C]. What an output position reads is copied into a row, a "patch"; where it lies in
one piece already, as for a dense layer, it is read there. A tile of some patches times some output
channels stays in registers over the whole reduction. What is outside the image is the zero point, so that
the zero point's share is the same for every position: the caller has subtracted it in the bias.
"""

from __future__ import annotations

import itertools
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tvm import te, tirx

from tzml.compiler.codegen.kernels import dot
from tzml.compiler.codegen.kernels.cover import cover
from tzml.compiler.codegen.kernels.fused import Fused, annotate
from tzml.compiler.codegen.kernels.isa import IN_ORDER, Isa
from tzml.compiler.codegen.kernels.patches import Patches
from tzml.compiler.codegen.kernels.scheduled import Scheduled
from tzml.compiler.codegen.kernels.tir import Expr, T, Vector, dtype, flat, load, unravel
from tzml.compiler.codegen.kernels.window import Window

Array = NDArray[Any]

_STRIP = 64 << 10
"""Bytes of patches that are made at once: they should stay in a cache."""
_LOOP = 3
"""Instructions around the body of the innermost loop, estimated."""


@dataclass(frozen=True)
class IntegerGemm:
    """The geometry. `shape` is the result's, whose last dimension is the output channels.

    A dense layer has a window of one position. `narrow` promises that no weight is -128. uint8 data counts from
    128.
    """

    shape: tuple[int, ...]
    window: Window
    batch: int
    channels: int
    narrow: bool

    @property
    def depth(self) -> int:
        """Numbers that a result depends on."""
        return self.window.kernel[0] * self.window.kernel[1] * self.channels

    @property
    def is_pointwise(self) -> bool:
        """Whether patches are side by side in the data."""
        window = self.window
        slides = (window.kernel, window.strides, window.before, window.size)
        return slides == ((1, 1), (1, 1), (0, 0), window.out_size)


def define(data: Any, gemm: IntegerGemm, weights: Any, bias: Any, outside: Any = None) -> Any:
    """The operator in TE: int32 of shape `gemm.shape`.

    `data` is (N, 1, H, W, C) for a convolution, and otherwise as the result, but for the last dimension.
    `weights` are (O, KH, KW, C), `bias` (O); `outside` (1), the zero point of data that count as int8 do, is there
    if the window is padded.
    """
    channel = te.reduce_axis((0, gemm.channels), "channel")
    row = te.reduce_axis((0, gemm.window.kernel[0]), "row")
    column = te.reduce_axis((0, gemm.window.kernel[1]), "column")

    def value(index: tuple[Expr, ...]) -> Expr:
        if len(gemm.shape) != 5:
            return signed(data(*index, channel))
        n, _, h, w = index
        y, x = gemm.window.rows.position(h, row), gemm.window.columns.position(w, column)
        inside = tirx.all(y >= 0, y < gemm.window.size[0], x >= 0, x < gemm.window.size[1])
        number = signed(data(n, 0, y, x, channel))
        return number if outside is None else tirx.if_then_else(inside, number, outside(0).astype("int32"))

    def element(*index: Expr) -> Expr:
        weight = weights(index[-1], row, column, channel).astype("int32")
        return te.sum(weight * value(index[:-1]), [channel, row, column])

    total = te.compute(gemm.shape, element, name="integer_gemm")
    attributes = annotate("integer_gemm", **asdict(gemm))
    return te.compute(gemm.shape, lambda *i: total(*i) + bias(i[-1]), name="biased", attrs=attributes)


def signed(value: Expr) -> Expr:
    """A number of an int8 or uint8 tensor as int32, counted as int8 is."""
    number = value.astype("int32")
    return number - 128 if str(value.ty.dtype) == "uint8" else number


@dataclass(frozen=True)
class _Tile:
    """So many rows (patches) times so many output channels, in registers; `cost` is for one row of the data."""

    rows: int
    outputs: int
    cost: float


def _choose_tile(isa: Isa, gemm: IntegerGemm, rows: int) -> _Tile:
    """The tile with the fewest instructions, where so many rows are computed at once."""
    outputs, steps = gemm.shape[-1], -(-gemm.depth // dot.depth(isa))
    found = []
    for wide, high in itertools.product((4, 8), range(1, min(rows, 8) + 1)):
        # on AArch64, LLVM has as many products under way as a side of the tile is long
        under_way = max(high, wide) if isa.by_element else 2
        if high * wide + high + wide + under_way > isa.registers and (high, wide) != (1, 4):
            continue
        loads = (high + wide) / (2 if isa.by_element else 1)
        step = high * wide * dot.instructions(isa) + loads + _LOOP
        # adding up the lanes of every sum; and for each row the place where its results go, and their epilogue
        finish = 2 * high * wide + high * (8 + 2 * wide)
        cost = -(-rows // high) * -(-outputs // wide) * (steps * step + finish) / rows
        found.append(_Tile(high, wide, cost))
    return min(found, key=lambda tile: (tile.cost, tile.rows))


class _Emitter:
    """Emits one product."""

    def __init__(self, fused: Fused, isa: Isa) -> None:
        self.fused, self.isa = fused, isa
        self.gemm = gemm = IntegerGemm(**fused.geometry_with(window=Window))
        self.weights, self.data, *outside, self.bias = fused.operands
        self.outside = outside[0] if outside else None
        self.step = dot.depth(isa)
        self.steps = -(-gemm.depth // self.step)
        height, width = gemm.window.out_size
        is_signed = dtype(self.data) == "int8"
        if gemm.is_pointwise and is_signed and gemm.depth % self.step == 0:
            self.patches = None
            self.strips, self.rows = 1, gemm.batch * height * width
        else:
            divisors = [n for n in range(1, height + 1) if height % n == 0]
            lines = min(
                (n for n in divisors if n == 1 or n * width * self.steps * self.step <= _STRIP),
                key=lambda n: (_choose_tile(isa, gemm, n * width).cost, n),
            )
            self.patches = Patches(gemm.window, gemm.channels, self.steps * self.step, lines)
            self.strips, self.rows = gemm.batch * height // lines, lines * width
        self.tile = _choose_tile(isa, gemm, self.rows)
        self.blocks = -(-gemm.shape[-1] // self.tile.outputs)

    def pack(self, weights: Array) -> Array:
        """(O, KH, KW, C) to [tile][step][output][number of the step]; what is beyond the ends is zero."""
        padded = np.zeros((self.blocks * self.tile.outputs, self.steps * self.step), weights.dtype)
        padded[: len(weights), : self.gemm.depth] = weights.reshape(len(weights), -1)
        tiles = padded.reshape(self.blocks, self.tile.outputs, self.steps, self.step)
        return np.ascontiguousarray(tiles.transpose(0, 2, 1, 3)).ravel()

    def pack_bias(self, bias: Array) -> Array:
        return np.pad(bias, (0, self.blocks * self.tile.outputs - len(bias)))

    def emit(self) -> Scheduled:
        outputs = self.blocks * self.tile.outputs
        weights = tirx.decl_buffer((outputs * self.steps * self.step,), "int8", "packed")
        bias = tirx.decl_buffer((outputs,), "int32", "bias")
        data = self.data
        packers = {
            self.fused.replace(self.weights, weights): self.pack,
            self.fused.replace(self.bias, bias): self.pack_bias,
        }

        def body() -> None:
            self.weights, self.bias = weights, bias
            if self.patches is None:
                self._product(flat(data), 0)
                return
            patches = T.alloc_buffer((self.rows * self.steps * self.step,), "int8")
            with T.serial(self.strips) as strip:
                self.patches.emit(flat(data), patches, strip, self.outside)
                self._product(patches, strip * self.rows)

        ordering = IN_ORDER if self.isa.by_element else {}
        return Scheduled(lambda: self.fused.emit(body), packers, ordering=ordering)

    def _product(self, data: Any, first: Expr) -> None:
        """All outputs of the patches in `data`, of which the first is that of position `first`."""
        outputs, width = self.gemm.shape[-1], self.tile.outputs
        whole = outputs // width
        if whole:
            with T.serial(whole) as block:
                self._rows(data, first, block, width)
        if outputs % width:
            self._rows(data, first, whole, outputs % width)

    def _rows(self, data: Any, first: Expr, block: Expr, lanes: int) -> None:
        for span in cover(self.rows, self.tile.rows):
            for row in span.starts():
                self._tile(data, first, row, block, lanes)

    def _tile(self, data: Any, first: Expr, row: Expr, block: Expr, lanes: int) -> None:
        rows, outputs, length = self.tile.rows, self.tile.outputs, self.steps * self.step
        sums = [[dot.partial_sums(self.isa) for _ in range(outputs)] for _ in range(rows)]
        with T.serial(self.steps) as step:
            left = [dot.operand(self.isa, data, (row + r) * length + step * self.step) for r in range(rows)]
            at = (block * self.steps + step) * (outputs * self.step)
            for output in range(outputs):
                right = dot.operand(self.isa, self.weights, at + output * self.step)
                for r in range(rows):
                    dot.accumulate(self.isa, sums[r][output], left[r], right, self.gemm.narrow)
        for r in range(rows):
            result = Vector(outputs, "int32")
            result.set(dot.totals(sums[r]) + load(self.bias, block * outputs, outputs))
            place = unravel(first + row + r, self.gemm.shape[:-1])
            self.fused.store_vector(result, (*place, block * outputs), lanes)


def schedule(fused: Fused, isa: Isa) -> Scheduled:
    """A kernel for a convolution or dense layer of integers."""
    return _Emitter(fused, isa).emit()
