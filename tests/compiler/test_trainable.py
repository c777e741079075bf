"""What is trained and what is not: frozen layers, what is refused, and what leaves a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from onnx import NodeProto, helper, numpy_helper
from training_networks import CLASSES, MICRO_BATCH, convolutions, dense, examples
from training_reference import Conv, Dense, Flatten, Floats, Network, Nodes, Relu
from training_state import Trained, compiled, relative, shapes, with_a_program_that_reads_the_state

from tzml.bundle import Region, Role
from tzml.client import World, open_model
from tzml.compiler import CompileOptions, compile_model
from tzml.compiler.ir.errors import CompileError
from tzml.compiler.passes.training import TrainOptions
from tzml.owner.keys import OwnerKey
from tzml.owner.seal import seal
from tzml.signing import load_signing_key


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


def test_batch_normalisation_goes_by_its_running_statistics_in_layers_that_are_frozen(tmp_path: Path) -> None:
    rng = np.random.default_rng(14)
    scale, shift, mean, variance = (rng.uniform(0.5, 1.5, 4).astype(np.float32) for _ in range(4))

    def make(given: str, output: str) -> list[NodeProto]:
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
    bundle = compiled(tmp_path, network.onnx(), TrainOptions("sgd", micro_batch=MICRO_BATCH, freeze=("1",)))
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
        (
            helper.make_node("Erf", ["scores"], ["y"], "curve"),
            "tzml has no gradient of the layer curve (Erf): there is none of erf, as TVM calls it",
        ),
    ],
)
def test_layers_that_would_be_trained_wrongly_are_refused(tmp_path: Path, node: Any, expected: str) -> None:
    with pytest.raises(CompileError) as error:
        compiled(tmp_path, dense().onnx(node, result="y"), TrainOptions("sgd"))
    assert expected in str(error.value)


@pytest.mark.parametrize(
    ("operator", "attributes", "expected"),
    [
        (
            "MaxPool",
            {"dilations": [2, 2]},
            "no gradient of the layer window (MaxPool): its window has gaps (dilation)",
        ),
        ("AveragePool", {"strides": [2, 2], "ceil_mode": 1}, "it rounds its size up (ceil_mode)"),
    ],
)
def test_windows_that_tvm_has_no_gradient_of_are_refused(
    tmp_path: Path, operator: str, attributes: dict[str, Any], expected: str
) -> None:
    def make(given: str, output: str) -> list[NodeProto]:
        return [helper.make_node(operator, [given], [output], "window", kernel_shape=[2, 2], **attributes)]

    layers = [Conv(2, 4, 2, 1), Nodes(lambda x: x, make), Flatten(), Dense(4 * 2 * 2, CLASSES, 2)]
    with pytest.raises(CompileError) as error:
        compiled(
            tmp_path, Network((2, 5, 5) if operator == "MaxPool" else (2, 4, 4), layers).onnx(), TrainOptions("sgd")
        )
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
