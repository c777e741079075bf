"""`tzml slices`: private layers behind a public network, which alone are secret, and alone are trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from click.testing import CliRunner, Result

from tzml.bundle import Bundle, Direction, Worlds
from tzml.cli.slices import command
from tzml.client import Trainer, World, open_model
from tzml.compiler import CompileOptions, compile_model
from tzml.compiler.compile import layers_of
from tzml.compiler.passes.training import TrainOptions
from tzml.partitioning.slices import PRIVATE
from tzml.signing import load_signing_key
from tzml_zoo.digits import ONNX, held_out_digits, training_digits


def sliced(folder: Path, *more: str) -> Result:
    arguments = [
        str(ONNX),
        "--classes",
        "2",
        "--width",
        "8",
        "--seed",
        "0",
        "-o",
        str(folder / "sliced.onnx"),
        *more,
    ]
    return CliRunner().invoke(command, arguments)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("slices")
    done = sliced(folder, "--side", "5")
    assert done.exit_code == 0, done.output
    assert f"--tee {PRIVATE} --train adam" in done.output
    return folder / "sliced.onnx"


def test_the_slices_are_the_last_layers_behind_the_backbone_as_it_was(file: Path) -> None:
    layers = layers_of(file)
    names = [layer.name for layer in layers]
    first = names.index("slice_1")
    assert names[first:] == [
        "slice_1", "slice_2", "slice_2_step", "slice_3", "slice_3_step", "mean", "head", "softmax",
    ]  # fmt: skip
    assert names[:first] == [*(layer.name for layer in layers_of(ONNX)[:3]), "tap_1", "tap_2", "tap_3"]
    onnx.checker.check_model(onnx.load(file), full_check=True)
    own = {w.name: w.SerializeToString() for w in onnx.load(ONNX).graph.initializer}
    kept = {w.name: w.SerializeToString() for w in onnx.load(file).graph.initializer if w.name in own}
    assert len(kept) == 4
    assert kept == {name: own[name] for name in kept}


@pytest.fixture(scope="module")
def told() -> list[str]:
    return []


@pytest.fixture(scope="module")
def split(file: Path, key_file: Path, told: list[str]) -> Bundle:
    train = TrainOptions("adam", micro_batch=10)
    options = CompileOptions("qemu", signing_key=load_signing_key(key_file), tee=PRIVATE, train=train)
    return compile_model(file, options, warn=told.append)


def test_the_slices_take_several_tensors_and_give_the_normal_world_nothing_but_outputs(
    split: Bundle, told: list[str]
) -> None:
    taken = {p.name: [split.tensors[port.tensor].name for port in p.inputs] for p in split.programs}
    assert sorted(taken["infer"]) == ["between_1", "between_2", "between_3"]
    assert sorted(taken["accumulate"]) == ["count", "examples_1", "examples_2", "examples_3", "labels"]
    secure = [program for program in split.programs if program.worlds == Worlds.tee]
    assert {split.tensors[q.tensor].direction for p in secure for q in p.outputs} == {Direction.output}
    (warning,) = told
    assert "layers 1 to 6 (node_conv2d to tap_3) run outside of the TEE, and so are not trained" in warning


@pytest.mark.usefixtures("libtzml")
def test_the_slices_learn_what_the_backbone_was_not_made_for(file: Path) -> None:
    """Whether a digit is even, by layers that were trained to tell digits apart; as ONNX Runtime computes it."""
    train = TrainOptions("adam", micro_batch=10)
    bundle = compile_model(file, CompileOptions("host", tee=PRIVATE, everywhere=True, train=train))
    (x, y), (test_x, test_y) = training_digits(), held_out_digits()
    with open_model(bundle.encode(), World.ree) as model:
        before = model.run(test_x[:1], "infer").outputs["probabilities"]
        trainer = Trainer(model)
        trainer.epoch(x[:1000], y[:1000] % 2, 20, 3e-3, np.random.default_rng(0))
        found = trainer.evaluate(test_x[:300], test_y[:300] % 2)
    reference = onnxruntime.InferenceSession(str(file)).run(None, {"image": test_x[:1]})[0]
    np.testing.assert_allclose(before, reference, atol=1e-5)
    assert found.accuracy is not None
    assert found.accuracy > 0.85


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--after", "5"], "layer 5 (node_linear) gives [1, 120], and no images"),
        (["--after", "3", "--after", "1"], "the layers of --after are not in order"),
        (["--side", "11"], "the layer gives images of 10x10, and slices would take 11x11; give --side 10"),
        (["--after", "99"], "there is no layer 99"),
    ],
)
def test_what_no_slice_could_take_is_refused(tmp_path: Path, more: list[str], message: str) -> None:
    done = sliced(tmp_path, *more)
    assert done.exit_code != 0
    assert message in f"{done.output} {done.exception}"
    assert not (tmp_path / "sliced.onnx").exists()
