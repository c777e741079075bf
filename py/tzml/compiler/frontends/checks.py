"""What every imported module goes through, whatever it was made from."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import tvm
from tvm import relax

from tzml.bundle.format import MAX_MEMORY
from tzml.compiler.frontends.bounds import limit_indices
from tzml.compiler.frontends.errors import unsupported
from tzml.compiler.ir.errors import CompileError

Warn = Callable[[str], None]


_COMPUTED = {
    "bool", "float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32",
    "uint64",
}  # fmt: skip
"""Types of elements. LLVM crashes with others, as bfloat16."""


def checked(module: Any, file: str) -> Any:
    """The module, with its indices in bounds. Raises CompileError for what no plan can be made for."""
    _check_shapes(module, file)
    return limit_indices(module)


def check_type(file: str, operator: str, layer: str, kind: str) -> None:
    """Refuse a layer with elements of a type that no kernel computes."""
    if kind == "object":
        raise unsupported(
            file, [(operator, layer)], "its elements are strings; process text outside of the network"
        )
    if kind not in _COMPUTED:
        remedy = f"its elements are of type {kind}, which no kernel computes; export it in float32"
        raise unsupported(file, [(operator, layer)], remedy)


def check_size(file: str, value: str, shape: Sequence[int], element: int) -> None:
    """Refuse a value that no bundle has memory for; `element` is the size of an element in bytes."""
    if math.prod(shape) * element > MAX_MEMORY:
        raise CompileError(f"{file}: the value {value} has shape {list(shape)}, over 4 GiB")


_SELDOM = ("float64", "uint16", "uint32", "uint64")


def check_ports(module: Any, file: str) -> None:
    """Refuse inputs and outputs of types that only ONNX's operators were compared in; TVM may narrow them."""
    main = module["main"]
    for kind in (*(p.ty for p in main.params), main.ret_ty):
        for tensor in _tensor_types(kind):
            if str(tensor.dtype) in _SELDOM:
                raise CompileError(
                    f"{file}: an input or output is of type {tensor.dtype}, which only ONNX models may have",
                    "export the model in float32, or as ONNX",
                )


def warn_of_nan(weights: Iterator[tuple[str, Any]], warn: Warn) -> None:
    """Warn of weights with values that are not numbers: the model was not trained well, or is damaged."""
    names = [name for name, array in weights if array.dtype.kind == "f" and not np.isfinite(array).all()]
    if names:
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        warn(f"there are NaN or infinite values in the weights {', '.join(names[:3])}{more}")


def _check_shapes(module: Any, file: str) -> None:
    """Refuse what no plan can be made for: shapes that depend on the data, and sizes beyond all memory.

    `module` is Relax; constants are not folded yet, so nothing large was allocated.
    """
    for block in module["main"].body.blocks:
        for binding in block.bindings:
            operator = getattr(getattr(binding.value, "op", None), "name", "")
            for kind in _tensor_types(binding.var.ty):
                check_type(
                    file, operator.removeprefix("relax.") or "an operator", binding.var.name, str(kind.dtype)
                )
                sizes = [int(d) if isinstance(d, tvm.tirx.IntImm) else None for d in _dimensions(kind)]
                if (not sizes and kind.ndim != 0) or None in sizes:
                    raise unsupported(
                        file,
                        [(operator.removeprefix("relax.") or "an operator", binding.var.name)],
                        "the shape of its output depends on the data; every shape must be known when compiling",
                    )
                known = [d for d in sizes if d is not None]
                check_size(file, binding.var.name, known, np.dtype(str(kind.dtype)).itemsize)


def _tensor_types(kind: Any) -> Iterator[Any]:
    if isinstance(kind, relax.TensorType):
        yield kind
    for field in getattr(kind, "fields", ()):
        yield from _tensor_types(field)


def _dimensions(kind: Any) -> Sequence[Any]:
    shape = kind.shape
    if shape is None:
        return [None]
    return list(shape.values) if hasattr(shape, "values") else list(shape)
