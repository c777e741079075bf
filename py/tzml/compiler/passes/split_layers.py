"""Layers whose weights are larger than the memory for them, as several layers with parts of the weights.

A convolution or a dense layer is parted along its outputs, and along the groups of its channels where it has
them. What follows number by number (a bias, an activation) is parted with it, so that it still fuses with the
layer, and the parts are concatenated where they meet an operator that wants them whole; arena.py then lets
each part write straight into its place. Parts have the same shape as far as they can, because layers of one
shape share a kernel. Layers of integers are split where their kernels are chosen: select_integer_kernels.py.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
from tvm import relax

from tzml.compiler.ir.limits import starts_of_parts
from tzml.compiler.ir.operators import is_elementwise, operator
from tzml.compiler.ir.rewrite import Expr, Rewriter, constant, dtype_of, ints, is_tensor, shape_of
from tzml.compiler.passes.find_integer_layers import IntegerLayers

GRAIN = 16
"""Parts are a multiple of so many channels: whole vectors for every kernel, and of float32 a multiple of the
alignment of a kernel's arguments, which is 64 bytes.
"""


def split_layers(module: Any, limit: int) -> Any:
    """The module, with no weights above `limit` bytes in a layer of real numbers, where that can be split."""
    return relax.transform.DeadCodeElimination(["main"])(_Split(module, limit).run())


@dataclass(frozen=True)
class _Parts:
    """A value in parts along one axis; `starts` are their first indices there, and the end of the last."""

    values: list[Expr]
    axis: int
    starts: list[int]

    def of(self, array: Any, rank: int) -> list[Any] | None:
        """A constant that is broadcast to the whole value, as each part needs it; None if it has too many axes."""
        if array.ndim > rank:
            return None
        axis = self.axis - (rank - array.ndim)
        if axis < 0 or array.shape[axis] == 1:
            return [array] * len(self.values)
        return [_cut(array, axis, *ends) for ends in pairwise(self.starts)]


class _Split(Rewriter):
    def __init__(self, module: Any, limit: int) -> None:
        super().__init__(module)
        self.limit = limit
        self.integer = IntegerLayers(module["main"])
        self.parts: dict[Any, _Parts] = {}  # by variables of the old function

    def translate(self, expression: Expr) -> Expr:
        if isinstance(expression, relax.Var) and expression not in self.values:
            parts = self.parts[expression]
            self.values[expression] = self.concat(parts.values, parts.axis)
        return super().translate(expression)

    def call(self, variable: Any, call: Any) -> Expr | None:
        parts = None if variable in self.integer.inside else self.split(call) or self.follow(call)
        if parts is None:
            return super().call(variable, call)
        self.parts[variable] = parts
        return None

    def known(self, expression: Expr) -> Any:
        """The numbers of a constant, or of integers that stand for them; None for anything else."""
        if isinstance(expression, relax.Var) and self.integer.is_constant(expression):
            real = self.integer.real_constant(expression)
            return None if real is None else real.astype(dtype_of(expression))
        return constant(expression)

    def split(self, call: Any) -> _Parts | None:
        """A convolution or dense layer with large weights, in parts."""
        row = operator(call)
        if row is None or row.weights is None:
            return None
        shape = shape_of(call.args[row.weights])
        if math.prod(shape) * np.dtype(dtype_of(call)).itemsize <= self.limit:
            return None
        weights = self.known(call.args[row.weights])
        if weights is None or weights.ndim < 2:
            return None
        if row.name == "relax.nn.conv2d":
            return self.split_convolution(call, weights)
        starts = starts_of_parts(shape[-1], weights.nbytes, self.limit, GRAIN)
        data = self.translate(call.args[0])
        values = [
            self.emit(
                relax.Call(call.op, [data, self.part(call.args[1], weights, -1, *ends)], call.attrs, call.ty_args)
            )
            for ends in pairwise(starts)
        ]
        return _Parts(values, len(shape_of(call)) - 1, starts) if len(values) > 1 else None

    def split_convolution(self, call: Any, weights: Any) -> _Parts | None:
        """Parts are some outputs of a group, or some groups; a part has the channels of its groups only."""
        a, groups = call.attrs, int(call.attrs.groups)
        layout = str(a.data_layout)
        if str(a.out_layout) not in ("", layout):
            return None
        along, axis = str(a.kernel_layout).index("O"), layout.index("C")
        outputs, size = weights.shape[along] // groups, weights.nbytes // groups  # of a group
        if groups > 1 and size <= self.limit:
            starts = [outputs * group for group in starts_of_parts(groups, weights.nbytes, self.limit, 1)]
        else:
            inside = starts_of_parts(outputs, size, self.limit, GRAIN)[:-1]
            starts = [outputs * group + start for group in range(groups) for start in inside] + [outputs * groups]
        if len(starts) == 2:
            return None
        data, values = self.translate(call.args[0]), []
        channels = shape_of(data)[axis] // groups
        for start, end in pairwise(starts):
            first, last = start // outputs, (end - 1) // outputs
            few = data
            if groups > 1:
                ends = [first * channels], [(last + 1) * channels]
                few = self.emit(relax.op.strided_slice(data, [axis], *ends))
            some = self.part(call.args[1], weights, along, start, end)
            part = relax.op.nn.conv2d(
                few, some, ints(a.strides), ints(a.padding), ints(a.dilation),
                groups=last + 1 - first, data_layout=layout, kernel_layout=str(a.kernel_layout),
            )  # fmt: skip
            values.append(self.emit(part))
        return _Parts(values, axis, starts)

    def part(self, source: Expr, array: Any, axis: int, start: int, end: int) -> Expr:
        """A part of what a constant, or integers that stand for one, hold."""
        return self.derived(("part", axis, start, end), [source], lambda: _cut(array, axis, start, end))

    def follow(self, call: Any) -> _Parts | None:
        """An element-wise operator on a value that is in parts and used nowhere else, in parts too."""
        variables = [a for a in call.args if isinstance(a, relax.Var)]
        source = next((a for a in variables if a in self.parts and self.uses[a] == 1), None)
        if source is None or source in self.values or shape_of(source) != shape_of(call):
            return None
        row = operator(call)
        if not is_elementwise(call) or row is None or row.part_of_next:
            return None
        parts = self.parts[source]
        operands = [parts.values if a.same_as(source) else self.cut(a, parts, call) for a in call.args]
        if any(operand is None for operand in operands):
            return None
        values = [
            self.emit(relax.Call(call.op, list(of_part), call.attrs, call.ty_args))
            for of_part in zip(*operands, strict=True)
        ]
        return _Parts(values, parts.axis, parts.starts)

    def cut(self, operand: Expr, parts: _Parts, call: Any) -> list[Expr] | None:
        """Another operand of an element-wise call, for each part; None if it is not known."""
        if not is_tensor(operand):
            return [operand] * len(parts.values)
        known = self.known(operand)
        arrays = None if known is None else parts.of(known, len(shape_of(call)))
        if arrays is None:
            return None
        return [
            self.derived(
                () if array is known else (len(shape_of(call)), parts.axis, *ends),
                [operand],
                partial(np.asarray, array),
            )
            for array, ends in zip(arrays, pairwise(parts.starts), strict=True)
        ]


def _cut(array: Any, axis: int, start: int, end: int) -> Any:
    return np.take(array, range(start, end), axis)
