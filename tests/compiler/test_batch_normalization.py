"""Batch normalisation in training: a micro-batch goes by its own statistics, which the running ones follow."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from training_networks import CLASSES, MICRO_BATCH, examples
from training_reference import BatchNorm, Conv, Dense, Flatten, Floats, Network, Relu
from training_state import Trained, compiled, relative, with_a_program_that_reads_the_state

from tzml.bundle import Bundle
from tzml.client import World, open_model
from tzml.compiler.passes.training import TrainOptions

STATISTICS = ("mean", "variance")


def network() -> Network:
    """Behind a convolution and behind a dense layer."""
    return Network(
        (2, 5, 6),
        [
            Conv(2, 4, 3, seed=1), BatchNorm(4, seed=2), Relu(), Flatten(),
            Dense(48, 6, seed=3), BatchNorm(6, seed=4), Relu(), Dense(6, CLASSES, seed=5),
        ],
    )  # fmt: skip


def state(ours: Trained, bundle: Bundle) -> dict[str, Floats]:
    """All that the session has learned, by the names in the notes."""
    inputs = {"rate": np.array(0, np.float32), "batch_size": np.array(0, np.int32)}
    found = ours.model.run(inputs, "read").outputs["state0"].astype(np.float64)
    return {
        name: found[offset // 4 : offset // 4 + math.prod(shape)].reshape(shape)
        for name, offset, shape in json.loads(bundle.notes)["state"]
    }


def difference(one: Floats, other: Floats) -> float:
    """The largest, by 1 or the largest number: a bias before a batch normalisation has no gradient at all."""
    return float(np.abs(one - other).max() / max(1, np.abs(other).max()))


def test_losses_gradients_and_statistics_are_those_of_float64(tmp_path: Path) -> None:
    """Also of a micro-batch that is not full: what stands behind its examples does not count."""
    reference, rate, count = network(), 0.1, MICRO_BATCH + 3
    norms = [layer for layer in reference.layers if isinstance(layer, BatchNorm)]
    bundle = compiled(tmp_path, reference.onnx(), TrainOptions("sgd", micro_batch=MICRO_BATCH))
    with_a_program_that_reads_the_state(bundle, [bundle.memory.state_size // 4]).write(tmp_path / "model.tzm")
    with open_model(tmp_path / "model.tzm", World.ree) as model:
        ours = Trained(model, [], MICRO_BATCH)
        names = list(state(ours, bundle))
        own = [name for name in names if name.rpartition(".")[2] in ("weight", "bias", "scale", "shift")]
        sums = [f"{name}.gradient" for name in own]
        running = [name for name in names if name.rpartition(".")[2] in STATISTICS]
        assert (len(own), len(running)) == (10, 4)
        for step in range(3):
            x, labels = examples(reference, count, seed=step)
            loss, right, gradients = 0.0, 0, [0.0 * p for layer in reference.trained for p in layer.parameters]
            for start in range(0, count, MICRO_BATCH):
                part = slice(start, start + MICRO_BATCH)
                some, also, more = reference.gradients(x[part], labels[part])
                loss, right = loss + some, right + also
                gradients = [total + one for total, one in zip(gradients, more, strict=True)]
            our_loss, our_right = ours.accumulate(x, labels)
            assert our_loss == pytest.approx(loss, rel=1e-6)
            assert our_right == right
            found = state(ours, bundle)
            for name, gradient in zip(sums, gradients, strict=True):
                assert difference(found[name], gradient) < 1e-5
            expected = [array for norm in norms for array in (norm.mean, norm.variance)]
            for name, statistic in zip(running, expected, strict=True):
                assert relative(found[name], statistic) < 1e-6
            assert ours.update(rate, count) == step + 1
            found = state(ours, bundle)
            numbers = iter(zip(own, gradients, strict=True))
            for layer in reference.trained:
                for i, parameter in enumerate(layer.parameters):
                    name, gradient = next(numbers)
                    assert relative(found[name], parameter - rate * gradient / count) < 1e-5
                    layer.parameters[i] = found[name]
            for norm in norms:
                norm.trains = False
            shares = np.exp(reference.forward(x))
            expected_loss = -np.log((shares / shares.sum(1, keepdims=True))[np.arange(count), labels]).sum()
            assert ours.accumulate(x, labels, "evaluate")[0] == pytest.approx(expected_loss, rel=1e-5)
            scores = ours.model.run(x[:1], "infer").outputs["scores"]
            np.testing.assert_allclose(scores, reference.forward(x[:1]), rtol=1e-4, atol=1e-5)
            for norm in norms:
                norm.trains = True


def test_statistics_that_are_no_numbers_are_not_followed(tmp_path: Path) -> None:
    reference = network()
    bundle = compiled(tmp_path, reference.onnx(), TrainOptions("sgd", micro_batch=MICRO_BATCH))
    with_a_program_that_reads_the_state(bundle, [bundle.memory.state_size // 4]).write(tmp_path / "model.tzm")
    x, labels = examples(reference, MICRO_BATCH)
    with open_model(tmp_path / "model.tzm", World.ree) as model:
        ours = Trained(model, [], MICRO_BATCH)
        before = state(ours, bundle)
        x[1, 0, 2, 2] = np.inf
        assert not np.isfinite(ours.accumulate(x, labels)[0])
        assert ours.update(0.1, MICRO_BATCH) == 0
        after = state(ours, bundle)
        assert list(after) == list(before)
        assert all(np.array_equal(after[name], before[name]) for name in before)
