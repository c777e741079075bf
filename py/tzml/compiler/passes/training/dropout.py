"""Dropout: each number of a layer's result stays with some probability, and the others become 0."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tvm import relax

from tzml.compiler.ir.rewrite import Expr

NAME = "relax.nn.dropout"
_LEVELS = 256  # a byte decides

op = relax.op
Emit = Callable[[Expr], Expr]


@dataclass(frozen=True)
class Dropout:
    """One that is trained through: `name` is of the tensor with the random bytes, one for each number."""

    variable: Any
    name: str
    rate: float

    @property
    def kept(self) -> int:
        """How many of 256 bytes keep their number."""
        return round(_LEVELS * (1 - self.rate))


def dropped(emit: Emit, dropout: Dropout, data: Expr, random: Expr) -> Expr:
    """`data` where the byte of `random` is low enough, scaled so that the expectation is `data`; 0 elsewhere."""
    share = _LEVELS / dropout.kept if dropout.kept else 0.0
    low = emit(op.subtract(relax.const(float(dropout.kept), "float32"), emit(op.astype(random, "float32"))))
    mask = emit(op.minimum(emit(op.maximum(low, relax.const(0, "float32"))), relax.const(1, "float32")))
    return emit(op.multiply(data, emit(op.multiply(mask, relax.const(share, "float32")))))
