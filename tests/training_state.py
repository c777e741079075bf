"""A model in training whose state tests can see."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from training_reference import Floats, Network

from tzml.bundle import Bundle, Direction, DType, Port, Program, Region, Role, Tensor
from tzml.client import Model
from tzml.compiler import CompileOptions, compile_model
from tzml.compiler.passes.training import TrainOptions


def with_a_program_that_reads_the_state(bundle: Bundle, sizes: list[int]) -> Bundle:
    """The bundle with a program `read`, which gives rows of float32 in the state one after another.

    No bundle that tzml makes has such a program: the state leaves only as the plans say.
    """
    first, offset, tensors, ports = len(bundle.tensors), 0, [], []
    for number, size in enumerate(sizes):
        tensors.append(Tensor(f"state{number}", DType.float32, (size,), Direction.output))
        ports.append(Port(first + number, offset, Region.state))
        offset += math.ceil(size * 4 / 64) * 64
    asked = next(p for p in bundle.programs if p.name == "update")
    read = Program("read", asked.inputs, tuple(ports), (), asked.kernels_digest, role=Role.infer, entry=4)
    return replace(bundle, tensors=(*bundle.tensors, *tensors), programs=(*bundle.programs, read))


class Trained:
    """A model in training, with its parameters and the sums of gradients in sight."""

    def __init__(self, model: Model, shapes: list[tuple[int, ...]], micro_batch: int) -> None:
        self.model, self.shapes, self.micro_batch = model, shapes, micro_batch

    def accumulate(self, x: NDArray[Any], labels: NDArray[Any], program: str = "accumulate") -> tuple[float, int]:
        """Loss and right answers, over as many micro-batches as it takes."""
        loss = right = 0.0
        for start in range(0, len(x), self.micro_batch):
            part, own = x[start : start + self.micro_batch], labels[start : start + self.micro_batch]
            count = len(part)
            part = np.concatenate([part, np.ones((self.micro_batch - count, *x.shape[1:]), x.dtype)])
            own = np.concatenate([own, np.zeros((self.micro_batch - count, *labels.shape[1:]), labels.dtype)])
            target = "labels" if labels.dtype == np.int32 else "targets"
            given = {"examples": part, target: own, "count": np.array(count, np.int32)}
            outputs = self.model.run(given, program).outputs
            loss += float(outputs["loss_sum"])
            right += float(outputs.get("correct", 0))
        return loss, int(right)

    def update(self, rate: float, batch_size: int) -> int:
        outputs = self.model.run(self._update_inputs(rate, batch_size), "update").outputs
        return int(outputs["step"][0])

    def state(self) -> tuple[list[Floats], list[Floats]]:
        """The parameters, and the sums of gradients."""
        outputs = self.model.run(self._update_inputs(0, 1), "read").outputs
        rows = [outputs[f"state{i}"].astype(np.float64) for i in range(2 * len(self.shapes))]
        shaped = [row.reshape(shape) for row, shape in zip(rows, [*self.shapes, *self.shapes], strict=True)]
        return shaped[: len(self.shapes)], shaped[len(self.shapes) :]

    @staticmethod
    def _update_inputs(rate: float, batch_size: int) -> dict[str, NDArray[Any]]:
        return {"rate": np.array(rate, np.float32), "batch_size": np.array(batch_size, np.int32)}


def compiled(folder: Path, data: bytes, train: TrainOptions) -> Bundle:
    (folder / "model.onnx").write_bytes(data)
    return compile_model(folder / "model.onnx", CompileOptions("host", train=train))


def shapes(network: Network) -> list[tuple[int, ...]]:
    """Of the parameters."""
    return [p.shape for layer in network.trained for p in layer.parameters]


def relative(one: Floats, other: Floats) -> float:
    """The largest difference, by the largest number."""
    return float(np.abs(one - other).max() / np.abs(other).max())
