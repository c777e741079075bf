"""Tensor functions that change the state: number by number, each where it lies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tvm
from tvm import relax, te, tirx

from tzml.compiler.codegen.kernels import IN_PLACE
from tzml.compiler.codegen.kernels.tir import substitute
from tzml.compiler.ir.rewrite import Expr, dtype_of, shape_of

_OPAQUE = 8
"""TVM's OpPatternKind of what nothing is fused with."""

Element = Callable[..., Expr]
"""From a number of the state, and those of the operands at the same place, to the new number."""


def assign(builder: Any, name: str, state: Expr, element: Element, *operands: Expr) -> Expr:
    """Give `state` the numbers that `element` computes; what comes back stands for it from now on.

    All are rows of numbers; an operand can also be a single number, of rank 0 or 1. A call that wants an old value
    must come before this one.
    """
    (count,) = shape_of(state)
    tensors = [te.placeholder((count,), dtype_of(state), name="state")]
    tensors += [te.placeholder(shape_of(o), dtype_of(o), name=f"operand{i}") for i, o in enumerate(operands)]

    def number(i: Expr) -> Expr:
        places: dict[tuple[int, ...], tuple[Expr, ...]] = {(): (), (1,): (0,), (count,): (i,)}
        return element(*(tensor(*places[tuple(map(int, tensor.shape))]) for tensor in tensors))

    function = te.create_prim_func([*tensors, te.compute((count,), number, name=name)])
    *kept, result = function.params
    body = substitute(function.body, {result: kept[0]})
    attributes = {**function.attrs, "op_pattern": _OPAQUE, IN_PLACE: 1}
    made = tirx.PrimFunc(kept, body, function.ret_type, tvm.ir.make_node("ir.DictAttrs", **attributes))
    variable = builder.add_func(made, name)
    return builder.emit(relax.op.call_tir_inplace(variable, relax.Tuple([state, *operands]), 0, state.ty))
