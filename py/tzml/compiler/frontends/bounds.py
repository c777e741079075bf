"""Keep indices that are data inside what they index.

Kernels touch nothing but their arguments, whatever the arguments hold: that is their contract
(docs/bundle.md, "Kernel library"), and in the TEE it is what keeps a caller's inputs from reading other
memory. TVM's gathers trust their indices. Here each index is limited to its axis before it is used; an
index that is right stays as it is.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tvm
from tvm import relax
from tvm.relax.expr_functor import PyExprMutator, mutator

from tzml.compiler.frontends.errors import unsupported

# whose indices cannot be limited one by one; they are taken when they are constants
REFUSED = ("relax.index_tensor", "relax.index_put", "relax.dynamic_strided_slice")
BY_AXIS = ("relax.gather_elements", "relax.scatter_elements")
BY_TUPLE = ("relax.gather_nd", "relax.scatter_nd")


def limit_indices(module: Any, file: str) -> Any:
    """The module with indices in bounds. Raises CompileError for operators where that cannot be had."""
    limiter = _Limiter(module, file)
    module.update_func(module.get_global_var("main"), limiter.visit_expr(module["main"]))
    return relax.transform.Normalize()(module)


@mutator
class _Limiter(PyExprMutator):  # type: ignore[misc]
    def __init__(self, module: Any, file: str) -> None:
        super().__init__(module)
        self.file = file

    def visit_call_(self, call: Any) -> Any:
        call = super().visit_call_(call)
        name = getattr(call.op, "name", "")
        if name == "relax.take" and call.attrs.mode == "fast":
            return self._take(call.args[0], call.args[1], call.attrs.axis)
        if name in (*BY_AXIS, *BY_TUPLE):
            data, indices, *rest = call.args
            sizes = _shape(data)
            if name in BY_AXIS:
                limited = relax.op.clip(indices, 0, sizes[call.attrs.axis] - 1)
            else:
                batch = getattr(call.attrs, "batch_dims", 0)
                last = np.array(sizes[batch : batch + _shape(indices)[-1]]) - 1
                dtype = str(indices.ty.dtype)
                limited = relax.op.maximum(indices, relax.const(0, dtype))
                limited = relax.op.minimum(limited, relax.const(last.astype(dtype)))
            return relax.Call(call.op, [data, self.builder_.emit(limited), *rest], call.attrs)
        if name in REFUSED and not all(map(_is_constant, call.args[1:])):
            raise unsupported(self.file, [(name.removeprefix("relax."), "")], "its indices must be constants")
        return call

    def _take(self, data: Any, indices: Any, axis: Any) -> Any:
        index = _literal(indices)
        if index is None or index.size != 1:
            return relax.op.take(data, indices, axis, mode="clip")
        # one element, known now: a slice, which needs no index when it runs
        shape = _shape(data)
        axis = int(axis) if axis is not None else 0
        at = int(index.flat[0]) % shape[axis]
        part = self.builder_.emit(relax.op.strided_slice(data, [axis], [at], [at + 1]))
        return relax.op.reshape(part, (*shape[:axis], *index.shape, *shape[axis + 1 :]))


def _shape(value: Any) -> list[int]:
    return [int(d) for d in value.ty.shape.values]


def _literal(value: Any) -> Any:
    return value.value.numpy() if isinstance(value, tvm.ir.GenericConst) else None


def _is_constant(value: Any) -> bool:
    fields = value.fields if isinstance(value, relax.Tuple) else [value]
    return all(isinstance(field, tvm.ir.GenericConst) for field in fields)
