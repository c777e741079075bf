"""Training with --clip: each example's gradient is clipped by itself, and added up in integers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from training_networks import CLASSES, MICRO_BATCH, convolutions, dense, examples, lenet
from training_reference import BatchNorm, Dense, Floats, Network, Relu
from training_state import Trained, compiled, shapes, with_a_program_that_reads_the_state

from tzml.bench.kernels import Kernels, random_inputs
from tzml.bundle import Argument, Bundle, Region, UpdateNoise
from tzml.client import Trainer, World, open_model
from tzml.compiler import TARGETS, CompileOptions, compile_model
from tzml.compiler.ir.errors import CompileError
from tzml.compiler.passes.training import TrainOptions
from tzml.compiler.passes.training.clipping import BOUND, unit

CLIP = 3.0


def clipped(
    network: Network, x: NDArray[Any], labels: NDArray[Any], clip: float
) -> tuple[list[Floats], list[float]]:
    """The sum of the clipped gradients in float64, and the length of each example's gradient before that."""
    total, lengths = [np.zeros(shape) for shape in shapes(network)], []
    for i in range(len(x)):
        _, _, gradients = network.gradients(x[i : i + 1], labels[i : i + 1])
        lengths.append(float(np.sqrt(sum((g**2).sum() for g in gradients))))
        for one, gradient in zip(total, gradients, strict=True):
            one += gradient * min(1.0, clip / lengths[-1])
    return total, lengths


class Clipped(Trained):
    """Its sums are integers, in units."""

    def units(self) -> list[NDArray[np.int32]]:
        outputs = self.model.run(self._update_inputs(0, 1), "read").outputs
        count = len(self.shapes)
        return [
            outputs[f"state{i}"].view(np.int32).reshape(self.shapes[i - count]) for i in range(count, 2 * count)
        ]


def prepared(folder: Path, network: Network, micro_batch: int = MICRO_BATCH, clip: float = CLIP) -> Path:
    options = TrainOptions("sgd", micro_batch=micro_batch, clip=clip)
    sizes = 2 * [p.size for layer in network.trained for p in layer.parameters]
    path = folder / "model.tzm"
    with_a_program_that_reads_the_state(compiled(folder, network.onnx(), options), sizes).write(path)
    for layer in network.trained:  # what the file has
        layer.parameters = [p.astype(np.float32).astype(np.float64) for p in layer.parameters]
    return path


def test_each_gradient_is_clipped_and_the_step_goes_by_their_sum(tmp_path: Path) -> None:
    """Over a batch that is no multiple of the micro-batch; not all gradients are longer than the clip."""
    network, count, rate = convolutions(), 10, 0.1
    with open_model(prepared(tmp_path, network), World.ree) as model:
        ours = Clipped(model, shapes(network), MICRO_BATCH)
        for step in range(2):
            x, labels = examples(network, count, seed=step)
            x = x * np.linspace(0.1, 3, count, dtype=np.float32)[:, None, None, None]
            loss, right, _ = network.gradients(x, labels)
            expected, lengths = clipped(network, x, labels, CLIP)
            assert min(lengths) < CLIP < max(lengths)
            our_loss, our_right = ours.accumulate(x, labels)
            assert our_loss == pytest.approx(loss, rel=1e-6)
            assert our_right == right
            for one, other in zip(ours.units(), expected, strict=True):
                assert np.abs(one * unit(CLIP) - other).max() <= count * 1.01 * unit(CLIP)  # what is cut off
            assert ours.update(rate, count) == step + 1
            weights = iter(ours.state()[0])
            gradients = iter(expected)
            for layer in network.trained:
                for i, parameter in enumerate(layer.parameters):
                    own = next(weights)
                    difference = own - (parameter - rate * next(gradients) / count)
                    assert np.abs(difference).max() <= 1.01 * rate * unit(CLIP) + 1e-6
                    layer.parameters[i] = own
            assert not any(units.any() for units in ours.units())


