"""A model as its frontend hands it on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tzml.compiler.ir.graph import StateBuffer
from tzml.compiler.ir.layer_names import Source
from tzml.preprocess import Quantization


@dataclass(frozen=True)
class Imported:
    """What a frontend makes of a model file.

    Attributes:
        module: A tvm.IRModule of Relax, whose `main` has static shapes and no control flow. Weights are constants.
        input_names: Of the parameters of `main`, in their order.
        output_names: Of its result, or of the first fields of that, in their order.
        quantization: What the integers of an input or output stand for, by its name; real ones have none.
        sources: The file's operators; the variables of `main` have their numbers (ir/layer_names.py).
        state: What the parameters of `main` behind the inputs stand for; no model file has any.
        random: Names of inputs that the world fills with random bytes; no model file has any.

    """

    module: Any
    input_names: tuple[str, ...]
    output_names: tuple[str, ...]
    quantization: dict[str, Quantization] = field(default_factory=dict)
    sources: tuple[Source, ...] = ()
    state: tuple[StateBuffer, ...] = ()
    random: tuple[str, ...] = ()
