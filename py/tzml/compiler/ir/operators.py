"""What the compiler knows of Relax's operators: a row each, and no other list anywhere.

A pass asks for the row of a call. An operator without a row is computed as TVM defines it, between
conversions of its operands to the model's own layout, and is neither folded, fused, split nor tiled.
docs/extending.md says how to add one; tests/compiler/test_operators.py tries every row.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tzml.compiler.ir.rewrite import constant, ints, op_name

Array = NDArray[Any]
Fold = Callable[[Any, Sequence[Array]], Any]
"""From a call and the arrays that its constant operands hold to its result, which NumPy may cast."""


TELLS = "tzml.timing"
"""Attribute of a tensor function that takes more instructions for some numbers than for others."""


class Kind(enum.Enum):
    """How an operator's result depends on its operands."""

    elementwise = "each number on those at the same place of the operands, which are broadcast as in NumPy"
    data_movement = "each number is one of the operand's, and the values do not decide which"
    window = "each row on some neighbouring rows of an image: a convolution or a pooling"
    product = "sums of products along an axis"
    reduction = "one number on all of an axis, or of several"
    other = "in another way, or it is no tensor"


@dataclass(frozen=True)
class Operator:
    """A row.

    Attributes:
        name: Relax's, with its prefix.
        kind: Decides what follows of itself: an element-wise operator takes the layout of its operands, is fused
            with the layer before it, and is split and tiled with that.
        fold: Computes it with NumPy where all operands are constants; None where no model has that.
        operands: How many tensors it takes; 0 for any number of them, in a tuple.
        functions: TIR's functions of a number that TVM's definition of it calls, such as "exp", without those that
            are instructions of every processor. codegen/kernels/functions.py has a row for each.
        single: The operands that must be single numbers, known when compiling, for the kind to be true: the
            scale of a quantization, which may also be one a channel.
        weights: The operand whose numbers are a model's own. A layer is split along its outputs where these take
            more than there is memory for.
        kernels: The modules of codegen/kernels that have a kernel for it.
        exact_on_integers: Whether what it does to real numbers is right for the integers that stand for them.
        part_of_next: Whether it belongs to the layer behind it, and not to that before it.
        passes: The modules of passes/ that have code of their own for it.
        timing: Whether the numbers decide how many instructions it takes, so that its time tells of them.

    """

    name: str
    kind: Kind
    fold: Fold | None
    operands: int = 1
    functions: tuple[str, ...] = ()
    single: tuple[int, ...] = ()
    weights: int | None = None
    kernels: tuple[str, ...] = ()
    exact_on_integers: bool = False
    part_of_next: bool = False
    passes: tuple[str, ...] = ()
    timing: bool = False


def operator(call: Any) -> Operator | None:
    """The row of a call's operator; None if it has none, and for what is no call."""
    return OPERATORS.get(op_name(call)) if hasattr(call, "op") else None


def is_elementwise(call: Any) -> bool:
    """Whether a call computes number by number."""
    row = operator(call)
    if row is None or row.kind is not Kind.elementwise:
        return False
    parameters = (constant(call.args[position]) for position in row.single)
    return all(known is not None and known.size == 1 for known in parameters)


# How to compute with NumPy what needs the call's attributes


def _clip(call: Any, x: Sequence[Array]) -> Array:
    low, high = (float(bound.value) for bound in call.args[1:])
    return np.clip(x[0], x[0].dtype.type(low), x[0].dtype.type(high))


def _divide(_: Any, x: Sequence[Array]) -> Array:
    """Of integers, towards zero."""
    a, b = x
    if a.dtype.kind == "f":
        return np.divide(a, b)
    quotient, remainder = np.divmod(a, b)
    return np.asarray(quotient + ((remainder != 0) & (quotient < 0)), a.dtype)


def _slice(call: Any, x: Sequence[Array]) -> Array:
    axes, begin, end, *strides = (tuple(int(field.value) for field in a.fields) for a in call.args[1:])
    steps = strides[0] if strides else (1,) * len(axes)
    index = [slice(None)] * x[0].ndim
    for axis, low, high, step in zip(axes, begin, end, steps, strict=True):
        # a negative end below the first element is how Relax writes "down to the first"
        index[axis] = slice(low, None if step < 0 and high < -x[0].shape[axis] else high, step)
    return x[0][tuple(index)]


def _take(call: Any, x: Sequence[Array]) -> Array:
    data, index = x
    axis = None if call.attrs.axis is None else int(call.attrs.axis)
    size = data.size if axis is None else data.shape[axis]
    if index.size and not (-size <= index.min() and index.max() < size):
        raise IndexError(f"index {index} is outside of [{-size}, {size})")
    return np.take(data, index, axis=axis, mode="wrap")