def test_what_one_example_adds_is_never_longer_than_the_bound(tmp_path: Path) -> None:
    """Exactly, in integers, for gradients of very different lengths; and what is clipped nearly has that length."""
    network = dense(Relu())
    with open_model(prepared(tmp_path, network, micro_batch=1, clip=1e-3), World.ree) as model:
        ours = Clipped(model, shapes(network), 1)
        for seed in range(20):
            x = examples(network, 1, seed=seed)[0] * np.float32(10.0 ** (seed % 10 - 3))
            ours.accumulate(x, network.forward(x).argmin(1).astype(np.int32))
            square = sum(int((units.astype(np.int64) ** 2).sum()) for units in ours.units())
            assert 0.99 * BOUND**2 < square <= BOUND**2
            ours.update(0, 1)


def test_an_example_that_gives_no_numbers_adds_nothing(tmp_path: Path) -> None:
    """Nor do those behind `count`, whatever they are."""
    network = dense(Relu())
    x, labels = examples(network, MICRO_BATCH)
    with open_model(prepared(tmp_path, network), World.ree) as model:
        ours = Clipped(model, shapes(network), MICRO_BATCH)
        ours.accumulate(x[:2], labels[:2])
        expected = ours.units()
        ours.update(0, 1)
        bad = x.copy()
        bad[1], bad[3] = np.inf, np.nan
        order = [0, 1, 2, 3]
        bad[2] = x[1]
        given = {"examples": bad[order], "labels": labels[[0, 1, 1, 3]], "count": np.array(3, np.int32)}
        model.run(given, "accumulate")
        for one, other in zip(ours.units(), expected, strict=True):
            np.testing.assert_array_equal(one, other)


def test_a_sum_stays_within_its_limit(tmp_path: Path) -> None:
    """It does not wrap around: so many equal examples would be more than an int32 has room for."""
    network = Network((1,), [Dense(1, 2, seed=3)])
    x, many = np.zeros((8, 1), np.float32), 2**31 // (46_000 * 8) + 2
    with open_model(prepared(tmp_path, network, micro_batch=8, clip=1e-3), World.ree) as model:
        ours = Clipped(model, shapes(network), 8)
        given = {"examples": x, "labels": np.zeros(8, np.int32), "count": np.array(8, np.int32)}
        for _ in range(many):
            model.run(given, "accumulate")
        weight, bias = ours.units()
        assert not weight.any()
        assert sorted(bias.reshape(-1).tolist()) == [-(2**31), 2**31 - 1]


def test_batch_normalisation_is_refused(tmp_path: Path) -> None:
    network = Network((6,), [Dense(6, 4, seed=1), BatchNorm(4, seed=2), Relu(), Dense(4, CLASSES, seed=3)])
    with pytest.raises(CompileError, match="batch normalisation mixes the examples"):
        compiled(tmp_path, network.onnx(), TrainOptions("sgd", clip=1.0))


def instructions(bundle: Bundle, folder: Path, name: str) -> int:
    """The AArch64 instructions of a program, over the state that the bundle has."""
    program = next(p for p in bundle.programs if p.name == name)
    begin = bundle.memory.arena_size

    def moved(argument: Argument) -> Argument:
        """The state as a part of the arena, which is all that run_plan.c knows."""
        if argument.region != Region.state:
            return argument
        return replace(argument, region=Region.arena, offset=argument.offset + begin)

    calls = tuple(replace(call, arguments=tuple(map(moved, call.arguments))) for call in program.calls)
    memory = replace(bundle.memory, arena_size=begin + bundle.memory.state_size, state_size=0, pieces=())
    alone = replace(bundle, programs=(replace(program, calls=calls),), memories=(memory,))
    folder.mkdir()
    data = random_inputs(bundle.tensors[port.tensor] for port in program.inputs)
    kernels = Kernels(alone, TARGETS["qemu"].cc, folder, [d if d.ndim else np.full_like(d, 8) for d in data])
    with (folder / "arena.bin").open("r+b") as file:
        for piece, content in zip(bundle.memory.pieces, bundle.pieces, strict=True):
            file.seek(begin + piece.offset)
            file.write(content.tobytes())
    count = kernels.measure(1).instructions
    assert count
    return count


