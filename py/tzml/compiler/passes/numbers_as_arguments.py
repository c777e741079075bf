"""Operators whose numbers are arguments of their kernels: scalars, limits, epsilons, scales, zero points.

TVM's own definitions take such numbers as literals, so that a kernel's code would tell them, and another number
would need another library. Integers that count or point, such as a limit of an index, stay in the code: they are
structure, as shapes and axes are.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import tvm
from tvm import relax, te, tirx, topi

from tzml.compiler.ir.operators import OPERATORS, Kind
from tzml.compiler.ir.rewrite import Expr, const, constant, dtype_of, ints, shape_of
from tzml.compiler.ir.tvm_internals import identity

Rule = Callable[[Any, Any], Expr]
"""How an operator becomes a tensor function: from TVM's block builder and the call."""

_QUANTIZED = ("int8", "uint8")
_EXACT = ("float32", "float64")
"""Types of which the sums of a normalization are; TVM makes them in float32, if at all."""


class Legalizer:
    """Rules for TVM's LegalizeOps. Calls that share a number, such as the strips of a layer, share an argument."""

    def __init__(self) -> None:
        self.made: dict[tuple[int, str], tuple[Any, Expr]] = {}

    def rules(self) -> dict[str, Rule]:
        """A rule for each operator, by its name."""
        binary = [
            row.name
            for row in OPERATORS.values()
            if row.kind is Kind.elementwise and row.operands == 2 and hasattr(topi, _short(row.name))
        ]
        return {
            **dict.fromkeys(binary, _binary),
            "relax.clip": self._clip,
            "relax.dequantize": _scaled,
            "relax.nn.group_norm": self._group_norm,
            "relax.nn.instance_norm": self._instance_norm,
            "relax.nn.layer_norm": self._layer_norm,
            "relax.nn.leakyrelu": self._leaky_relu,
            "relax.nn.rms_norm": self._rms_norm,
            "relax.nn.softplus": self._softplus,
            "relax.quantize": _scaled,
        }

    def number(self, owner: Any, name: str, value: float, dtype: str = "float32") -> Expr:
        """The argument for a number of `owner`, an object of TVM: the attributes of a call, or a literal."""
        key = identity(owner), name
        if key not in self.made:
            self.made[key] = owner, const(np.array(value, dtype))
        return self.made[key][1]

    def _clip(self, builder: Any, call: Any) -> Expr:
        dtype = dtype_of(call)
        if "float" not in dtype and dtype not in _QUANTIZED:
            return _default(builder, call)
        ends = [self.number(end, "clip", float(end.value), dtype) for end in call.args[1:]]

        def clip(x: Any, low: Any, high: Any) -> Any:
            return te.compute(x.shape, lambda *i: limited(x(*i), low(), high()), name="clip")

        return builder.call_te(clip, call.args[0], *ends, primfunc_name_hint="clip")

    def _leaky_relu(self, builder: Any, call: Any) -> Expr:
        alpha = self.number(call.attrs, "alpha", float(call.attrs.alpha), dtype_of(call))

        def leaky_relu(x: Any, alpha: Any) -> Any:
            zero = tirx.const(0, x.dtype)
            return te.compute(
                x.shape, lambda *i: tirx.Select(x(*i) > zero, x(*i), x(*i) * alpha()), name="leaky_relu"
            )

        return builder.call_te(leaky_relu, call.args[0], alpha, primfunc_name_hint="leaky_relu")

    def _softplus(self, builder: Any, call: Any) -> Expr:
        kind, attributes = dtype_of(call), call.attrs
        beta = float(attributes.beta)
        numbers = {"beta": beta, "inverse": 1 / beta if beta else math.inf, "threshold": attributes.threshold}
        operands = [self.number(attributes, name, float(value), kind) for name, value in numbers.items()]

        def softplus(x: Any, beta: Any, inverse: Any, threshold: Any) -> Any:
            def element(*index: Expr) -> Expr:
                scaled = beta() * x(*index)
                one = tirx.const(1, x.dtype)
                return tirx.Select(scaled > threshold(), x(*index), inverse() * tirx.log(one + tirx.exp(scaled)))

            return te.compute(x.shape, element, name="softplus")

        return builder.call_te(softplus, call.args[0], *operands, primfunc_name_hint="softplus")

    def _layer_norm(self, builder: Any, call: Any) -> Expr:
        axes = _axes(call.attrs.axes, len(shape_of(call)))
        return self._normalized(builder, call, "layer_norm", axes, axes)

    def _instance_norm(self, builder: Any, call: Any) -> Expr:
        rank = len(shape_of(call))
        channel = int(call.attrs.channel_axis) % rank
        return self._normalized(builder, call, "instance_norm", _axes(call.attrs.axes, rank), (channel,))

    def _rms_norm(self, builder: Any, call: Any) -> Expr:
        axes = _axes(call.attrs.axes, len(shape_of(call)))
        return self._normalized(builder, call, "rms_norm", axes, axes, centred=False)

    def _normalized(
        self, builder: Any, call: Any, name: str, axes: tuple[int, ...], weighted: tuple[int, ...], *,
        centred: bool = True,
    ) -> Expr:  # fmt: skip
        """(x - mean) / sqrt(variance + epsilon) over `axes`, times gamma, plus beta: these run along `weighted`."""
        kind = dtype_of(call)
        if kind not in _EXACT:
            return _default(builder, call)
        epsilon = self.number(call.attrs, "epsilon", float(call.attrs.epsilon), kind)
        count = math.prod(shape_of(call)[axis] for axis in axes)

        def normalized(x: Any, gamma: Any, *others: Any) -> Any:
            (beta,), epsilon = (others[:1], others[1]) if centred else ((None,), others[0])
            kept = [axis for axis in range(len(x.shape)) if axis not in axes]
            mean, square = _moments(x, axes, count)

            def element(*index: Expr) -> Expr:
                outer = [index[axis] for axis in kept]
                inner = [index[axis] for axis in weighted]
                variance = square(*outer) - mean(*outer) * mean(*outer) if centred else square(*outer)
                value = x(*index) - mean(*outer) if centred else x(*index)
                value = value * tirx.rsqrt(variance + epsilon()) * gamma(*inner)
                return value if beta is None else value + beta(*inner)

            return te.compute(x.shape, element, name=name)

        return builder.call_te(normalized, *call.args, epsilon, primfunc_name_hint=name)

    def _group_norm(self, builder: Any, call: Any) -> Expr:
        """Groups of channels, each normalized over itself and the other axes."""
        shape, attributes = shape_of(call), call.attrs
        channel, groups = int(attributes.channel_axis) % len(shape), int(attributes.num_groups)
        if dtype_of(call) not in _EXACT:
            return _default(builder, call)
        axes = _axes(attributes.axes, len(shape))
        epsilon = self.number(attributes, "epsilon", float(attributes.epsilon), dtype_of(call))
        size = shape[channel] // groups
        parted = (*shape[:channel], groups, size, *shape[channel + 1 :])
        over = (channel + 1, *(axis + (axis > channel) for axis in axes if axis != channel))
        count = math.prod(parted[axis] for axis in over)

        def group_norm(x: Any, gamma: Any, beta: Any, epsilon: Any) -> Any:
            def part(*index: Expr) -> Expr:
                at = index[channel] * size + index[channel + 1]
                return x(*index[:channel], at, *index[channel + 2 :])

            mean, square = _moments(te.compute(parted, part, name="parted"), over, count)
            kept = [axis for axis in range(len(parted)) if axis not in over]

            def element(*index: Expr) -> Expr:
                at = (*index[:channel], index[channel] // size, index[channel] % size, *index[channel + 1 :])
                outer = [at[axis] for axis in kept]
                deviation = tirx.rsqrt(square(*outer) - mean(*outer) * mean(*outer) + epsilon())
                value = (x(*index) - mean(*outer)) * deviation
                return value * gamma(index[channel]) + beta(index[channel])

            return te.compute(x.shape, element, name="group_norm")

        return builder.call_te(group_norm, *call.args, epsilon, primfunc_name_hint="group_norm")


def limited(value: Expr, low: Expr, high: Expr) -> Expr:
    """A number between limits that are arguments; NaN stays NaN.

    AArch64 has instructions for a maximum that keeps NaN. x86 has some that give their second operand where one is
    NaN, and LLVM chooses them for these comparisons.
    """
    if str(tvm.target.Target.current().export()["mtriple"]).startswith("aarch64"):
        return te.min(te.max(value, low), high)
    above = tirx.Select(low > value, low, value)
    return tirx.Select(high < above, high, above)


def _moments(x: Any, axes: tuple[int, ...], count: int) -> tuple[Any, Any]:
    """The means of the numbers and of their squares over `axes`, in one pass."""
    extents = [int(n) for n in x.shape]
    along = {axis: te.reduce_axis((0, extents[axis]), f"r{axis}") for axis in axes}
    kept = [axis for axis in range(len(extents)) if axis not in axes]
    zero = tirx.const(0, x.dtype)
    both = te.comm_reducer(lambda a, b: (a[0] + b[0], a[1] + b[1]), lambda *_: (zero, zero), name="sums")

    def element(*index: Expr) -> Any:
        outer = dict(zip(kept, index, strict=True))
        value = x(*(along.get(axis, outer.get(axis)) for axis in range(len(extents))))
        return both((value, value * value), axis=list(along.values()))

    shape = [extents[axis] for axis in kept]
    sums = te.compute(shape, element, name="sums")
    share = tirx.const(count, x.dtype)

    def averaged(total: Any, name: str) -> Any:
        return te.compute(shape, lambda *i: total(*i) / share, name=name)

    return averaged(sums[0], "mean"), averaged(sums[1], "square")


def _binary(builder: Any, call: Any) -> Expr:
    """An operator of two operands: real numbers of rank 0 are arguments as others are."""
    scalars = [a for a in call.args if constant(a) is not None and shape_of(a) == ()]
    if not any("float" in dtype_of(a) for a in scalars):
        return _default(builder, call)
    name = _short(call.op.name)
    return builder.call_te(getattr(topi, name), *call.args, primfunc_name_hint=name)


def _scaled(builder: Any, call: Any) -> Expr:
    """A quantization or dequantization whose scale and zero point TVM takes for tensors."""
    data, *steps = call.args
    steps = [
        const(known.reshape(1)) if known is not None and known.ndim == 0 else step
        for step, known in ((step, constant(step)) for step in steps)
    ]
    return _default(builder, relax.Call(call.op, [data, *steps], call.attrs, call.ty_args))


def _default(builder: Any, call: Any) -> Expr:
    """What TVM makes of an operator."""
    return call.op.get_attr("FLegalize")(builder, call)


def _short(name: str) -> str:
    return name.rpartition(".")[2]


def _axes(values: Any, rank: int) -> tuple[int, ...]:
    return tuple(axis % rank for axis in ints(values))
