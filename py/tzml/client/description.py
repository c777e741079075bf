"""What a bundle says of its inputs and outputs to whoever has the file, without running it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tzml.bundle import Direction, SectionType, Tensor, read_public, read_section
from tzml.metadata import Metadata, read_metadata


@dataclass(frozen=True)
class TensorInfo:
    """An input or output of the model."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Bytes."""
        return math.prod(self.shape) * self.dtype.itemsize

    def __str__(self) -> str:
        return f"{self.name}: {self.dtype}[{', '.join(map(str, self.shape))}]"


@dataclass(frozen=True)
class ModelDescription:
    """Inputs and outputs of a bundle's first entry point, and what the metadata says of them."""

    inputs: list[TensorInfo]
    outputs: list[TensorInfo]
    metadata: Metadata


def describe(bundle: Path) -> ModelDescription:
    """Read a bundle's description; a sealed one has it, too. Raises BundleError, or TzmlError for the metadata."""
    interface = read_public(bundle).interface
    first = [program for program in interface.programs if not program.entry]
    taken = {number for program in first for number in program.inputs}
    given = {number for program in first for number in program.outputs}

    def infos(numbers: set[int], direction: Direction) -> list[TensorInfo]:
        return [_info(t) for i, t in enumerate(interface.tensors) if i in numbers and t.direction == direction]

    inputs = infos(taken, Direction.input)
    metadata = read_metadata(read_section(bundle, SectionType.metadata), {info.name: info.shape for info in inputs})
    return ModelDescription(inputs, infos(given, Direction.output), metadata)


def _info(tensor: Tensor) -> TensorInfo:
    return TensorInfo(tensor.name, np.dtype(tensor.dtype.name), tuple(tensor.shape))
