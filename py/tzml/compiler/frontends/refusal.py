"""Why a model would be refused."""

from __future__ import annotations

from dataclasses import dataclass

from tzml.compiler.ir.errors import CompileError, UnsupportedError


@dataclass(frozen=True)
class RefusedLayer:
    """A reason to refuse a layer, or, without operator and layer, the model as a whole."""

    operator: str
    layer: str
    why: str


def refusals(error: CompileError) -> list[RefusedLayer]:
    """What an error of a frontend says: of layers, with what can be done about it, or of the model."""
    if isinstance(error, UnsupportedError):
        return [
            RefusedLayer(operator, layer, each.remedy)
            for each in (error, *error.others)
            for operator, layer in each.layers
        ]
    return [RefusedLayer("", "", str(error))]
