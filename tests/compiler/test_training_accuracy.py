"""A whole training is as good as the same one in float64."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from training_networks import lenet
from training_reference import Floats, Network

from tzml.client import Trainer, World, open_model
from tzml.compiler import CompileOptions, compile_model
from tzml.compiler.passes.training import TrainOptions
from tzml_zoo.digits import held_out_digits, training_digits

SEEDS = (1, 2, 3)
EPOCHS, BATCH, RATE, MOMENTUM, TRAINED = 3, 50, 0.05, 0.9, 2000


def in_float64(network: Network, images: NDArray[np.float32], labels: NDArray[np.int64], seed: int) -> None:
    """The steps of Trainer.epoch with SGD, in the same order."""
    generator = np.random.default_rng(seed)
    velocities: dict[tuple[int, int], Floats | float] = {}
    for _ in range(EPOCHS):
        order = generator.permutation(len(images))
        for start in range(0, len(images), BATCH):
            chosen = order[start : start + BATCH]
            network.gradients(images[chosen], labels[chosen])
            for number, layer in enumerate(network.trained):
                for i, gradient in enumerate(layer.gradients):
                    velocity = MOMENTUM * velocities.get((number, i), 0.0) + gradient / len(chosen)
                    velocities[number, i] = velocity
                    layer.parameters[i] = layer.parameters[i] - RATE * velocity


@pytest.mark.full
@pytest.mark.usefixtures("libtzml")
def test_accuracy_is_that_of_float64_within_the_spread_of_seeds(tmp_path: Path) -> None:
    """Trajectories are chaotic, so losses are not compared step by step."""
    images, labels = (array[:TRAINED] for array in training_digits())
    held_out, right = held_out_digits()
    ours, theirs = [], []
    for seed in SEEDS:
        network = lenet(seed)
        (tmp_path / "lenet.onnx").write_bytes(network.onnx())
        train = TrainOptions("sgd", micro_batch=10, momentum=MOMENTUM)
        compile_model(tmp_path / "lenet.onnx", CompileOptions("host", train=train)).write(tmp_path / "lenet.tzm")
        with open_model(tmp_path / "lenet.tzm", World.ree) as model:
            trainer, generator = Trainer(model), np.random.default_rng(seed)
            for _ in range(EPOCHS):
                trainer.epoch(images, labels, BATCH, RATE, generator)
            ours.append(trainer.evaluate(held_out, right).accuracy or 0)
        in_float64(network, images, labels, seed)
        theirs.append(float((network.forward(held_out).argmax(1) == right).mean()))
    print(f"accuracy {ours}, in float64 {theirs}")
    assert abs(np.mean(ours) - np.mean(theirs)) <= max(np.ptp(ours), np.ptp(theirs))
    assert min(ours) > 0.9