def _axes(values: Any) -> tuple[int, ...] | None:
    return None if values is None else ints(values)


def _erf(x: Array) -> Array:
    return np.array([math.erf(value) for value in x.ravel()], x.dtype).reshape(x.shape)


def _sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def _selu(x: Array) -> Array:
    """Klambauer et al., "Self-Normalizing Neural Networks", 2017."""
    alpha, scale = 1.6732632423543772, 1.0507009873554805
    return scale * np.where(x > 0, x, alpha * np.expm1(x))


def _gelu_tanh(x: Array) -> Array:
    return x / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def _softplus(call: Any, x: Sequence[Array]) -> Array:
    beta, threshold = float(call.attrs.beta), float(call.attrs.threshold)
    return np.where(x[0] * beta > threshold, x[0], np.log1p(np.exp(x[0] * beta)) / beta)


# The table


def _elementwise(name: str, fold: Callable[..., Any], *functions: str, operands: int = 1) -> Operator:
    """An element-wise operator; `fold` takes the operands alone."""
    return Operator(f"relax.{name}", Kind.elementwise, lambda _, x: fold(*x), operands, functions)


def _movement(name: str, fold: Fold | None = None, operands: int = 1) -> Operator:
    """Data movement. Integers are moved as real numbers are; what else an operand is may not be integers."""
    row = Operator(f"relax.{name}", Kind.data_movement, fold, operands)
    return replace(row, exact_on_integers=operands == 1 and fold is not None)


def _by_tvm(name: str, operands: int = 1) -> Operator:
    """An operator that no pass knows: its row says that its time was measured."""
    return Operator(f"relax.{name}", Kind.other, None, operands)


