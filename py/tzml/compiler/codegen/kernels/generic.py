"""Functions that no kernel is written for: element by element what can be, the rest as TVM defines it."""

from __future__ import annotations

from typing import Any

from tvm import s_tir

from tzml.compiler.codegen.kernels.functions import expand_stores
from tzml.compiler.codegen.kernels.isa import Isa

TUNED = "tzml.tuned"
"""Attribute of functions that are already scheduled."""


def schedule(function: Any, isa: Isa) -> Any:
    """The function with elementwise blocks merged, and its last block in vectors where they fit."""
    if function.attrs and TUNED in function.attrs:
        return expand_stores(function)
    sch = s_tir.Schedule(function)
    root = sch.get_sblock("root")
    for block in sch.get_child_blocks(root)[:-1]:
        try:
            sch.compute_inline(block)
        except s_tir.ScheduleError:
            continue
    for block in sch.get_child_blocks(root):
        _vectorize(sch, block, isa.lanes)
    return expand_stores(sch.mod["main"])


def _vectorize(sch: Any, block: Any, lanes: int) -> None:
    """Vectorise the innermost loop of a block without a reduction."""
    loops = sch.get_loops(block)
    axes = [int(axis.iter_type) for axis in sch.get(block).iter_vars]
    if not loops or any(axes) or len(axes) != len(loops):
        return
    extent = int(sch.get(loops[-1]).extent)
    if extent % lanes == 0:
        _, inner = sch.split(loops[-1], [None, lanes])
        sch.vectorize(inner)
    elif extent < lanes and extent & (extent - 1) == 0 and extent > 1:
        sch.vectorize(loops[-1])
