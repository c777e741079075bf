"""The models that the lab has data for: what a bundle on the target must answer, computed elsewhere."""
# mypy: disable-error-code="import-untyped,import-not-found"

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tzml_zoo import digits

Array = NDArray[Any]

# where an image has its bundles
TARGET_FOLDER = "/usr/share/tzml/models"


@dataclass(frozen=True)
class KnownModel:
    """A classifier in the repository.

    Args:
        name: its bundle on the target is NAME.tzm
        onnx: the trained network
        held_out: samples it was not trained on, stacked along the first axis, and their classes
        accuracy: the least share of them that it must get right
        tolerance: the largest difference from ONNX Runtime in any output

    """

    name: str
    onnx: Path
    held_out: Callable[[], tuple[Array, Array]]
    accuracy: float
    tolerance: float = 1e-4

    @cached_property
    def samples(self) -> tuple[Array, Array]:
        """The held-out samples and their classes."""
        return self.held_out()

    @cached_property
    def reference(self) -> Array:
        """What ONNX Runtime answers to the samples."""
        import onnxruntime  # takes a second, which a run without this test need not spend

        session = onnxruntime.InferenceSession(self.onnx, providers=["CPUExecutionProvider"])
        (name,) = [given.name for given in session.get_inputs()]
        inputs, _ = self.samples
        return np.concatenate([session.run(None, {name: inputs[i : i + 1]})[0] for i in range(len(inputs))])


KNOWN = {
    model.name: model
    for model in (KnownModel("digits", digits.ONNX, digits.held_out_digits, accuracy=0.97),)
}  # fmt: skip
