"""Dropout in training: each number stays or not by a random byte of the world, also in the gradient."""

from __future__ import annotations

from collections import Counter
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from onnx import NodeProto, helper
from training_networks import CLASSES, examples
from training_reference import Dense, Floats, Layer, Network
from training_state import Trained, compiled, relative

from tzml.bundle import Bundle, Direction
from tzml.bundle.checkpoint import read_checkpoint
from tzml.client import World, open_model
from tzml.compiler import CompileOptions, compile_model
from tzml.compiler.ir.errors import CompileError
from tzml.compiler.passes.training import TrainOptions
from tzml.owner.exported import parameters

WIDTH, RUNS = 3, 256


class Dropped(Layer):
    """Multiplies by a mask; in a file, it is Dropout."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate, self.mask = rate, np.ones(WIDTH)

    def forward(self, x: Floats) -> Floats:
        result: Floats = x * self.mask
        return result

    def backward(self, g: Floats) -> Floats:
        result: Floats = g * self.mask
        return result

    def nodes(self, inputs: list[str], output: str, name: str) -> list[NodeProto]:
        ratio = helper.make_node("Constant", [], [f"{name}_ratio"], value_float=self.rate)
        return [ratio, helper.make_node("Dropout", [inputs[0], f"{name}_ratio"], [output], name)]


def network(rate: float) -> tuple[Network, Dropped]:
    layer = Dropped(rate)
    return Network((7,), [Dense(7, WIDTH, seed=5), layer, Dense(WIDTH, CLASSES, seed=6)]), layer


def sums(ours: Trained, bundle: Bundle, folder: Path) -> list[Floats]:
    """Those of the gradients."""
    ours.model.save(folder / "state.tzs")
    state = b"".join(data for _, data, _ in read_checkpoint((folder / "state.tzs").read_bytes()).segments())
    return [a.astype(np.float64) for n, a in parameters(bundle, state).items() if n.endswith(".gradient")]


@pytest.mark.parametrize(("rate", "share"), [(0.5, 1 / 2), (0.25, 3 / 4)])
def test_every_mask_comes_as_often_as_it_should_and_is_that_of_the_gradient(
    tmp_path: Path, rate: float, share: float
) -> None:
    """Which one it was is told by the loss: each of the eight gives another."""
    reference, layer = network(rate)
    bundle = compiled(tmp_path, reference.onnx(), TrainOptions("sgd", micro_batch=1))
    (random,) = (t for t in bundle.tensors if t.direction == Direction.random)
    assert (random.name, random.shape) == ("random", (1, WIDTH))
    bundle.write(tmp_path / "model.tzm")
    x, labels = examples(reference, 1)
    masks = [np.array(bits) / share for bits in product((0.0, 1.0), repeat=WIDTH)]
    found: list[tuple[float, list[Floats]]] = []
    for layer.mask in masks:
        loss, _, gradients = reference.gradients(x, labels)
        found.append((loss, gradients))
    losses = np.array([loss for loss, _ in found])
    assert np.diff(np.sort(losses)).min() > 1e-3
    seen: Counter[int] = Counter()
    with open_model(tmp_path / "model.tzm", World.ree) as model:
        ours = Trained(model, [], 1)
        for run in range(RUNS):
            loss, _ = ours.accumulate(x, labels)
            number = int(np.abs(losses - loss).argmin())
            assert loss == pytest.approx(losses[number], rel=1e-5)
            seen[number] += 1
            if run < 4:
                for one, other in zip(sums(ours, bundle, tmp_path), found[number][1], strict=True):
                    assert relative(one, other) < 1e-5 if other.any() else not one.any()
            ours.update(0, 0)
        layer.mask = np.ones(WIDTH)
        expected, _, _ = reference.gradients(x, labels)
        for _ in range(3):
            assert ours.accumulate(x, labels, "evaluate")[0] == pytest.approx(expected, rel=1e-6)
        np.testing.assert_allclose(model.run(x, "infer").outputs["scores"], reference.forward(x), rtol=1e-5)
    kept = np.array([share if bit else 1 - share for mask in masks for bit in mask.astype(bool)])
    chances = kept.reshape(-1, WIDTH).prod(1)
    deviations = [
        (seen[i] - RUNS * chance) / (RUNS * chance * (1 - chance)) ** 0.5 for i, chance in enumerate(chances)
    ]
    assert max(map(abs, deviations)) < 5  # of 16 numbers, one in 100,000 times


def test_a_frozen_dropout_does_nothing(tmp_path: Path) -> None:
    reference, _ = network(0.5)
    bundle = compiled(tmp_path, reference.onnx(), TrainOptions("sgd", micro_batch=1, freeze=("1",)))
    assert [t for t in bundle.tensors if t.direction == Direction.random] == []


def test_an_inference_has_none(tmp_path: Path) -> None:
    reference, _ = network(0.5)
    (tmp_path / "model.onnx").write_bytes(reference.onnx())
    bundle = compile_model(tmp_path / "model.onnx", CompileOptions("host"))
    assert {t.direction for t in bundle.tensors} == {Direction.input, Direction.output}


def test_a_tensor_of_that_name_is_refused_with_a_remedy(tmp_path: Path) -> None:
    reference, _ = network(0.5)
    data = reference.onnx(helper.make_node("Identity", ["scores"], ["random"]), result="random")
    with pytest.raises(CompileError) as error:
        compiled(tmp_path, data, TrainOptions("sgd", micro_batch=1))
    assert "--rename random=NAME" in str(error.value)
