"""A number that is none (NaN) stays none: in a maximum, a minimum, and all that is made of them.

So does an infinite one: TVM begins a maximum with the lowest finite number, which would be that of infinities only.

TVM computes the larger of two numbers as `a > b ? a : b`, which is b where a is NaN: a relu would make 0 of it, and
a network a plausible answer. PyTorch and TensorFlow keep NaN; ONNX Runtime does, but for poolings and reductions.
An integer cannot be NaN: what is limited to be rounded to one becomes the lowest, as ONNX Runtime has it. The index
that ArgMax gives is as undefined as it is there.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tvm_ffi
from tvm import tirx

Expr = Any


def keep_nan(function: Any, target: Any) -> Any:
    """A lowered function whose maxima and minima keep NaN and infinities. No pass may reorder operands after it.

    Numbers of a model are arguments: the largest and the lowest of a type are those that TVM begins with.
    """
    has_instruction = str(target.export()["mtriple"]).startswith("aarch64")

    def instruction(name: str, a: Expr, b: Expr) -> Expr:
        return tirx.call_llvm_pure_intrin(a.ty, f"llvm.{name}", a, b)

    def lowest(cast: Any) -> Any:
        """NaN to the lowest integer, where the limits are next to the conversion."""
        outer = cast.value
        inner = outer.a if isinstance(outer, tirx.Min) and isinstance(outer.a, tirx.Max) else outer
        if not isinstance(inner, tirx.Max) or not _is_float(inner) or _is_float(cast) or not _is_known(inner.b):
            return cast
        number = (
            instruction("maxnum", inner.a, inner.b)
            if has_instruction
            else tirx.Select(inner.a > inner.b, inner.a, inner.b)
        )
        return tirx.Cast(cast.ty, tirx.Min(number, outer.b) if inner is not outer else number)

    def keep(kind: Any, name: str) -> Any:
        def change(node: Any) -> Any:
            if not _is_float(node):
                return node
            if has_instruction or not (_is_known(node.a) or _is_known(node.b)):
                return instruction(name, node.a, node.b)
            # the number that is known comes first: `c > x ? c : x`, one instruction of x86
            return kind(node.b, node.a) if _is_known(node.b) else node

        return change

    function = tvm_ffi.structural_map(function, [(tirx.FloatImm, _unlimited), (tirx.Cast, lowest)])
    for kind, name in ((tirx.Max, "maximum"), (tirx.Min, "minimum")):
        function = tvm_ffi.structural_map(function, (kind, keep(kind, name)))
    return function


def _unlimited(number: Any) -> Any:
    """Infinity instead of the largest or the lowest number of a type."""
    kind = str(number.ty.dtype)
    if kind in ("float16", "float32", "float64") and abs(number.value) == np.finfo(kind).max:
        return tirx.FloatImm(number.ty, np.copysign(np.inf, number.value))
    return number


def _is_float(value: Expr) -> bool:
    return "float" in str(value.ty.dtype)


def _is_known(value: Expr) -> bool:
    return isinstance(value, tirx.FloatImm) or (isinstance(value, tirx.Broadcast) and _is_known(value.value))
