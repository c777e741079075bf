"""Training: gradients and steps are those of float64."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from onnx import helper
from training_networks import CLASSES, MICRO_BATCH, convolutions, dense, erf, examples, global_pool, moved, relu6
from training_reference import Conv, Dense, Flatten, GroupedConv, Network, Pool, Relu, Smooth
from training_state import Trained, compiled, relative, shapes, with_a_program_that_reads_the_state

from tzml.client import World, open_model
from tzml.compiler.passes.training import TrainOptions


@contextmanager
def trained(folder: Path, network: Network, options: TrainOptions, data: bytes = b"") -> Iterator[Trained]:
    bundle = compiled(folder, data or network.onnx(), options)
    sizes = 2 * [p.size for layer in network.trained for p in layer.parameters]
    with_a_program_that_reads_the_state(bundle, sizes).write(folder / "model.tzm")
    for layer in network.trained:  # what the file has
        layer.parameters = [p.astype(np.float32).astype(np.float64) for p in layer.parameters]
    with open_model(folder / "model.tzm", World.ree) as model:
        yield Trained(model, shapes(network), MICRO_BATCH)


@pytest.mark.parametrize(
    "network",
    [
        pytest.param(convolutions(), id="convolutions"),
        pytest.param(
            Network((1, 9, 9), [Conv(1, 3, 5, seed=7), Pool("max", 3, 2, 1), Flatten(), Dense(27, 5, seed=8)]),
            id="padded maximum",
        ),
        pytest.param(
            Network(
                (4, 6, 6),
                [
                    GroupedConv(4, 2, 3, 9, pad=1),
                    GroupedConv(4, 4, 3, 10, pad=1),
                    Flatten(),
                    Dense(144, CLASSES, seed=11),
                ],
            ),
            id="groups",
        ),
        pytest.param(dense(Smooth("LeakyRelu", lambda x: np.where(x > 0, x, x / 8), alpha=0.125)), id="leaky relu"),
        pytest.param(dense(relu6()), id="relu6"),
        pytest.param(dense(Smooth("Gelu", lambda x: x / 2 * (1 + erf(x / 2**0.5)))), id="gelu"),
        pytest.param(Network((7,), [Dense(7, 16, seed=5), moved(), Dense(32, CLASSES, seed=6)]), id="moved"),
        pytest.param(global_pool(), id="global pool"),
        pytest.param(dense(Smooth("Sigmoid", lambda x: 1 / (1 + np.exp(-x)))), id="sigmoid"),
        pytest.param(dense(Smooth("Tanh", np.tanh)), id="tanh"),
    ],
)
def test_gradients_and_steps_are_those_of_float64(tmp_path: Path, network: Network) -> None:
    """With momentum and decay, over batches that are no multiple of the micro-batch."""
    momentum, decay, rate, count = 0.9, 0.01, 0.1, 10
    velocities = [np.zeros_like(p) for layer in network.trained for p in layer.parameters]
    options = TrainOptions("sgd", micro_batch=MICRO_BATCH, momentum=momentum, decay=decay)
    with trained(tmp_path, network, options) as ours:
        for step in range(3):
            x, labels = examples(network, count, seed=step)
            loss, right, gradients = network.gradients(x, labels)
            for program in ("evaluate", "accumulate"):
                our_loss, our_right = ours.accumulate(x, labels, program)
                assert our_loss == pytest.approx(loss, rel=1e-6)
                assert our_right == right
            _, sums = ours.state()
            for one, other in zip(sums, gradients, strict=True):
                assert relative(one, other) < 1e-5
            assert ours.update(rate, count) == step + 1
            places = [(layer, i) for layer in network.trained for i in range(len(layer.parameters))]
            for number, (layer, i) in enumerate(places):
                gradient = gradients[number] / count + decay * layer.parameters[i]
                velocities[number] = momentum * velocities[number] + gradient
                layer.parameters[i] = layer.parameters[i] - rate * velocities[number]
            weights, sums = ours.state()
            for one, (layer, i) in zip(weights, places, strict=True):
                assert relative(one, layer.parameters[i]) < 1e-5
                layer.parameters[i] = one  # each step begins with the same numbers
            assert not any(one.any() for one in sums)


def test_adam_and_the_squared_error_are_those_of_float64(tmp_path: Path) -> None:
    """Kingma and Ba's algorithm 1, with decay as PyTorch's Adam has it."""
    network = dense(Relu())
    decay, rate, count, betas = 0.01, 0.01, 6, (0.9, 0.999)
    numbers = [np.zeros_like(p) for layer in network.trained for p in layer.parameters]
    moments = [[m.copy(), m.copy()] for m in numbers]
    options = TrainOptions("adam", "mse", MICRO_BATCH, decay=decay)
    with trained(tmp_path, network, options) as ours:
        for step in range(1, 5):
            x, _ = examples(network, count, seed=step)
            targets = np.random.default_rng(step).standard_normal((count, CLASSES)).astype(np.float32)
            difference = network.forward(x) - targets
            network.backward(2 * difference / CLASSES)
            loss, _ = ours.accumulate(x, targets)
            assert loss == pytest.approx((difference**2).mean(1).sum(), rel=1e-6)
            assert ours.update(rate, count) == step
            weights = iter(zip(ours.state()[0], moments, strict=True))
            for layer in network.trained:
                for i, total in enumerate(layer.gradients):
                    gradient = total / count + decay * layer.parameters[i]
                    one, own = next(weights)
                    own[0] = betas[0] * own[0] + (1 - betas[0]) * gradient
                    own[1] = betas[1] * own[1] + (1 - betas[1]) * gradient**2
                    first, second = (m / (1 - beta**step) for m, beta in zip(own, betas, strict=True))
                    new = layer.parameters[i] - rate * first / (np.sqrt(second) + 1e-8)
                    assert relative(one, new) < 1e-5
                    layer.parameters[i] = one


@pytest.mark.parametrize("options", [TrainOptions("sgd"), TrainOptions("sgd", momentum=0.9), TrainOptions("adam")])
def test_a_batch_that_gives_no_numbers_can_be_forgotten(tmp_path: Path, options: TrainOptions) -> None:
    """An update of no examples leaves parameters, moments and the count of steps as they were."""
    network = dense(Relu())
    x, labels = examples(network, MICRO_BATCH)
    with trained(tmp_path, network, replace(options, micro_batch=MICRO_BATCH)) as ours:
        ours.accumulate(x, labels)
        assert ours.update(0.1, len(x)) == 1
        before = ours.state()[0]
        assert not math.isfinite(ours.accumulate(np.full_like(x, np.inf), labels)[0])
        assert ours.update(0.1, 0) == 1
        for one, other in zip(ours.state()[0], before, strict=True):
            np.testing.assert_array_equal(one, other)
        ours.accumulate(x, labels)
        assert ours.update(0.1, len(x)) == 2
        resumed = ours.state()[0]
        ours.model.reset()
        for _ in range(2):
            ours.accumulate(x, labels)
            ours.update(0.1, len(x))
        for one, other in zip(ours.state()[0], resumed, strict=True):
            np.testing.assert_array_equal(one, other)


def test_an_inference_takes_the_trained_parameters_and_a_reset_gives_back_the_old_ones(tmp_path: Path) -> None:
    """The model ends in a softmax, and the loss takes what goes into that."""
    network = dense(Relu())
    data = network.onnx(helper.make_node("Softmax", ["scores"], ["shares"], axis=-1), result="shares")
    x, labels = examples(network, MICRO_BATCH)
    with trained(tmp_path, network, TrainOptions("sgd", micro_batch=MICRO_BATCH), data) as ours:
        before = ours.model.run(x[:1], "infer").outputs["shares"]
        loss, _, gradients = network.gradients(x, labels)
        assert ours.accumulate(x, labels)[0] == pytest.approx(loss, rel=1e-6)
        ours.update(0.5, len(x))
        numbers = iter(gradients)
        for layer in network.trained:
            layer.parameters = [p - 0.5 * next(numbers) / len(x) for p in layer.parameters]
        scores = np.exp(network.forward(x[:1]))
        after = ours.model.run(x[:1], "infer").outputs["shares"]
        np.testing.assert_allclose(after, scores / scores.sum(), rtol=1e-5)
        assert not np.allclose(after, before, rtol=1e-3)
        ours.model.reset()
        np.testing.assert_array_equal(ours.model.run(x[:1], "infer").outputs["shares"], before)