_ROWS = (
    # element-wise, of one operand
    _elementwise("abs", np.abs),
    _elementwise("acos", np.arccos, "acos"),
    _elementwise("acosh", np.arccosh, "acosh"),
    _elementwise("asin", np.arcsin, "asin"),
    _elementwise("asinh", np.arcsinh, "asinh"),
    _elementwise("atan", np.arctan, "atan"),
    _elementwise("ceil", np.ceil),
    _elementwise("cos", np.cos, "cos"),
    _elementwise("cosh", np.cosh, "cosh"),
    _elementwise("erf", _erf, "erf"),
    _elementwise("exp", np.exp, "exp"),
    _elementwise("floor", np.floor),
    _elementwise("isfinite", np.isfinite),
    _elementwise("isinf", np.isinf),
    _elementwise("isnan", np.isnan),
    _elementwise("log", np.log, "log"),
    _elementwise("logical_not", np.logical_not),
    _elementwise("negative", np.negative),
    _elementwise("nn.gelu", lambda x: x / 2 * (1 + _erf(x / math.sqrt(2))), "erf"),
    _elementwise("nn.gelu_tanh", _gelu_tanh, "tanh"),
    _elementwise("nn.relu", lambda x: np.maximum(x, 0)),
    _elementwise("nn.selu", _selu, "exp"),
    _elementwise("nn.silu", lambda x: x * _sigmoid(x), "sigmoid"),
    _elementwise("round", np.rint),
    _elementwise("rsqrt", lambda x: 1 / np.sqrt(x)),
    _elementwise("sigmoid", _sigmoid, "sigmoid"),
    _elementwise("sign", np.sign),
    _elementwise("sin", np.sin, "sin"),
    _elementwise("sinh", np.sinh, "sinh"),
    _elementwise("sqrt", np.sqrt),
    _elementwise("square", np.square),
    _elementwise("tanh", np.tanh, "tanh"),
    _elementwise("trunc", np.trunc),
    Operator("relax.astype", Kind.elementwise, lambda call, x: x[0].astype(str(call.attrs.dtype))),
    Operator("relax.clip", Kind.elementwise, _clip),
    Operator("relax.nn.leakyrelu", Kind.elementwise,
             lambda call, x: np.where(x[0] > 0, x[0], x[0] * float(call.attrs.alpha))),
    Operator("relax.nn.softplus", Kind.elementwise, _softplus, functions=("exp", "log")),
    # of several
    _elementwise("add", np.add, operands=2),
    replace(_elementwise("equal", np.equal, operands=2), passes=("simplify",)),
    _elementwise("floor_divide", np.floor_divide, operands=2),
    _elementwise("floor_mod", np.mod, operands=2),
    _elementwise("greater", np.greater, operands=2),
    replace(_elementwise("greater_equal", np.greater_equal, operands=2), passes=("simplify",)),
    _elementwise("less", np.less, operands=2),
    replace(_elementwise("less_equal", np.less_equal, operands=2), passes=("simplify",)),
    _elementwise("log_add_exp", np.logaddexp, "exp", "log", operands=2),
    _elementwise("logical_and", np.logical_and, operands=2),
    _elementwise("logical_or", np.logical_or, operands=2),
    _elementwise("logical_xor", np.logical_xor, operands=2),
    _elementwise("maximum", np.maximum, operands=2),
    _elementwise("mod", np.fmod, operands=2),
    _elementwise("multiply", np.multiply, operands=2),
    replace(_elementwise("not_equal", np.not_equal, operands=2), passes=("simplify",)),
    replace(_elementwise("power", np.power, "pow", operands=2), passes=("simplify",)),
    _elementwise("subtract", np.subtract, operands=2),
    _elementwise("where", np.where, operands=3),
    Operator("relax.divide", Kind.elementwise, _divide, 2),
    replace(_elementwise("minimum", np.minimum, operands=2), passes=("simplify",)),
    # between real numbers and the integers that stand for them; find_integer_layers.py folds their constants
    Operator("relax.quantize", Kind.elementwise, None, single=(1, 2)),
    Operator("relax.dequantize", Kind.elementwise, None, single=(1, 2), part_of_next=True),
    # data movement
    _movement("broadcast_to", lambda call, x: np.broadcast_to(x[0], ints(call.args[1].values))),
    _movement("expand_dims", lambda call, x: np.expand_dims(x[0], ints(call.attrs.axis))),
    _movement("image.resize2d"),
    _movement("nn.pad"),
    _movement("permute_dims", lambda call, x: np.transpose(x[0], _axes(call.attrs.axes))),
    _movement("reshape", lambda call, x: x[0].reshape(ints(call.args[1].values))),
    _movement("split"),
    _movement("squeeze", lambda call, x: np.squeeze(x[0], _axes(call.attrs.axis))),
    _movement("tile"),
    replace(_movement("concat", lambda call, x: np.concatenate(x, int(call.attrs.axis)), 0),
            passes=("select_kernels",), kernels=("concat",)),
    replace(_movement("strided_slice", _slice), passes=("select_kernels",), exact_on_integers=False),
    replace(_movement("take", _take, 2), passes=("simplify",)),
    # layers
    Operator("relax.nn.conv2d", Kind.window, None, 2, weights=1, passes=("simplify", "select_kernels"),
             kernels=("conv", "integer_gemm", "integer_window", "stencil")),
    Operator("relax.nn.conv2d_transpose", Kind.other, None, 2, passes=("select_kernels",)),
    Operator("relax.nn.avg_pool2d", Kind.window, None, passes=("select_kernels",), kernels=("stencil",)),
    Operator("relax.nn.max_pool2d", Kind.window, None, exact_on_integers=True, passes=("select_kernels",),
             kernels=("integer_window", "stencil")),
    Operator("relax.matmul", Kind.product, None, 2, weights=1, passes=("select_kernels",),
             kernels=("integer_gemm", "matmul")),
    Operator("relax.mean", Kind.reduction, None, passes=("select_kernels",), kernels=("stencil",)),
    Operator("relax.nn.adaptive_avg_pool2d", Kind.reduction, None, passes=("select_kernels",),
             kernels=("stencil",)),
    # as TVM defines them
    _by_tvm("argmax"),
    _by_tvm("argmin"),
    _by_tvm("flip"),
    _by_tvm("max"),
    _by_tvm("min"),
    _by_tvm("nn.avg_pool1d"),
    _by_tvm("nn.conv1d", 2),
    _by_tvm("nn.group_norm", 3),
    _by_tvm("nn.instance_norm", 3),
    _by_tvm("nn.layer_norm", 3),
    _by_tvm("nn.log_softmax"),
    _by_tvm("nn.max_pool1d"),
    _by_tvm("nn.prelu", 2),
    _by_tvm("nn.rms_norm", 2),
    _by_tvm("nn.softmax"),
    _by_tvm("prod"),
    _by_tvm("repeat"),
    _by_tvm("stack", 0),
    _by_tvm("std"),
    _by_tvm("sum"),
    _by_tvm("tril"),
    _by_tvm("triu"),
    _by_tvm("variance"),
    # what is gone before any kernel is chosen
    Operator("relax.call_tir", Kind.other, None, 0, passes=("simplify",)),
    Operator("relax.nn.batch_norm", Kind.other, None, 5, passes=("simplify",)),
    Operator("relax.shape_of", Kind.other, None, passes=("simplify",)),
    Operator("relax.shape_to_tensor", Kind.other, None, 0, passes=("simplify",)),
)  # fmt: skip

OPERATORS = {row.name: row for row in _ROWS}
