"""Training: gradients and steps against float64, and what is refused."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from training_reference import Conv, Dense, Flatten, Floats, GroupedConv, Layer, Network, Nodes, Pool, Relu, Smooth
from training_state import Trained, with_a_program_that_reads_the_state

from tzml.bundle import Bundle, Region, Role
from tzml.client import World, open_model
from tzml.compiler import CompileOptions, compile_model
from tzml.compiler.ir.errors import CompileError
from tzml.compiler.passes.training import TrainOptions
from tzml.owner.keys import OwnerKey
from tzml.owner.seal import seal
from tzml.signing import load_signing_key

MICRO_BATCH = 4
CLASSES = 5


def convolutions() -> Network:
    """Convolutions with and without stride and padding, both poolings, two dense layers."""
    return Network(
        (2, 11, 9),
        [
            Conv(2, 4, 3, seed=1, pad=1), Relu(), Pool("max", 2, 2),
            Conv(4, 6, 3, seed=2, stride=2, pad=1), Relu(), Pool("avg", 2, 1),
            Flatten(), Dense(12, 8, seed=3), Relu(), Dense(8, CLASSES, seed=4),
        ],
    )  # fmt: skip


erf = np.vectorize(math.erf)


def relu6() -> Layer:
    def make(given: str, output: str) -> list[onnx.NodeProto]:
        limits = [
            helper.make_node("Constant", [], [name], value_float=n) for name, n in (("low", 0.0), ("high", 6.0))
        ]
        return [*limits, helper.make_node("Clip", [given, "low", "high"], [output])]

    return Nodes(lambda x: np.clip(x, 0, 6), make)


def moved() -> Layer:
    """Softmax, mean, quotient and root of 16 numbers, which are moved and put together to 32."""

    def function(x: Floats) -> Floats:
        r = x.reshape(-1, 4, 4)
        t = r.transpose(0, 2, 1)
        powers = np.exp(t)
        quotient = np.exp(-t) / np.sqrt(r * r + 1)
        whole = np.concatenate([powers / powers.sum(2, keepdims=True), quotient - r.mean(2, keepdims=True)], 2)
        return whole.reshape(-1, 32)

    def make(given: str, output: str) -> list[onnx.NodeProto]:
        node = helper.make_node
        return [
            node("Constant", [], ["square"], value_ints=[1, 4, 4]),
            node("Constant", [], ["row"], value_ints=[1, 32]),
            node("Constant", [], ["axis"], value_ints=[2]), node("Constant", [], ["one"], value_float=1.0),
            node("Reshape", [given, "square"], ["r"]), node("Transpose", ["r"], ["t"], perm=[0, 2, 1]),
            node("Softmax", ["t"], ["s"], axis=2), node("Neg", ["t"], ["n"]), node("Exp", ["n"], ["e"]),
            node("Mul", ["r", "r"], ["rr"]), node("Add", ["rr", "one"], ["rr1"]), node("Sqrt", ["rr1"], ["root"]),
            node("Div", ["e", "root"], ["q"]), node("ReduceMean", ["r", "axis"], ["m"], keepdims=1),
            node("Sub", ["q", "m"], ["d"]), node("Concat", ["s", "d"], ["c"], axis=2),
            node("Reshape", ["c", "row"], [output]),
        ]  # fmt: skip

    return Nodes(function, make)


def global_pool() -> Network:
    """The mean of an image, as networks have it before their last layer."""

    def make(given: str, output: str) -> list[onnx.NodeProto]:
        return [helper.make_node("GlobalAveragePool", [given], [output])]

    mean = Pool("avg", 5, 1)
    mean.nodes = lambda inputs, output, name: make(inputs[0], output)  # type: ignore[method-assign]
    return Network((2, 5, 5), [Conv(2, 6, 3, 12, pad=1), Relu(), mean, Flatten(), Dense(6, CLASSES, seed=13)])


def dense(*between: Layer) -> Network:
    """Dense layers with something between them."""
    return Network((7,), [Dense(7, 16, seed=5), *between, Dense(16, CLASSES, seed=6)])


def examples(network: Network, count: int, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((count, *network.shape)).astype(np.float32)
    return x, rng.integers(0, CLASSES, count).astype(np.int32)


def compiled(folder: Path, data: bytes, train: TrainOptions) -> Bundle:
    (folder / "model.onnx").write_bytes(data)
    return compile_model(folder / "model.onnx", CompileOptions("host", train=train))


def shapes(network: Network) -> list[tuple[int, ...]]:
    """Of the parameters."""
    return [p.shape for layer in network.trained for p in layer.parameters]


@contextmanager
def trained(folder: Path, network: Network, options: TrainOptions, data: bytes = b"") -> Iterator[Trained]:
    bundle = compiled(folder, data or network.onnx(), options)
    sizes = 2 * [p.size for layer in network.trained for p in layer.parameters]
    with_a_program_that_reads_the_state(bundle, sizes).write(folder / "model.tzm")
    for layer in network.trained:  # what the file has
        layer.parameters = [p.astype(np.float32).astype(np.float64) for p in layer.parameters]
    with open_model(folder / "model.tzm", World.ree) as model:
        yield Trained(model, shapes(network), MICRO_BATCH)


def relative(one: Floats, other: Floats) -> float:
    """The largest difference, by the largest number."""
    return float(np.abs(one - other).max() / np.abs(other).max())


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


def test_frozen_layers_keep_their_numbers(tmp_path: Path) -> None:
    network = convolutions()
    bundle = compiled(tmp_path, network.onnx(), TrainOptions("sgd", micro_batch=MICRO_BATCH, freeze=("1:4",)))
    sizes = [p.size for layer in network.trained[2:] for p in layer.parameters]
    with_a_program_that_reads_the_state(bundle, 2 * sizes).write(tmp_path / "model.tzm")
    x, labels = examples(network, MICRO_BATCH)
    loss, _, gradients = network.gradients(x, labels)
    with open_model(tmp_path / "model.tzm", World.ree) as model:
        ours = Trained(model, shapes(network)[4:], MICRO_BATCH)
        assert ours.accumulate(x, labels)[0] == pytest.approx(loss, rel=1e-6)
        for one, other in zip(ours.state()[1], gradients[4:], strict=True):
            assert relative(one, other) < 1e-5


def test_batch_normalisation_is_refused_but_in_layers_that_are_frozen(tmp_path: Path) -> None:
    rng = np.random.default_rng(14)
    scale, shift, mean, variance = (rng.uniform(0.5, 1.5, 4).astype(np.float32) for _ in range(4))

    def make(given: str, output: str) -> list[onnx.NodeProto]:
        constants = {"scale": scale, "shift": shift, "mean": mean, "variance": variance}
        nodes = [
            helper.make_node("Constant", [], [name], value=numpy_helper.from_array(array, name))
            for name, array in constants.items()
        ]
        return [*nodes, helper.make_node("BatchNormalization", [given, *constants], [output], "norm")]

    def normalized(x: Floats) -> Floats:
        whole, share, middle, squares = (array[:, None, None] for array in (scale, shift, mean, variance))
        result: Floats = (x - middle) / np.sqrt(squares + 1e-5) * whole + share
        return result

    layers = [Conv(2, 4, 3, 1), Nodes(normalized, make), Relu(), Flatten(), Dense(36, CLASSES, 2)]
    network = Network((2, 5, 5), layers)
    data = network.onnx()
    with pytest.raises(CompileError) as error:
        compiled(tmp_path, data, TrainOptions("sgd"))
    assert "the layer norm is BatchNormalization, with which tzml cannot train yet" in str(error.value)
    bundle = compiled(tmp_path, data, TrainOptions("sgd", micro_batch=MICRO_BATCH, freeze=("1",)))
    bundle.write(tmp_path / "model.tzm")
    x, labels = examples(network, MICRO_BATCH)
    with open_model(tmp_path / "model.tzm", World.ree) as model:
        scores = network.forward(x)
        ours = Trained(model, [], MICRO_BATCH)
        shares = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
        expected = -np.log(shares[np.arange(MICRO_BATCH), labels]).sum()
        assert ours.accumulate(x, labels)[0] == pytest.approx(expected, rel=1e-6)


def test_no_output_of_a_program_is_a_parameter_or_a_gradient(tmp_path: Path) -> None:
    """The state leaves only as the plans say: the count of steps, and nothing else."""
    bundle = compiled(tmp_path, dense(Relu()).onnx(), TrainOptions("sgd", micro_batch=MICRO_BATCH, momentum=0.9))
    assert [(p.name, p.role) for p in bundle.programs] == [(r.name, r) for r in Role]
    for program in bundle.programs:
        names = [bundle.tensors[port.tensor].name for port in program.outputs if port.region == Region.state]
        assert names == (["step"] if program.role == Role.update else [])


def test_parameters_are_sealed_with_the_bundle(tmp_path: Path, key_file: Path) -> None:
    network = dense(Relu())
    (tmp_path / "model.onnx").write_bytes(network.onnx())
    options = CompileOptions("qemu", load_signing_key(key_file), train=TrainOptions("sgd", momentum=0.9))
    bundle = compile_model(tmp_path / "model.onnx", options)
    bundle.write(tmp_path / "clear.tzm")
    seal(bundle, OwnerKey(ec.generate_private_key(ec.SECP256R1())), tmp_path / "sealed.tzm")
    clear, sealed = ((tmp_path / f"{name}.tzm").read_bytes() for name in ("clear", "sealed"))
    for weights in (layer.parameters[0].astype(np.float32).tobytes() for layer in network.trained):
        assert weights in clear
        assert not any(weights[at : at + 16] in sealed for at in range(0, len(weights) - 16, 16))


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        (helper.make_node("Dropout", ["scores"], ["y"], "drop"), "the layer drop is Dropout"),
        (helper.make_node("Erf", ["scores"], ["y"], "curve"), "tzml has no gradient of the layer curve (Erf), erf"),
    ],
)
def test_layers_that_would_be_trained_wrongly_are_refused(tmp_path: Path, node: Any, expected: str) -> None:
    with pytest.raises(CompileError) as error:
        compiled(tmp_path, dense().onnx(node, result="y"), TrainOptions("sgd"))
    assert expected in str(error.value)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (TrainOptions("sgd", freeze=("all",)), "there is nothing to train"),
        (TrainOptions("sgd", freeze=("9",)), "there is no layer 9"),
    ],
)
def test_what_cannot_be_trained_is_said(tmp_path: Path, options: TrainOptions, expected: str) -> None:
    with pytest.raises(CompileError) as error:
        compiled(tmp_path, dense(Relu()).onnx(), options)
    assert expected in str(error.value)


def test_memory_that_is_too_small_is_refused_with_what_takes_it(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(convolutions().onnx())
    options = CompileOptions("host", secure_memory=20_000, train=TrainOptions("sgd", micro_batch=64))
    with pytest.raises(CompileError) as error:
        compile_model(tmp_path / "model.onnx", options)
    assert "for activations of 64 examples" in str(error.value)
    assert "--micro-batch" in str(error.value)
