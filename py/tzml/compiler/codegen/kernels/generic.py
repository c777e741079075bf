"""Functions that no kernel is written for: element by element what can be, the rest as TVM defines it."""

from __future__ import annotations

from typing import Any

import tvm_ffi
from tvm import s_tir, tirx

from tzml.compiler.codegen.kernels.functions import expand_stores
from tzml.compiler.codegen.kernels.isa import Isa
from tzml.compiler.ir.tvm_internals import nodes_of

TUNED = "tzml.tuned"
"""Attribute of functions that are already scheduled."""

IN_PLACE = "tzml.in_place"
"""Attribute of functions that go number by number: how many of their first buffers they read and write."""


_MOST_NESTED = 4
"""Choices in one, itself among them: TVM takes minutes to simplify one of nine. A
block with more is computed before those that read it, and not in each of them."""

_VECTORS = 4
"""Of numbers of the state, which are computed at once."""


def schedule(function: Any, isa: Isa) -> Any:
    """The function with elementwise blocks merged, and its last block in vectors where they fit."""
    if function.attrs and TUNED in function.attrs:
        return expand_stores(function)
    sch = s_tir.Schedule(function)
    root = sch.get_sblock("root")
    if function.attrs and IN_PLACE in function.attrs:
        (block,) = sch.get_child_blocks(root)
        return expand_stores(_in_vectors(sch, block, isa.lanes))
    for block in sch.get_child_blocks(root)[:-1]:
        if _nested(sch.get(block).body) > _MOST_NESTED:
            continue
        try:
            sch.compute_inline(block)
        except s_tir.ScheduleError:
            continue
    for block in sch.get_child_blocks(root):
        _vectorize(sch, block, isa.lanes)
    return expand_stores(sch.mod["main"])


def _nested(expression: Any) -> int:
    """How many choices the largest choice of an expression consists of."""
    choices = [node for node in nodes_of(expression) if isinstance(node, tirx.Select)]
    return max((sum(isinstance(node, tirx.Select) for node in nodes_of(choice)) for choice in choices), default=0)


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


def _in_vectors(sch: Any, block: Any, lanes: int) -> Any:
    """The function with the loop of its block in vectors.

    TVM's schedule refuses a block that writes what it reads, though each number depends on that at its own place.
    """
    (loop,) = sch.get_loops(block)
    extent = int(sch.get(loop).extent)
    if extent % lanes:
        return sch.mod["main"]
    # several vectors at once: counting and jumping would be a quarter of the instructions
    width = _VECTORS * lanes if extent % (_VECTORS * lanes) == 0 else lanes
    _, inner = sch.split(loop, [None, width])
    variable = sch.get(inner).loop_var

    def vectorized(node: Any) -> Any:
        if not node.loop_var.same_as(variable):
            return node
        return tirx.For(node.loop_var, node.min, node.extent, tirx.ForKind.VECTORIZED, node.body)

    function = sch.mod["main"]
    return function.with_body(tvm_ffi.structural_map(function.body, (tirx.For, vectorized)))
