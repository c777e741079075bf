"""Keep indices inside what they index: those that gathers are given, and those of the largest and the smallest.

TVM's gathers trust their indices; a kernel that does is refused (refuse_indirect.py). Here indices are limited to
their axis instead, in the kernel itself; one that is right stays as it is. Other operators that index by
data stay refused.
"""

from __future__ import annotations

from typing import Any

from tvm import relax, te, tirx
from tvm.relax.expr_functor import PyExprMutator, mutator

from tzml.compiler.ir.rewrite import constant, dtype_of, op_name, shape_of


def limit_indices(module: Any) -> Any:
    """The module with indices that stay in bounds."""
    limiter = _Limiter(module)
    main = limiter.visit_expr(module["main"])
    module = limiter.builder_.get()  # with the tensor functions that it has made
    module.update_func(module.get_global_var("main"), main)
    return relax.transform.Normalize()(module)


@mutator
class _Limiter(PyExprMutator):  # type: ignore[misc]
    def visit_call_(self, call: Any) -> Any:
        call = super().visit_call_(call)
        name = op_name(call)
        if name == "relax.take" and call.attrs.mode == "fast":
            return self._take(call)
        if name in ("relax.argmax", "relax.argmin"):
            # TVM begins with -1, which stays where all numbers are infinite; the first is right
            index = self.builder_.emit(call)
            return relax.op.maximum(index, relax.const(0, dtype_of(index)))
        if name == "relax.gather_elements":
            axis = int(call.attrs.axis) % len(shape_of(call.args[0]))
            return self.builder_.call_te(_gather_elements, *call.args, axis, primfunc_name_hint="gather_elements")
        if name == "relax.gather_nd":
            batch = int(call.attrs.batch_dims)
            return self.builder_.call_te(_gather_nd, *call.args, batch, primfunc_name_hint="gather_nd")
        return call

    def _take(self, call: Any) -> Any:
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


def _limited(index: Any, extent: int) -> Any:
    """An index of an axis, which may count from its end."""
    zero, size = tirx.const(0, index.ty.dtype), tirx.const(extent, index.ty.dtype)
    from_end = tirx.Select(index < zero, index + size, index)
    return te.max(te.min(from_end, size - 1), zero)


def _gather_elements(data: Any, indices: Any, axis: int) -> Any:
    """`data` of any shape, of which each element of the result has its own index along `axis`."""
    extent = int(data.shape[axis])

    def element(*at: Any) -> Any:
        return data(*at[:axis], _limited(indices(*at), extent), *at[axis + 1 :])

    return te.compute(indices.shape, element, name="gather_elements")


def _gather_nd(data: Any, indices: Any, batch: int) -> Any:
    """The parts of `data` at the positions in the last axis of `indices`; `batch` axes are common to both."""
    count = int(indices.shape[-1])
    outer = len(indices.shape) - 1

    def element(*at: Any) -> Any:
        where = [_limited(indices(*at[:outer], i), int(data.shape[batch + i])) for i in range(count)]
        return data(*at[:batch], *where, *at[outer:])

    return te.compute([*indices.shape[:-1], *data.shape[batch + count :]], element, name="gather_nd")
