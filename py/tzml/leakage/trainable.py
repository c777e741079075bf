"""A model that can be trained, whose parameters can be given other values before it is opened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tzml.bundle import Bundle, Content
from tzml.bundle.format import align
from tzml.compiler.compile import CompileOptions, compile_training
from tzml.compiler.ir.imported import Imported
from tzml.compiler.ir.progress import Progress, no_progress
from tzml.compiler.passes.layers import find_layers
from tzml.compiler.passes.training import EXAMPLES, TrainOptions
from tzml.compiler.passes.training.parameters import find_parameters, trained_layers


@dataclass(frozen=True)
class ParameterPlace:
    """A parameter of float32: its name, the index (from 0) of its layer, its shape, and its offset in the state."""

    name: str
    layer: int
    shape: tuple[int, ...]
    offset: int


@dataclass(frozen=True)
class TrainableModel:
    """A bundle with programs to train, and where its parameters are."""

    bundle: Bundle
    parameters: tuple[ParameterPlace, ...]

    def with_values(self, values: Mapping[int, NDArray[np.float32]]) -> Bundle:
        """The bundle with these values in place of the parameters' own, by their index in `parameters`."""
        contents = [bytearray(piece.tobytes()) for piece in self.bundle.pieces]
        for index, value in values.items():
            parameter = self.parameters[index]
            data = value.astype(np.float32).reshape(parameter.shape).tobytes()
            for piece, content in zip(self.bundle.memory.pieces, contents, strict=True):
                if piece.offset <= parameter.offset < piece.offset + piece.size:
                    start = parameter.offset - piece.offset
                    content[start : start + len(data)] = data
        return replace(self.bundle, pieces=tuple(Content((bytes(content),)) for content in contents))


def compile_trainable(
    path: Path, imported: Imported, options: CompileOptions, train: TrainOptions, progress: Progress = no_progress
) -> TrainableModel:
    """A simplified model, or a part of one, of a file, with programs to train it. Raises CompileError.

    The part may have several inputs.
    """
    layers = find_layers(imported)
    layer_of = {binding.var: index for index, layer in enumerate(layers) for binding in layer.bindings}
    places, offset = [], 0  # planning/state.py has the parameters first, one after another
    for parameter in find_parameters(trained_layers(imported, train.freeze)):
        places.append(ParameterPlace(parameter.name, layer_of[parameter.uses[0][0]], parameter.value.shape, offset))
        offset += align(parameter.value.nbytes)
    several = len(imported.input_names) > 1
    examples = [f"{EXAMPLES}_{i}" for i, _ in enumerate(imported.input_names, 1)] if several else [EXAMPLES]
    return TrainableModel(compile_training(path, imported, options, train, progress, examples), tuple(places))
