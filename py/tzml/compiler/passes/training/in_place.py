"""Tensor functions that change the state: number by number, each where it lies."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import tvm
from tvm import relax, te, tirx

from tzml.compiler.codegen.kernels import IN_PLACE
from tzml.compiler.codegen.kernels.tir import substitute
from tzml.compiler.ir.rewrite import Expr, shape_of

_OPAQUE = 8
"""TVM's OpPatternKind of what nothing is fused with."""

Element = Callable[..., Expr]
"""From a number of the state, and those of the operands at the same place, to the new number."""


def assign(builder: Any, name: str, state: Expr, element: Element, *operands: Expr) -> Expr:
    """Give `state` the numbers that `element` computes; what comes back stands for it from now on.

    Operands have the state's shape, or rank 0. A call that wants an old value must come before this one.
    """
    count = math.prod(shape_of(state))
    flat = [te.placeholder((count,), name="state")]
    flat += [te.placeholder((count,) if shape_of(o) else (), name=f"operand{i}") for i, o in enumerate(operands)]

    def number(i: Expr) -> Expr:
        return element(*(tensor(i) if tensor.shape else tensor() for tensor in flat))

    function = te.create_prim_func([*flat, te.compute((count,), number, name=name)])
    *kept, result = function.params
    body = substitute(function.body, {result: kept[0]})
    attributes = {**function.attrs, "op_pattern": _OPAQUE, IN_PLACE: 1}
    made = tirx.PrimFunc(kept, body, function.ret_type, tvm.ir.make_node("ir.DictAttrs", **attributes))
    variable = builder.add_func(made, name)
    rows = [_as_row(builder, e) for e in (state, *operands)]
    return builder.emit(relax.op.call_tir_inplace(variable, relax.Tuple(rows), 0, rows[0].ty))


def _as_row(builder: Any, expression: Expr) -> Expr:
    shape = shape_of(expression)
    return expression if len(shape) < 2 else builder.emit(relax.op.reshape(expression, (math.prod(shape),)))
