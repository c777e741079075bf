"""Which layers of a model take more instructions for some numbers than for others.

Kernels have no loop and no branch that depends on a number; the operator table says of which operators that is not
true (`timing`), and a frontend's own tensor functions say so themselves (`TELLS`). Of an operator without a row,
and of code that a model brings along, nobody has measured it.
"""

from __future__ import annotations

from typing import Any

from tvm import relax

from tzml.compiler.ir.imported import Imported
from tzml.compiler.ir.layer_names import numbers_of
from tzml.compiler.ir.operators import TELLS, operator
from tzml.compiler.ir.rewrite import bindings_of, op_name


def layers_that_tell(imported: Imported) -> tuple[str, ...]:
    """The layers of a model that `lower.prepare` has simplified whose time may tell of their input, in words."""
    bindings = bindings_of(imported.module["main"])
    found: dict[str, None] = {}
    for binding, number in zip(bindings, numbers_of([b.var for b in bindings]), strict=True):
        if not isinstance(binding.value, relax.Call):
            continue
        row = operator(binding.value)
        if row is not None and not row.timing and not _says_so(imported, binding.value):
            continue
        named = number < len(imported.sources)
        source = imported.sources[number] if named else None
        name = op_name(binding.value).removeprefix("relax.") or "code of the model"
        found[f"{source.name} ({source.operator})" if source else name] = None
    return tuple(found)


def _says_so(imported: Imported, call: Any) -> bool:
    """Whether it is a call of a tensor function that tells of its numbers."""
    if op_name(call) != "relax.call_tir":
        return False
    attributes = imported.module[call.args[0]].attrs
    return bool(attributes) and TELLS in attributes
