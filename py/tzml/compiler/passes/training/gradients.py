"""Gradients of Relax's operators: which of TVM's are used, and those that TVM lacks or that tzml cannot compile."""

from __future__ import annotations

import functools
from typing import Any

from tvm import relax
from tvm.relax.op import register_gradient

from tzml.compiler.ir.rewrite import Expr

op = relax.op
_LEVEL = 20
"""Above that of TVM's own."""

_OF_TVM = (
    "add", "astype", "concat", "divide", "exp", "expand_dims", "log", "matmul", "mean", "multiply", "negative",
    "nn.avg_pool2d", "nn.conv2d", "nn.log_softmax", "nn.max_pool2d", "nn.silu", "nn.softmax", "permute_dims",
    "reshape", "sigmoid", "sqrt", "squeeze", "subtract", "sum", "tanh",
)  # fmt: skip
"""TVM's own that tests/compiler/test_training.py compares with a reference."""


def _relu(variable: Any, call: Any, gradient: Any, builder: Any) -> list[Expr]:
    """Nothing at 0. TVM's own selects by a comparison, which TVM 0.27 cannot compile once it is bound."""
    return [op.multiply(gradient, op.sign(variable))]


_OWN = {"nn.relu": _relu}

DIFFERENTIABLE = frozenset(f"relax.{name}" for name in (*_OF_TVM, *_OWN))


@functools.cache
def register_gradients() -> None:
    """Let TVM use the gradients of this module."""
    for name, gradient in _OWN.items():
        register_gradient(f"relax.{name}", gradient, _LEVEL)
