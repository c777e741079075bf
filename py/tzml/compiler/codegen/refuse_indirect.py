"""Refuse kernels that index by what they read, unless the index is limited to its buffer.

A kernel touches nothing but its arguments, for any content of them (docs/bundle.md, "Kernel library").
Inputs and, in a clear bundle, weights are the caller's: an index that is taken from them and trusted reads
and writes the TA's other memory. TVM's gathers trust theirs; its mode "clip" does not. The limit must be
in the kernel itself: a plan may call it with any buffer, also with one that another kernel never limited.
"""

from __future__ import annotations

from typing import Any

import tvm
from tvm import sym, tirx

from tzml.compiler.codegen.kernels.tir import elements
from tzml.compiler.ir.errors import CompileError
from tzml.compiler.ir.tvm_internals import nodes_of


def check_indices(name: str, function: Any) -> None:
    """Look at every load and store of a kernel. Raises CompileError for one that may leave its buffer."""
    analyzer = sym.Analyzer()
    loaded: set[Any] = set()  # variables that hold what was read
    for node in nodes_of(function.body):
        if isinstance(node, tirx.For):
            analyzer.bind(node.loop_var, tvm.ir.Range.from_min_extent(node.min, node.extent))
            if _reads(node.min, loaded) or _reads(node.extent, loaded):
                loaded.add(node.loop_var)  # how far it counts is up to the data
        elif isinstance(node, tirx.Bind):
            if str(node.var.ty.dtype) in ("int32", "int64"):  # of numbers, and not of vectors
                analyzer.bind(node.var, node.value)
            if _reads(node.value, loaded):
                loaded.add(node.var)
        elif isinstance(node, tvm.ir.TensorLoad | tirx.BufferStore):
            buffer = node.buffer if isinstance(node, tirx.BufferStore) else node.source
            size = elements(buffer)
            for index in node.indices:
                bounds = map(analyzer.const_int_bound, ends(index)) if _reads(index, loaded) else ()
                if not all(0 <= bound.min_value <= bound.max_value < size for bound in bounds):
                    raise CompileError(
                        f"{name} indexes by its data: an index of any value would reach other memory of the TEE",
                        "rewrite the layer without it (Gather, Scatter): as a product with a one-hot matrix",
                    )


def ends(index: Any) -> tuple[Any, ...]:
    """The first and the last element that a vector of indices reaches; an index of one element itself."""
    if isinstance(index, tirx.Ramp):
        return index.base, index.base + index.stride * (index.lanes - 1)
    return (index.value,) if isinstance(index, tirx.Broadcast) else (index,)


def _reads(expression: Any, loaded: set[Any]) -> bool:
    return any(isinstance(node, tvm.ir.TensorLoad) or node in loaded for node in nodes_of(expression))
