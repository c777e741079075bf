"""What passes between the layers of a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tzml.compiler.ir.imported import Imported
from tzml.compiler.ir.shapes import element_bytes, result_types, static_shape
from tzml.compiler.passes.cut import cut
from tzml.compiler.passes.layers import SourceLayer

CALLER = -1
"""The source of a value that the caller gives."""


@dataclass(frozen=True)
class PassedValue:
    """A tensor of `size` bytes that layers hand on: the indices, from 0, of who computes it and of who takes it.

    `source` is CALLER for an input of the model. `is_output` says whether the caller gets it.
    """

    size: int
    source: int
    users: tuple[int, ...]
    is_output: bool


def passed_values(imported: Imported, layers: Sequence[SourceLayer]) -> list[PassedValue]:
    """All of them, with what the caller gives and gets. Raises CompileError for a model that cannot be cut."""
    parts = cut(imported, layers, [range(i, i + 1) for i in range(len(layers))])
    sizes: dict[str, int] = {}
    sources: dict[str, int] = {}
    users: dict[str, list[int]] = {}
    for index, part in enumerate(parts):
        sizes |= _sizes(part.input_names, [parameter.ty for parameter in part.module["main"].params])
        sizes |= _sizes(part.output_names, result_types(part.module))
        sources |= dict.fromkeys(part.output_names, index)
        for name in part.input_names:
            users.setdefault(name, []).append(index)
    outputs = set(imported.output_names)
    return [
        PassedValue(size, sources.get(name, CALLER), tuple(users.get(name, ())), name in outputs)
        for name, size in sizes.items()
    ]


def _sizes(names: Sequence[str], types: Sequence[Any]) -> dict[str, int]:
    return {n: element_bytes(static_shape(kind), kind.dtype) for n, kind in zip(names, types, strict=True)}
