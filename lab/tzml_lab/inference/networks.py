"""Networks larger than the secure memory that they run in. They are compiled here and run on the target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tzml.bundle import Bundle
from tzml.client.image import load_image
from tzml.preprocess import parse
from tzml.signing import SigningKey
from tzml_zoo import ZooModel, models
from tzml_zoo.packages import photographs

Array = NDArray[Any]

SECURE_MEMORY = 8 << 20

# The first is small enough for every run. Its weights are random, and so are ResNet-18's.
PART = ("mobilenet_v2",)
FULL = (*PART, "efficientnet_lite0", "resnet18")


@dataclass(frozen=True)
class Network:
    """A network of the zoo, with the photographs that scikit-learn ships as its inputs.

    `difference` is the largest from ONNX Runtime that counts as none, for outputs of a magnitude of 1.
    """

    model: ZooModel
    difference: float = 1e-3

    @cached_property
    def photographs(self) -> Sequence[Path]:
        """All photographs, or only one for a network with random weights, whose answers mean nothing."""
        found = list(photographs().values())
        return found if self.model.labels else found[:1]

    @cached_property
    def inputs(self) -> list[Array]:
        """The photographs as the network's input."""
        about = {"resize": 256, "crop": [224, 224], "mean": [127, 127, 127], "std": [64, 64, 64]}
        preprocessing = parse(dict(self.model.preprocess or about), self.model.input_shape, self.model.name)
        return [load_image(photograph, preprocessing) for photograph in self.photographs]

    @cached_property
    def reference(self) -> Array:
        """What ONNX Runtime answers to the inputs, stacked."""
        import onnxruntime  # takes a second, which a run without this test need not spend

        session = onnxruntime.InferenceSession(self.model.onnx(), providers=["CPUExecutionProvider"])
        return np.concatenate([session.run(None, {self.model.input: x})[0] for x in self.inputs])

    def compile(self, machine: str, key: SigningKey) -> Bundle:
        """The network in SECURE_MEMORY, as `tzml compile` makes it. Raises CompileError."""
        from tzml.compiler import CompileOptions, compile_model  # brings TVM along, which takes seconds

        labels = self.model.labels() if self.model.labels else ()
        options = CompileOptions(
            machine, key, preprocess=self.model.preprocess or {}, labels=labels, secure_memory=SECURE_MEMORY
        )
        return compile_model(self.model.onnx(), options)


def networks(names: Sequence[str]) -> list[Network]:
    """The networks of those names."""
    return [Network(models()[name]) for name in names]
