"""Matrix products: dense layers, whose weights are packed while the model is compiled, and products of two tensors.

A tile of some rows times some vectors of columns stays in registers over the whole reduction.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tvm import te, tirx

from tzml.compiler.codegen.kernels.cover import cover
from tzml.compiler.codegen.kernels.fused import Fused, annotate
from tzml.compiler.codegen.kernels.gemm import Accumulators, Operand, Weights, outer_product
from tzml.compiler.codegen.kernels.isa import Isa
from tzml.compiler.codegen.kernels.scheduled import Packer, Scheduled
from tzml.compiler.codegen.kernels.tiles import OutputSection, Reduction, candidates, sections
from tzml.compiler.codegen.kernels.tir import Expr, T, flat, unravel

Array = NDArray[Any]

_DEPTH = 4
"""How many reduction indices are taken at once."""


@dataclass(frozen=True)
class Matmul:
    """`batch` products of (rows, depth) and (depth, columns).

    The result has the shape `shape`, whose last dimension is the columns. With `is_packed` there is one
    right operand for all, a constant.
    """

    shape: tuple[int, ...]
    batch: int
    rows: int
    depth: int
    columns: int
    is_packed: bool


def describe(left: Sequence[int], right: Sequence[int], is_constant: bool, lanes: int) -> Matmul | None:
    """The product of tensors of these shapes; None if there is no kernel for it."""
    if len(left) < 2 or len(right) < 2:
        return None
    depth, columns = right[-2:]
    shape = (*left[:-1], columns)
    if len(right) == 2 and is_constant:
        return Matmul(shape, 1, math.prod(left[:-1]), depth, columns, True)
    if tuple(left[:-2]) == tuple(right[:-2]) and columns >= lanes:
        return Matmul(shape, math.prod(left[:-2]), left[-2], depth, columns, False)
    return None


def define(left: Any, right: Any, product: Matmul) -> Any:
    """The operator in TE."""
    k = te.reduce_axis((0, product.depth), "k")

    def element(*index: Expr) -> Expr:
        place = (k, index[-1]) if product.is_packed else (*index[:-2], k, index[-1])
        return te.sum(left[(*index[:-1], k)] * right[place], [k])

    return te.compute(product.shape, element, name="matmul", attrs=annotate("matmul", **asdict(product)))


class _Emitter:
    """Emits one product."""

    def __init__(self, fused: Fused, isa: Isa) -> None:
        self.product = product = Matmul(**fused.geometry)
        self.fused, self.isa, self.lanes = fused, isa, isa.lanes
        reduction = Reduction(depth=min(_DEPTH, product.depth))
        vectors = -(-product.columns // isa.lanes)
        row = (isa, product.rows, vectors, reduction)
        self.sections = sections(*row, fused.tile)
        self.tiles = partial(candidates, *row)

    def pack(self, weights: Array) -> Array:
        """(K, N) to [section][tile][K][vector][lane]; the last columns are zeros."""
        blocks = sum(section.count * section.vectors for section in self.sections)
        padded = np.zeros((self.product.depth, blocks * self.lanes), weights.dtype)
        padded[:, : self.product.columns] = weights
        parts = []
        for section in self.sections:
            width = section.vectors * self.lanes
            first = section.first * self.lanes
            columns = padded[:, first : first + section.count * width].reshape(-1, section.count, width)
            parts.append(columns.transpose(1, 0, 2).ravel())
        return np.concatenate(parts)

    def emit(self) -> Scheduled:
        left, right = self.fused.operands
        packers: dict[int, Packer] = {}
        if self.product.is_packed:
            blocks = sum(section.count * section.vectors for section in self.sections)
            size = blocks * self.lanes * self.product.depth
            packed = tirx.decl_buffer((size,), "float32", "packed")
            packers[self.fused.replace(right, packed)] = self.pack

        def body() -> None:
            self.left, self.right = flat(left), packed if self.product.is_packed else flat(right)
            with T.serial(self.product.batch) as n:
                for section in self.sections:
                    self._section(section, n)

        return Scheduled(lambda: self.fused.emit(body), packers, self.tiles)

    def _section(self, section: OutputSection, n: Expr) -> None:
        """The last tile of columns may end beyond the matrix, and has code of its own if it does."""
        count, width = section.count, section.vectors * self.lanes
        begin = section.first * self.lanes
        whole = count if begin + count * width <= self.product.columns else count - 1
        if whole:
            with T.serial(whole) as tile:
                self._rows(section, n, tile, begin + tile * width, width)
        if whole < count:
            column = begin + whole * width
            self._rows(section, n, whole, column, self.product.columns - column)

    def _rows(self, section: OutputSection, n: Expr, tile: Expr, column: Expr, width: int) -> None:
        for span in cover(self.product.rows, section.pixels):
            for row in span.starts():
                self._tile(section, n, row, tile, column, width)

    def _tile(self, section: OutputSection, n: Expr, row: Expr, tile: Expr, column: Expr, width: int) -> None:
        """`width` columns from `column` on of some rows from `row` on."""
        product = self.product
        accumulators = Accumulators(section.pixels, -(-width // self.lanes), self.lanes)
        accumulators.clear()
        data = (n * product.rows + row) * product.depth
        starts = [min(v * self.lanes, width - self.lanes) for v in range(accumulators.vectors)]
        if product.is_packed:
            step = section.vectors * self.lanes
            first = (section.first * self.lanes + tile * step) * product.depth
            places = [v * self.lanes for v in range(accumulators.vectors)]
        else:
            step, places = product.columns, starts
            first = n * (product.depth * product.columns) + column
        steps, rest = divmod(product.depth, _DEPTH)
        if steps:
            with T.serial(steps) as index:
                k = index * _DEPTH
                self._step(accumulators, _DEPTH, data + k, Weights(self.right, first + k * step, step, places))
        if rest:
            k = steps * _DEPTH
            self._step(accumulators, rest, data + k, Weights(self.right, first + k * step, step, places))
        for p in range(section.pixels):
            leading = unravel(n * product.rows + (row + p), product.shape[:-1])
            for v in range(accumulators.vectors):
                # of a packed operand, the last vector's end is padding; of another, its start was computed before
                at = v * self.lanes if product.is_packed else starts[v]
                lanes = min(self.lanes, width - at)
                self.fused.store_vector(accumulators[p, v], (*leading, column + at), lanes)

    def _step(self, tile: Accumulators, depth: int, data: Expr, weights: Weights) -> None:
        taps = [[p * self.product.depth + k for p in range(tile.pixels)] for k in range(depth)]
        outer_product(self.isa, tile, Operand(self.left, data), taps, weights)


def schedule(fused: Fused, isa: Isa) -> Scheduled:
    """A kernel for a matrix product."""
    return _Emitter(fused, isa).emit()
