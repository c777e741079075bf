"""Which layers of a quantized model are computed in integers.

Frontends give every quantized layer as dequantize, operator, quantize: real numbers, from and to
integers. Found here are convolutions and dense layers with all that can be part of the integer
computation: the scales and zero points, constant weights, the bias, and an activation that is a limit.
Operators that only move or compare numbers need no dequantization at all. Jacob et al., "Quantization and
Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference", 2018.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tvm import relax

from tzml.compiler.ir.limits import starts_of_parts
from tzml.compiler.ir.operators import Kind, operator
from tzml.compiler.ir.rewrite import Expr, constant, dtype_of, free_variables, op_name, shape_of
from tzml.compiler.passes.fold_constants import compute

Array = NDArray[Any]

DTYPES = ("int8", "uint8")
_GRAINS = (64, 16)
"""Parts of a layer are a multiple of so many outputs; 64 of int8 have the alignment of a kernel's arguments."""
_LARGEST_BIAS = 1 << 30
"""In units of the sum of products."""
_LONGEST = 1 << 16
"""Products that are summed at most: an int32 holds twice as many."""


@dataclass(frozen=True)
class Steps:
    """What integers stand for: (integer - zero) · scale."""

    scale: float
    zero: int
    dtype: str

    @property
    def limits(self) -> tuple[int, int]:
        """The smallest and the largest integer."""
        about = np.iinfo(self.dtype)
        return int(about.min), int(about.max)


@dataclass(frozen=True)
class IntegerLayer:
    """A convolution or a matrix product, `call`, of the integers `data` that count `given`.

    `weights` are int8 as (O, I, KH, KW), or (O, K) for a product; `scale` (O) is what one unit of the sum
    of products is in steps of the result, `bias` (O) counts such units. `low` and `high` limit the result.
    `origin` is what all these numbers come from, objects of TVM, and `part` the outputs of it that these are.
    """

    call: Any
    data: Expr
    given: Steps
    weights: Array
    bias: Array
    scale: Array
    result: Steps
    low: int
    high: int
    origin: tuple[Any, ...]
    part: tuple[int, int]

    @property
    def is_depthwise(self) -> bool:
        """Whether each output channel depends on one input channel."""
        return self.weights.ndim == 4 and int(self.call.attrs.groups) > 1

    def parts(self, limit: int) -> list[IntegerLayer]:
        """The layer, or where its constants take more than `limit` bytes, layers with parts of its outputs."""
        size = self.weights.nbytes + self.bias.nbytes + self.scale.nbytes
        if size <= limit or self.is_depthwise:
            return [self]
        grain = next((g for g in _GRAINS if g * size <= limit * len(self.weights)), _GRAINS[-1])
        ends = pairwise(starts_of_parts(len(self.weights), size, limit, grain))
        return [
            replace(self, weights=self.weights[a:b], bias=self.bias[a:b], scale=self.scale[a:b], part=(a, b))
            for a, b in ends
        ]


@dataclass(frozen=True)
class Move:
    """An operator that is right for integers as it is; None for one that changes nothing."""

    call: Any | None
    data: Expr


