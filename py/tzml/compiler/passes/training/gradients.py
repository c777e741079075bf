"""Gradients of Relax's operators: which of TVM's are used, and those that TVM lacks or that tzml cannot compile.

What depends on a comparison is told by numbers: `sign` of ReLU is 1 above 0, and 0 elsewhere. TVM 0.27 cannot
compile a vector of truth values that is bound to a variable.
"""

from __future__ import annotations

import functools
import math
from typing import Any

from tvm import relax
from tvm.relax.op import register_gradient
from tvm.relax.op.grad import no_grad

from tzml.compiler.ir.rewrite import Expr, ints, op_name

op = relax.op
_LEVEL = 20
"""Above that of TVM's own."""

_OF_TVM = (
    "add", "astype", "concat", "divide", "exp", "expand_dims", "log", "matmul", "mean", "multiply", "negative",
    "nn.avg_pool2d", "nn.conv2d", "nn.log_softmax", "nn.max_pool2d", "nn.silu", "nn.softmax", "permute_dims",
    "reshape", "sigmoid", "sqrt", "squeeze", "subtract", "sum", "tanh",
)  # fmt: skip
"""TVM's own."""


def _real(value: float) -> Expr:
    return relax.const(value, "float32")


def _above(x: Expr) -> Expr:
    """1 where x is above 0, and 0 elsewhere."""
    return op.sign(op.nn.relu(x))


def _relu(variable: Any, call: Any, gradient: Any, builder: Any) -> list[Expr]:
    """Nothing at 0."""
    return [op.multiply(gradient, op.sign(variable))]


def _leaky_relu(variable: Any, call: Any, gradient: Any, builder: Any) -> list[Expr]:
    """At 0, that of numbers below."""
    alpha = float(call.attrs.alpha)
    slope = op.add(op.multiply(_above(call.args[0]), _real(1 - alpha)), _real(alpha))
    return [op.multiply(gradient, slope)]


def _clip(variable: Any, call: Any, gradient: Any, builder: Any) -> list[Expr]:
    """Nothing at the limits and beyond them."""
    x, low, high = call.args
    inside = op.multiply(
        _above(op.subtract(x, _real(float(low.value)))), _above(op.subtract(_real(float(high.value)), x))
    )
    return [op.multiply(gradient, inside), no_grad(low), no_grad(high)]


def _gelu(variable: Any, call: Any, gradient: Any, builder: Any) -> list[Expr]:
    """Of x Φ(x), with the normal distribution's Φ and its density φ: Φ(x) + x φ(x)."""
    x = call.args[0]
    cumulated = op.multiply(op.add(op.erf(op.multiply(x, _real(math.sqrt(0.5)))), _real(1)), _real(0.5))
    density = op.multiply(op.exp(op.multiply(op.multiply(x, x), _real(-0.5))), _real(1 / math.sqrt(2 * math.pi)))
    return [op.multiply(gradient, op.add(cumulated, op.multiply(x, density)))]


def _square(variable: Any, call: Any, gradient: Any, builder: Any) -> list[Expr]:
    return [op.multiply(gradient, op.multiply(call.args[0], _real(2)))]


_OWN = {
    "clip": _clip,
    "nn.gelu": _gelu,
    "nn.leakyrelu": _leaky_relu,
    "nn.relu": _relu,
    "square": _square,
}

DIFFERENTIABLE = frozenset(f"relax.{name}" for name in (*_OF_TVM, *_OWN))
"""Each has a case in tests/compiler/test_training.py."""


def why_not(call: Any) -> str:
    """Why there is no gradient of an operator as it is called; "" if there is one."""
    name = op_name(call)
    if name not in DIFFERENTIABLE:
        return f"there is none of {name.removeprefix('relax.')}, as TVM calls it"
    if name in ("relax.nn.conv2d", "relax.nn.max_pool2d", "relax.nn.avg_pool2d"):
        layout = call.attrs.data_layout if name == "relax.nn.conv2d" else call.attrs.layout
        if str(layout) != "NCHW":
            return "its images lie as [N][H][W][C], and there is one for [N][C][H][W], as in ONNX and PyTorch, only"
        if any(step != 1 for step in ints(call.attrs.dilation)):
            return "its window has gaps (dilation), which TVM's gradient does not know"
        if bool(getattr(call.attrs, "ceil_mode", False)):
            return "it rounds its size up (ceil_mode), which TVM's gradient does not know"
    return ""


@functools.cache
def register_gradients() -> None:
    """Let TVM use the gradients of this module."""
    for name, gradient in _OWN.items():
        register_gradient(f"relax.{name}", gradient, _LEVEL)