def test_a_clipped_step_takes_at_most_a_fifth_more_than_a_plain_one(tmp_path: Path) -> None:
    """In AArch64 instructions: LeNet-5, a batch of 8 in one micro-batch, momentum."""
    (tmp_path / "model.onnx").write_bytes(lenet(1).onnx())
    plain = TrainOptions("sgd", micro_batch=8, momentum=0.9)
    costs = []
    for options in (plain, replace(plain, clip=1.0)):
        bundle = compile_model(tmp_path / "model.onnx", CompileOptions("qemu", train=options))
        folder = tmp_path / f"clip-{options.clip}"
        folder.mkdir()
        costs.append(sum(instructions(bundle, folder / name, name) for name in ("accumulate", "update")))
    assert costs[1] <= 1.2 * costs[0], costs


def test_each_update_adds_noise_to_the_sums_and_what_is_trained_comes_before_them(tmp_path: Path) -> None:
    """Of the deviation that was asked for, also where nothing was added up; and never the same."""
    network, rate = Network((40,), [Dense(40, 200, seed=1)]), 1.0
    options = TrainOptions("sgd", micro_batch=1, clip=0.5, noise=0.8)
    (tmp_path / "model.onnx").write_bytes(network.onnx())
    bundle = compile_model(tmp_path / "model.onnx", CompileOptions("host", train=options))
    sizes = [p.size for layer in network.trained for p in layer.parameters]
    noise = bundle.memory.noise
    assert noise == UpdateNoise(4 * (8000 + 208), 8000 + 200, round(0.8 * BOUND))
    assert noise.multiplier == pytest.approx(0.8, rel=1e-4)
    with_a_program_that_reads_the_state(bundle, 2 * sizes).write(tmp_path / "model.tzm")
    found = []
    with open_model(tmp_path / "model.tzm", World.ree) as model:
        ours = Clipped(model, shapes(network), 1)
        before = ours.state()[0][0]
        for _ in range(2):
            ours.update(rate, 1)
            after = ours.state()[0][0]
            assert not any(units.any() for units in ours.units())
            found.append((before - after) / unit(0.5))
            before = after
    for units in found:
        assert np.abs(units).max() < 6 * noise.deviation
        assert units.std() == pytest.approx(noise.deviation, rel=4 / (2 * units.size) ** 0.5)
        assert abs(units.mean()) < 4 * noise.deviation / units.size**0.5
    assert abs(np.corrcoef(found[0].reshape(-1), found[1].reshape(-1))[0, 1]) < 4 / found[0].size ** 0.5


def test_a_batch_that_is_drawn_may_be_empty_and_its_update_is_noise_alone(tmp_path: Path) -> None:
    """What `tzml federate round` does with each batch."""
    network = Network((6,), [Dense(6, 8, seed=1), Relu(), Dense(8, CLASSES, seed=2)])
    x, labels = examples(network, 5)
    options = TrainOptions("sgd", micro_batch=MICRO_BATCH, clip=1.0, noise=1.0)
    compiled(tmp_path, network.onnx(), options).write(tmp_path / "model.tzm")
    with open_model(tmp_path / "model.tzm", World.ree) as model:
        trainer = Trainer(model)
        before = trainer.evaluate(x, labels)
        assert trainer.noised_step(x[:0], labels[:0], 0.1, 5) is None
        after = trainer.evaluate(x, labels)
        assert after.loss != before.loss
        score = trainer.noised_step(x, labels, 0.1, 5)
        assert score
        assert score.loss == pytest.approx(after.loss, rel=1e-5)  # before the step
        assert (score.correct, score.examples) == (after.correct, 5)
        assert trainer.steps == 2