class IntegerLayers:
    """`found` has what becomes of variables of a function; those in `inside` are part of it, and not needed."""

    def __init__(self, main: Any) -> None:
        self.calls: dict[Any, Any] = {}
        self.uses: Counter[Any] = Counter(free_variables(main.body.body))
        self.found: dict[Any, IntegerLayer | Move] = {}
        self.inside: set[Any] = set()
        self.moves: list[tuple[Any, Any]] = []  # the dequantization and the quantization around each Move
        bindings = [binding for block in main.body.blocks for binding in block.bindings]
        for binding in bindings:
            self.uses.update(free_variables(binding.value))
            if isinstance(binding.value, relax.Call):
                self.calls[binding.var] = binding.value
        for variable, call in self.calls.items():
            if op_name(call) == "relax.quantize":
                self._quantize(variable, call)
            elif op_name(call) == "relax.clip":
                self._clip(variable, call)

    def _quantize(self, variable: Any, call: Any) -> None:
        result = _steps(call, dtype_of(call))
        if result is None:
            return
        found = self._move(call, result) or self._layer(call.args[0], result)
        if found:
            if isinstance(found, IntegerLayer):
                found = replace(found, origin=(*found.origin, *call.args[1:]))
            self.found[variable] = found

    def _clip(self, variable: Any, call: Any) -> None:
        """A limit of a layer's integers: TFLite's activations."""
        layer = self.found.get(call.args[0])
        if isinstance(layer, IntegerLayer) and self.uses[call.args[0]] == 1:
            low, high = (round(float(end.value)) for end in call.args[1:])
            low, high, origin = max(low, layer.low), min(high, layer.high), (*layer.origin, *call.args[1:])
            self.found[variable] = replace(layer, low=low, high=high, origin=origin)
            self.inside.add(call.args[0])

    def _move(self, call: Any, result: Steps) -> Move | None:
        """Integers that are moved, and count the same steps after it."""
        source, move = call.args[0], self._only(call.args[0])
        row = operator(move)
        if row is not None and row.exact_on_integers:
            source = move.args[0]
        else:
            move = None
        real = self.calls.get(source)
        if real is None or op_name(real) != "relax.dequantize" or constant(real.args[0]) is not None:
            return None
        if _steps(real, dtype_of(real.args[0])) != result:
            return None
        self.moves.append((real, call))
        if move is not None:
            self.inside.add(call.args[0])
        return Move(move, real.args[0])

    def _layer(self, value: Expr, result: Steps) -> IntegerLayer | None:
        """The layer whose real result is `value`."""
        inside: list[Expr] = [value]
        origin: list[Any] = []
        bias: Array | None = None
        low, high = -math.inf, math.inf
        call = self._only(value)
        while call is not None and op_name(call) not in ("relax.nn.conv2d", "relax.matmul"):
            # from the result backwards: limits, then the bias
            if op_name(call) == "relax.nn.relu" and bias is None:
                low = max(low, 0.0)
                origin.append(call.op)
            elif op_name(call) == "relax.clip" and bias is None:
                low, high = max(low, float(call.args[1].value)), min(high, float(call.args[2].value))
                origin += call.args[1:]
            elif op_name(call) == "relax.add" and bias is None:
                bias = self.real_constant(call.args[1])
                if bias is None:
                    return None
                origin.append(call.args[1])
            else:
                return None
            inside.append(call.args[0])
            call = self._only(call.args[0])
        layer = self._product(call, np.zeros(1) if bias is None else bias, result) if call is not None else None
        if layer is None:
            return None
        self.inside.update(inside)
        ends = [result.zero + round(min(max(end / result.scale, -1e6), 1e6)) for end in (low, high)]
        origin += layer.origin
        return replace(layer, low=max(ends[0], layer.low), high=min(ends[1], layer.high), origin=tuple(origin))

    def _product(self, call: Any, bias: Array, result: Steps) -> IntegerLayer | None:
        data = self.calls.get(call.args[0])
        if data is None or op_name(data) != "relax.dequantize" or dtype_of(data.args[0]) not in DTYPES:
            return None
        given, weights = _steps(data, dtype_of(data.args[0])), self._weights(call)
        if given is None or weights is None:
            return None
        integers, scale = weights
        outputs, depth = len(integers), integers[0].size
        if bias.size not in (1, outputs) or depth > _LONGEST:
            return None
        bias = np.broadcast_to(bias.ravel(), outputs).astype(np.float64)
        integers, scale = _coarser(integers, scale, bias / given.scale)
        counts = np.rint(bias / (given.scale * scale.astype(np.float64)))
        return IntegerLayer(
            call=call,
            data=data.args[0],
            given=given,
            weights=integers,
            bias=counts.astype(np.int32),
            scale=(np.float32(given.scale) * scale / np.float32(result.scale)).astype(np.float32),
            result=result,
            low=result.limits[0],
            high=result.limits[1],
            origin=(call.args[1], *data.args[1:]),
            part=(0, outputs),
        )

    def _weights(self, call: Any) -> tuple[Array, Array] | None:
        """int8 weights, outputs first, and the scale of each output; None if they are not so."""
        found = self._integers(call.args[1])
        if found is None:
            return None
        integers, scale, places = found
        if op_name(call) == "relax.matmul":
            if integers.ndim != 2 or len(shape_of(call.args[0])) not in (2, 3, 4):
                return None
            order = [1, 0]
        else:
            data_layout, kernel_layout = str(call.attrs.data_layout), str(call.attrs.kernel_layout)
            if data_layout not in ("NCHW", "NHWC") or sorted(kernel_layout) != sorted("OIHW"):
                return None
            order = [kernel_layout.index(letter) for letter in "OIHW"]
            channels = shape_of(call.args[0])[data_layout.index("C")]
            if int(call.attrs.groups) not in (1, channels) or (
                int(call.attrs.groups) > 1 and integers.shape[order[0]] != channels
            ):
                return None
        outputs = integers.shape[order[0]]
        integers = integers.transpose(order)
        scale, places = (array.transpose(order).reshape(outputs, -1) for array in (scale, places))
        low, high = np.iinfo(np.int8).min, np.iinfo(np.int8).max
        if (places != places[:, :1]).any() or integers.min() < low or integers.max() > high:
            return None
        return integers.astype(np.int8), scale[:, 0]

    def _integers(self, expression: Expr) -> tuple[Array, Array, Array] | None:
        """A dequantized constant as integers that count from 0, a scale for each, and which of the scales it is."""
        call = self.calls.get(expression)
        if call is None:
            return None
        if op_name(call) != "relax.dequantize":
            inner = self._integers(call.args[0]) if _is_movement(call) else None
            if inner is None:
                return None
            integers, scale, places = (compute(call, [array]) for array in inner)
            if integers is None or scale is None or places is None:
                return None
            return integers, scale, places
        array, scale, zero = (constant(argument) for argument in call.args)
        if array is None or scale is None or zero is None or array.dtype.name not in (*DTYPES, "int32"):
            return None
        along = [-1 if axis == int(call.attrs.axis) % array.ndim else 1 for axis in range(array.ndim)]
        kind = np.int64 if array.dtype == np.int32 else np.int16  # in which a difference has room
        factors, zeros = (np.reshape(a, along if a.size > 1 else []) for a in (scale, zero.astype(kind)))
        places = np.arange(factors.size).reshape(factors.shape)
        scales, which = (np.broadcast_to(a, array.shape) for a in (factors, places))
        return np.subtract(array.astype(kind), zeros), scales, which

    def is_constant(self, expression: Expr) -> bool:
        """Whether a value is known when compiling: integers that are dequantized, and perhaps moved."""
        call = self.calls.get(expression)
        if call is None:
            return False
        if op_name(call) == "relax.dequantize":
            given = constant(call.args[0])
            return given is not None and given.dtype.name in (*DTYPES, "int32")
        return _is_movement(call) and self.is_constant(call.args[0])

    def real_constant(self, expression: Expr) -> Array | None:
        """The real numbers that a constant stands for."""
        known = constant(expression)
        if known is not None:
            return known
        found = self._integers(expression)
        return None if found is None else found[0] * found[1].astype(np.float64)

    def _only(self, expression: Expr) -> Any:
        """The call that makes a value, if it has one use."""
        return self.calls.get(expression) if self.uses[expression] == 1 else None


