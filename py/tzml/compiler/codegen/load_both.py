"""A choice between two numbers loads both: which one it is must not decide how many instructions are taken.

TVM computes only the operand that is chosen if the other one loads from memory, since that could be the end of a
buffer; LLVM makes a branch of that. Where an operand is in its buffer whatever is chosen, it is loaded before the
choice, which then is one instruction. tzml.constant_time finds what branches remain.

For TVM to see that, the operands are variables while it looks (RewriteUnsafeSelect).
"""

from __future__ import annotations

from typing import Any

import tvm
import tvm_ffi
from tvm import s_tir, sym, tirx

from tzml.compiler.codegen.kernels.tir import elements, loads, substitute
from tzml.compiler.codegen.refuse_indirect import ends
from tzml.compiler.ir.tvm_internals import identity, nodes_of

_LOADED = "loaded_for_a_choice"


def load_both(function: Any) -> Any:
    """A lowered function that computes both operands of a choice if both may be loaded; otherwise only one."""
    analyzer = sym.Analyzer()
    inner: set[int] = set()
    for node in nodes_of(function.body):
        if isinstance(node, tirx.For):
            analyzer.bind(node.loop_var, tvm.ir.Range.from_min_extent(node.min, node.extent))
        elif isinstance(node, tirx.Select):
            inner |= {identity(n) for n in nodes_of(node) if isinstance(n, tirx.Select) and not n.same_as(node)}

    def may_be_loaded(load: Any) -> bool:
        size = elements(load.source)
        bounds = [analyzer.const_int_bound(end) for index in load.indices for end in ends(index)]
        return not any(map(loads, load.indices)) and all(
            0 <= bound.min_value <= bound.max_value < size for bound in bounds
        )

    def change(select: Any) -> Any:
        if identity(select) in inner:
            return select
        first: list[tuple[Any, Any]] = []  # variables, and what is loaded into them

        def loaded(load: Any) -> Any:
            if not may_be_loaded(load):
                return load
            for variable, other in first:
                if tvm_ffi.structural_equal(load, other):
                    return variable
            variable = tirx.Var(_LOADED, load.ty)
            first.append((variable, load))
            return variable

        body = tvm_ffi.structural_map(select, (tvm.ir.TensorLoad, loaded))
        for variable, load in reversed(first):
            body = tirx.Let(variable, load, body)
        return body

    rewritten = tvm_ffi.structural_map(function, (tirx.Select, change))
    rewritten = s_tir.transform.RewriteUnsafeSelect()(tvm.IRModule({"main": rewritten}))["main"]
    # TVM's search for common expressions takes variables out of where they are bound
    return tvm_ffi.structural_map(rewritten, (tirx.Let, _without))


def _without(let: Any) -> Any:
    return substitute(let.body, {let.var: let.value}) if let.var.name == _LOADED else let
