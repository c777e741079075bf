"""Shapes, and how many bytes they take."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import tvm
from tvm import relax


def static_shape(kind: Any) -> tuple[int, ...]:
    """The shape of a tensor type of Relax, none of whose dimensions is open."""
    return tuple(map(int, kind.shape.values if hasattr(kind.shape, "values") else kind.shape))


def result_types(module: Any) -> list[Any]:
    """The tensor types of the results of `main`, which are one tensor or a tuple of them."""
    kind = module["main"].body.ty
    return list(kind.fields) if isinstance(kind, relax.TupleType) else [kind]


def element_bytes(shape: Sequence[Any], dtype: Any) -> int:
    """Bytes of so many elements; after StorageRewrite an element may be a vector: bits times lanes."""
    element = tvm.DataType(str(dtype))
    return math.prod(map(int, shape)) * int(element.bits) * max(1, int(element.lanes)) // 8
