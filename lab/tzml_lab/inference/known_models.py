"""Models with known answers: samples, and what another runtime answers to them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tzml_zoo import digits

Array = NDArray[Any]

# the folder with an image's bundles
TARGET_FOLDER = "/usr/share/tzml/models"


@dataclass(frozen=True)
class KnownModel:
    """A classifier in the repository.

    Args:
        name: its bundle on the target is NAME.tzm
        held_out: samples it was not trained on, stacked along the first axis, and their classes
        answers: what `runtime`, another one than tzml, answers to samples
        accuracy: the least share of the samples that it must get right
        tolerance: the largest difference from these answers in any output
        step: what an output of 1 stands for, if outputs are integers

    """

    name: str
    held_out: Callable[[], tuple[Array, Array]]
    answers: Callable[[Array], Array]
    runtime: str
    accuracy: float
    tolerance: float
    step: float = 1.0

    @cached_property
    def samples(self) -> tuple[Array, Array]:
        """The held-out samples and their classes."""
        return self.held_out()

    @cached_property
    def reference(self) -> Array:
        """What the other runtime answers to the samples."""
        return self.answers(self.samples[0])

    def difference(self, outputs: Array) -> float:
        """The largest difference from the reference to as many samples, in real numbers."""
        return float(np.abs(outputs.astype(np.float64) - self.reference[: len(outputs)]).max() * self.step)


def _onnx_runtime(inputs: Array) -> Array:
    import onnxruntime  # takes a second, which a run without this test need not spend

    session = onnxruntime.InferenceSession(digits.ONNX, providers=["CPUExecutionProvider"])
    (name,) = [given.name for given in session.get_inputs()]
    return np.concatenate([session.run(None, {name: inputs[i : i + 1]})[0] for i in range(len(inputs))])


def _quantized_digits() -> tuple[Array, Array]:
    """The held-out digits for which LiteRT's answers were recorded."""
    inputs = np.load(digits.LITERT_ANSWERS)["x"]
    return inputs.reshape(-1, 28, 28, 1), digits.held_out_digits()[1][: len(inputs)]


def _litert(inputs: Array) -> Array:
    """LiteRT's answers as quantize.py recorded them, because LiteRT has no wheels for some Pythons."""
    answers: Array = np.load(digits.LITERT_ANSWERS)["litert"]
    assert len(answers) == len(inputs)
    return answers


# TFLite's specification of int8 fixes the step of a softmax's probabilities
_STEP = 1 / 256

KNOWN = {
    model.name: model
    for model in (
        KnownModel("digits", digits.held_out_digits, _onnx_runtime, "ONNX Runtime", accuracy=0.97, tolerance=1e-4),
        KnownModel(
            "digits_int8", _quantized_digits, _litert, "LiteRT", accuracy=0.96, tolerance=1.5 * _STEP, step=_STEP
        ),
    )
}
