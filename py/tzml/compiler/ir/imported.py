"""A model as its frontend hands it on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tzml.preprocess import Quantization


@dataclass(frozen=True)
class Imported:
    """What a frontend makes of a model file: a Relax module whose `main` has static shapes."""

    module: Any  # tvm.IRModule
    input_names: tuple[str, ...]
    output_names: tuple[str, ...]
    quantization: dict[str, Quantization] = field(default_factory=dict)
