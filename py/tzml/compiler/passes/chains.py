"""Chains of layers that can be computed some rows at a time, and which rows of its input each of them needs.

A chain is made of stages: a convolution or pooling, and the element-wise operators behind it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tvm
from tvm import relax

from tzml.compiler.ir.operators import Kind, is_elementwise, operator
from tzml.compiler.ir.rewrite import Expr, dtype_of, ints, is_tensor, op_name, shape_of
from tzml.compiler.passes.find_integer_layers import IntegerLayers


@dataclass(frozen=True)
class Rows:
    """Rows `first` to `end` of a value, and how many of padding there are above and below them."""

    first: int
    end: int
    above: int = 0
    below: int = 0


@dataclass(frozen=True)
class Layer:
    """A call that computes rows of its result from rows of `data`; `axis` is theirs."""

    variable: Any
    call: Any
    data: Any
    axis: int

    def needs(self, rows: Rows) -> Rows:
        """The rows of the input of a convolution or pooling for some rows of its result."""
        attributes, count = self.call.attrs, shape_of(self.data)[self.axis]
        stride, dilation, above = (int(a[0]) for a in (attributes.strides, attributes.dilation, attributes.padding))
        if op_name(self.call) == "relax.nn.conv2d":
            kernel = shape_of(self.call.args[1])[str(attributes.kernel_layout).index("H")]
        else:
            kernel = int(attributes.pool_size[0])
        first = rows.first * stride - above
        end = (rows.end - 1) * stride - above + (kernel - 1) * dilation + 1
        return Rows(max(first, 0), min(end, count), max(-first, 0), max(end - count, 0))

    def on(self, data: Expr, rows: Rows, translate: Callable[[Expr], Expr]) -> Expr:
        """The same layer on some rows of its input; what else it takes is translated."""
        arguments = [data if a.same_as(self.data) else translate(a) for a in self.call.args]
        if not _is_window(self.call):
            return relax.Call(self.call.op, arguments, self.call.attrs, self.call.ty_args)
        a = self.call.attrs
        _, left, _, right = ints(a.padding)
        window = {
            "strides": ints(a.strides),
            "padding": (rows.above, left, rows.below, right),
            "dilation": ints(a.dilation),
        }
        if op_name(self.call) == "relax.nn.conv2d":
            return relax.op.nn.conv2d(
                *arguments, **window, groups=int(a.groups), data_layout=str(a.data_layout),
                kernel_layout=str(a.kernel_layout),
            )  # fmt: skip
        pool = relax.op.nn.max_pool2d if op_name(self.call) == "relax.nn.max_pool2d" else relax.op.nn.avg_pool2d
        counted = bool(a.count_include_pad)
        return pool(*arguments, ints(a.pool_size), **window, count_include_pad=counted, layout=str(a.layout))


@dataclass(frozen=True)
class Stage:
    """A convolution or pooling, and the element-wise operators behind it, which fuse with it.

    Before one that is computed in integers is the dequantization.
    """

    layers: tuple[Layer, ...]

    @property
    def data(self) -> Any:
        """The variable that the first layer reads."""
        return self.layers[0].data

    @property
    def window(self) -> Layer:
        """The convolution or pooling."""
        return next(layer for layer in self.layers if _is_window(layer.call))

    @property
    def rows(self) -> int:
        """Of the result."""
        return shape_of(self.window.call)[self.window.axis]

    @property
    def bytes(self) -> int:
        """Of the result."""
        return _bytes(self.layers[-1].call)

    @property
    def row_work(self) -> int:
        """Multiply-accumulates for a row of the result; pooling counts as one for each number."""
        numbers = math.prod(shape_of(self.window.call)) // self.rows
        if op_name(self.window.call) != "relax.nn.conv2d":
            return numbers
        weights = shape_of(self.window.call.args[1])
        return numbers * math.prod(weights) // weights[str(self.window.call.attrs.kernel_layout).index("O")]

    @property
    def input_rows(self) -> int:
        """Of the image that the convolution or pooling reads."""
        return shape_of(self.window.data)[self.window.axis]

    @property
    def input_bytes(self) -> int:
        """Of what the first layer reads."""
        return _bytes(self.data)


class Chains:
    """Finds stages that follow each other, where nothing else uses what is between them."""

    def __init__(self, main: Any, uses: Counter[Any]) -> None:
        self.main, self.uses = main, uses
        self.integer = IntegerLayers(main)
        self.chains: dict[Any, list[Stage]] = {}  # by the variable at the end

    def run(self) -> list[list[Stage]]:
        """All chains of the function, in the order of their ends."""
        for block in self.main.body.blocks:
            for binding in block.bindings:
                self.add(binding.var, binding.value)
        return list(self.chains.values())

    def add(self, variable: Any, call: Any) -> None:
        """Let a binding make a chain longer, or begin one, if it can."""
        data = next((a for a in getattr(call, "args", ()) if isinstance(a, relax.Var)), None)
        axis = self.rows_axis(call)
        if axis is not None:
            layers = [Layer(variable, call, data, axis)]
            if variable in self.integer.inside:
                dequantize = self.integer.calls[data]
                layers.insert(0, Layer(data, dequantize, dequantize.args[0], axis))
            before = self.before(*(layer.data for layer in layers))
            if before and before[-1].window.axis == axis:
                del self.chains[layers[0].data]
            else:
                before = []
            self.chains[variable] = [*before, Stage(tuple(layers))]
        elif (before := self.before(data)) and self.is_pointwise(call, data, before[-1].window.axis):
            *others, last = self.chains.pop(data)
            layer = Layer(variable, call, data, last.window.axis)
            self.chains[variable] = [*others, Stage((*last.layers, layer))]

    def before(self, value: Any, *derived: Any) -> list[Stage]:
        """The chain that ends at a value, if this has one use, and so has what is derived from it."""
        return self.chains.get(value, []) if all(self.uses[v] == 1 for v in (value, *derived)) else []

    def rows_axis(self, call: Any) -> int | None:
        """The axis of rows of a convolution or pooling that can be tiled; None for any other call."""
        if not _is_window(call) or not isinstance(call.args[0], relax.Var):
            return None
        conv = op_name(call) == "relax.nn.conv2d"
        layout = str(call.attrs.data_layout if conv else call.attrs.layout)
        plain = str(call.attrs.out_layout) in ("", layout) and layout in ("NCHW", "NHWC")
        known = self.is_known(call.args[1]) if conv else not call.attrs.ceil_mode
        return layout.index("H") if plain and known else None

    def is_pointwise(self, call: Any, data: Any, axis: int) -> bool:
        """Whether the call computes number by number from `data` alone, in the same way for each row."""
        row, rank = operator(call), len(shape_of(data))
        if not is_elementwise(call) or row is None or row.part_of_next or shape_of(call) != shape_of(data):
            return False
        others = [a for a in call.args if is_tensor(a) and not a.same_as(data)]
        return all(self.is_known(o) and _row_size(shape_of(o), rank, axis) == 1 for o in others)

    def is_known(self, expression: Expr) -> bool:
        """Whether it is a constant, or integers that stand for one."""
        return isinstance(expression, tvm.ir.GenericConst) or self.integer.is_constant(expression)


def _is_window(call: Any) -> bool:
    row = operator(call)
    return row is not None and row.kind is Kind.window


def _row_size(shape: tuple[int, ...], rank: int, axis: int) -> int:
    """The extent of a broadcast operand along the axis of rows."""
    return ((1,) * (rank - len(shape)) + shape)[axis]


def _bytes(expression: Expr) -> int:
    return math.prod(shape_of(expression)) * np.dtype(dtype_of(expression)).itemsize
