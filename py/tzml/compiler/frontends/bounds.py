"""Keep gathers' indices inside what they index.

TVM's gather trusts its indices; a kernel that does is refused (refuse_indirect.py). Here its indices are limited to
their axis instead, in the kernel itself; one that is right stays as it is. Other operators that index by
data stay refused.
"""

from __future__ import annotations

from typing import Any

from tvm import relax
from tvm.relax.expr_functor import PyExprMutator, mutator

from tzml.compiler.ir.rewrite import constant, op_name, shape_of


def limit_indices(module: Any) -> Any:
    """The module with gathers that stay in bounds."""
    limiter = _Limiter(module)
    module.update_func(module.get_global_var("main"), limiter.visit_expr(module["main"]))
    return relax.transform.Normalize()(module)


@mutator
class _Limiter(PyExprMutator):  # type: ignore[misc]
    def visit_call_(self, call: Any) -> Any:
        call = super().visit_call_(call)
        if op_name(call) != "relax.take" or call.attrs.mode != "fast":
            return call
        data, indices = call.args
        index = constant(indices)
        if index is None or index.size != 1:
            return relax.op.take(data, indices, call.attrs.axis, mode="clip")
        # one element, known now: a slice, which needs no index when it runs
        shape = shape_of(data)
        axis = int(call.attrs.axis) if call.attrs.axis is not None else 0
        at = int(index.flat[0]) % shape[axis]
        part = self.builder_.emit(relax.op.strided_slice(data, [axis], [at], [at + 1]))
        return relax.op.reshape(part, (*shape[:axis], *index.shape, *shape[axis + 1 :]))