def _coarser(integers: Array, scale: Array, bias: Array) -> tuple[Array, Array]:
    """The weights with larger steps where a bias would be too many of them for the sum to be an int32.

    `bias` is in units of the input's integers. Such an output hardly depends on the input: it is a dead channel,
    whose scale the converter made as small as its weights are.
    """
    axes = tuple(range(1, integers.ndim))
    # the sum begins with the bias, without what the input's zero point adds, and products of an int8 follow
    room = np.maximum((1 << 31) - 256.0 * np.abs(integers.astype(np.int64)).sum(axes), _LARGEST_BIAS)
    too_many = ~(np.abs(bias) < scale.astype(np.float64) * room)  # also where the scale is 0
    if not too_many.any():
        return integers, scale
    larger = np.maximum(np.abs(bias) / _LARGEST_BIAS, np.finfo(np.float32).tiny)
    steps = np.where(too_many, larger, scale).astype(np.float32)
    shares = (scale.astype(np.float64) / steps).reshape(-1, *[1] * len(axes))
    return np.rint(integers * np.where(too_many.reshape(shares.shape), shares, 1)).astype(np.int8), steps


def _is_movement(call: Any) -> bool:
    """Whether integers may be moved as this moves the real numbers that they stand for."""
    row = operator(call)
    return row is not None and row.kind is Kind.data_movement and row.exact_on_integers


def _steps(call: Any, dtype: str) -> Steps | None:
    """What a (de)quantization with one scale for all says."""
    scale, zero = constant(call.args[1]), constant(call.args[2])
    if scale is None or zero is None or scale.size != 1 or zero.size != 1 or dtype not in DTYPES:
        return None
    return Steps(float(scale.reshape(())), int(zero.reshape(())), dtype)
