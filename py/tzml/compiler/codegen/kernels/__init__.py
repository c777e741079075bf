"""Schedules: TVM functions as FuseTIR leaves them, rewritten so that they run fast."""

from __future__ import annotations

from typing import Any

from tzml.compiler.codegen.kernels import concat, conv, generic, integer_gemm, integer_window, matmul, stencil
from tzml.compiler.codegen.kernels.fused import KIND as ANCHOR
from tzml.compiler.codegen.kernels.fused import TILE, Fused, NotFusableError
from tzml.compiler.codegen.kernels.generic import IN_PLACE
from tzml.compiler.codegen.kernels.isa import Isa, isa_of
from tzml.compiler.codegen.kernels.scheduled import Packer, Scheduled

__all__ = ["ANCHOR", "IN_PLACE", "TILE", "Isa", "Packer", "Scheduled", "isa_of", "mark_tuned", "schedule"]

_KERNELS = {
    "concat": concat.schedule,
    "conv2d": conv.schedule,
    "integer_gemm": integer_gemm.schedule,
    "integer_window": integer_window.schedule,
    "matmul": matmul.schedule,
    "stencil": stencil.schedule,
}


def schedule(function: Any, isa: Isa) -> Scheduled:
    """The kernel for a function."""
    try:
        fused = Fused(function)
    except NotFusableError:
        return Scheduled(lambda: generic.schedule(function, isa), is_template=False)
    return _KERNELS[fused.kind](fused, isa)


def mark_tuned(function: Any) -> Any:
    """A function that is scheduled already: without a template, nothing more is done to it."""
    return function.with_attr(generic.TUNED, 1)
