"""Layers whose weights are larger than the memory for them, as several layers with parts of the weights.

A convolution or a dense layer is parted along its outputs. What follows number by number (a bias, an
activation) is parted with it, so that it still fuses with the layer, and the parts are concatenated
where they meet an operator that wants them whole; memory.py then lets each part write straight into its
place. Parts have the same shape as far as they can, because layers of one shape share a kernel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import tvm
from tvm import relax

from tzml.compiler.rewrite import Expr, Rewriter, const, constant, dtype_of, op_name, shape_of

# Parts are a multiple of so many channels: whole vectors for every kernel, and with float32 and more
# than 0 pixels a multiple of the alignment of a kernel's arguments.
GRAIN = 16

UNARY = {"abs", "clip", "erf", "exp", "negative", "nn.gelu", "nn.leakyrelu", "nn.relu", "nn.silu",
          "sigmoid", "sqrt", "tanh"}  # fmt: skip
BINARY = {"add", "divide", "maximum", "minimum", "multiply", "subtract"}


def split_layers(module: Any, limit: int) -> Any:
    """The module, with no weights above `limit` bytes where they can be split."""
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
        self.parts: dict[Any, _Parts] = {}  # by variables of the old function

    def translate(self, expression: Expr) -> Expr:
        if isinstance(expression, relax.Var) and expression not in self.values:
            parts = self.parts[expression]
            joined = relax.op.concat([self.emit(value) for value in parts.values], parts.axis)
            self.values[expression] = self.emit(joined)
        return super().translate(expression)

    def call(self, variable: Any, call: Any) -> Expr | None:
        parts = self.split(call) or self.follow(call)
        if parts is None:
            return super().call(variable, call)
        self.parts[variable] = parts
        return None

    def split(self, call: Any) -> _Parts | None:
        """A convolution or dense layer with large weights, in parts."""
        name = op_name(call)
        weights = constant(call.args[1]) if name in ("relax.nn.conv2d", "relax.matmul") else None
        if weights is None or weights.nbytes <= self.limit:
            return None
        if name == "relax.matmul":
            weights_axis, axis = weights.ndim - 1, len(shape_of(call)) - 1
            if weights.ndim < 2:
                return None
        else:
            weights_axis = str(call.attrs.kernel_layout).index("O")
            axis = str(call.attrs.out_layout or call.attrs.data_layout).index("C")
            if int(call.attrs.groups) != 1:
                return None
        starts = _starts(weights.shape[weights_axis], weights.nbytes, self.limit)
        data = self.translate(call.args[0])
        values = [
            self.emit(relax.Call(call.op, [data, const(part)], call.attrs, call.ty_args))
            for part in (_cut(weights, weights_axis, *ends) for ends in pairwise(starts))
        ]
        return _Parts(values, axis, starts) if len(values) > 1 else None

    def follow(self, call: Any) -> _Parts | None:
        """An operator of single numbers on a value that is in parts and used nowhere else, in parts too."""
        name = op_name(call).removeprefix("relax.")
        arguments = [a for a in call.args if isinstance(a, relax.Var | tvm.ir.GenericConst)]
        source = next((a for a in arguments if a in self.parts and self.uses[a] == 1), None)
        if source is None or source in self.values or shape_of(source) != shape_of(call):
            return None
        parts = self.parts[source]
        if name in UNARY:
            operands = [[value, *call.args[1:]] for value in parts.values]
        elif name in BINARY and constant(other := call.args[1 - list(call.args).index(source)]) is not None:
            cut = parts.of(constant(other), len(shape_of(call)))
            if cut is None or dtype_of(other) != dtype_of(source):
                return None
            pairs = zip(parts.values, map(const, cut), strict=True)
            operands = [[a, b] if call.args[0].same_as(source) else [b, a] for a, b in pairs]
        else:
            return None
        values = [self.emit(relax.Call(call.op, o, call.attrs, call.ty_args)) for o in operands]
        return _Parts(values, parts.axis, parts.starts)


def _cut(array: Any, axis: int, start: int, end: int) -> Any:
    return np.take(array, range(start, end), axis)


def _starts(count: int, size: int, limit: int) -> list[int]:
    """Where `count` outputs whose weights take `size` bytes are cut, so that each part takes at most `limit`."""
    most = limit * count // size // GRAIN * GRAIN or GRAIN  # outputs a part
    parts = math.ceil(count / most)
    each = math.ceil(count / parts / GRAIN) * GRAIN
    return [*range(0, count, each), count]
