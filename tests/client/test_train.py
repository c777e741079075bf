"""`tzml train` and tzml.client.Trainer: digits, from random numbers, in the normal world."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from conftest import tzml
from numpy.typing import NDArray
from onnx import numpy_helper
from training_networks import lenet

from tzml.client import LossError, Trainer, World, open_model
from tzml.compiler import CompileOptions, compile_model
from tzml.compiler.passes.training import TrainOptions
from tzml.errors import TzmlError
from tzml_zoo.digits import ONNX, held_out_digits, training_digits

pytestmark = pytest.mark.usefixtures("libtzml")

EPOCHS, BATCH, RATE, MOMENTUM, TRAINED = 2, 50, 0.05, 0.9, 2000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """LeNet-5 to be trained from random numbers, and digits."""
    folder = tmp_path_factory.mktemp("train")
    (folder / "lenet.onnx").write_bytes(lenet(0).onnx())
    train = TrainOptions("sgd", micro_batch=10, momentum=MOMENTUM)
    compile_model(folder / "lenet.onnx", CompileOptions("host", train=train)).write(folder / "lenet.tzm")
    images, labels = training_digits()
    np.save(folder / "x.npy", images[:TRAINED])
    np.save(folder / "y.npy", labels[:TRAINED])
    images, labels = held_out_digits()
    np.save(folder / "test_x.npy", images)
    np.save(folder / "test_y.npy", labels)
    return folder


def train(folder: Path, *more: str, rate: float = RATE) -> list[str]:
    files = ["--images", str(folder / "x.npy"), "--labels", str(folder / "y.npy")]
    return ["train", str(folder / "lenet.tzm"), *files, "--rate", str(rate), "--world", "ree", *more]


def test_digits_are_learned(folder: Path) -> None:
    """A network with random numbers is right one time in ten."""
    test = ("--test-images", str(folder / "test_x.npy"), "--test-labels", str(folder / "test_y.npy"))
    done = tzml(*train(folder, *test, "--epochs", str(EPOCHS), "--batch", str(BATCH), "--json"))
    assert done.returncode == 0, done.stderr
    about = json.loads(done.stdout)
    assert (about["world"], about["steps"]) == ("ree", EPOCHS * TRAINED // BATCH)
    first, last = about["epochs"]
    assert last["loss"] < first["loss"] < 2.4
    assert last["test_accuracy"] > 0.85
    again = tzml(*train(folder, *test, "--epochs", "1", "--batch", str(BATCH)))
    assert again.stdout.startswith(f"epoch 1; loss {first['loss']:.4f}, accuracy")


def test_a_loss_that_is_no_number_stops_the_training_and_keeps_the_last_good_step(folder: Path) -> None:
    done = tzml(*train(folder, "--batch", str(BATCH), rate=1e30))
    assert done.returncode == 2
    assert "the loss is nan in step" in done.stderr
    assert "train with a lower rate" in done.stderr
    images, labels = (np.load(folder / name) for name in ("x.npy", "y.npy"))
    with open_model(folder / "lenet.tzm", World.ree) as model:
        trainer = Trainer(model)
        trainer.step(images[:25], labels[:25], RATE)
        before = trainer.evaluate(images[:200], labels[:200])
        spoiled = images[:25].copy()
        spoiled[3] = np.inf
        with pytest.raises(LossError) as error:
            trainer.step(spoiled, labels[:25], RATE)
        assert "after step 1" in str(error.value)
        assert trainer.evaluate(images[:200], labels[:200]) == before
        trainer.step(images[:25], labels[:25], RATE)
        assert trainer.steps == 2


def test_a_label_that_is_no_class_gives_no_number_and_the_device_forgets_the_batch(folder: Path) -> None:
    """Also if nobody looks at the loss: a policy may hide it."""
    images, labels = (np.load(folder / name)[:10] for name in ("x.npy", "y.npy"))
    wrong = labels.astype(np.int32)
    wrong[3] = 10
    with open_model(folder / "lenet.tzm", World.ree) as model:
        trainer = Trainer(model)
        before = trainer.evaluate(images, labels)
        for batch, rate in ((wrong, 0.1), (labels.astype(np.int32), np.nan), (labels.astype(np.int32), np.inf)):
            inputs = {"examples": images, "labels": batch, "count": np.array(10, np.int32)}
            loss = model.run(inputs, "accumulate").outputs["loss_sum"]
            assert np.isfinite(loss) == (batch is not wrong)
            step = model.run(
                {"rate": np.array(rate, np.float32), "batch_size": np.array(10, np.int32)}, "update"
            ).outputs["step"]
            assert step == 0
            assert trainer.evaluate(images, labels) == before
        trainer.step(images, labels, 0.1)
        assert trainer.evaluate(images, labels) != before


Arrays = tuple[NDArray[np.float32], NDArray[np.int64]]


def arrays() -> Arrays:
    return np.zeros((3, 1, 28, 28), np.float32), np.arange(3)


@pytest.mark.parametrize(
    ("examples", "labels", "expected"),
    [
        (arrays()[0], np.array([1, 10, 2]), "label 1 is 10, and the model has 10 classes"),
        (arrays()[0], np.array([-1, 1, 2]), "label 0 is -1"),
        (arrays()[0], np.zeros(3), "labels are integers, not float64 [3]"),
        (arrays()[0], np.zeros(2, int), "there are 3 examples, and labels of shape [2]"),
        (arrays()[0][:, 0], arrays()[1], "the model takes examples of float32 [N, 1, 28, 28]"),
        (arrays()[0].astype(np.float64), arrays()[1], "not float64 [3, 1, 28, 28]"),
        (arrays()[0][:0], arrays()[1][:0], "there are no examples"),
    ],
)
def test_examples_that_do_not_fit_are_refused(
    folder: Path, examples: NDArray[np.floating], labels: NDArray[np.int64], expected: str
) -> None:
    with open_model(folder / "lenet.tzm", World.ree) as model, pytest.raises(TzmlError) as error:
        Trainer(model).step(examples, labels, RATE)
    assert expected in str(error.value)


def test_a_bundle_for_inference_is_not_trained(digits_for_host: Path, folder: Path) -> None:
    command = train(folder)
    command[1] = str(digits_for_host)
    done = tzml(*command)
    assert done.returncode == 2
    assert "compile the model with `tzml compile --train`" in done.stderr


def test_the_command_line_makes_what_the_options_say(folder: Path, tmp_path: Path) -> None:
    options = ("--train", "adam", "--loss", "mse", "--micro-batch", "3", "--freeze", "first", "--target", "host")
    done = tzml("compile", str(ONNX), *options, "-o", str(tmp_path / "digits.tzm"), "--json")
    assert done.returncode == 0, done.stderr
    about = json.loads(done.stdout)
    assert [program["name"] for program in about["programs"]] == ["infer", "accumulate", "update", "evaluate"]
    weights = sum(numpy_helper.to_array(array).nbytes for array in onnx.load(ONNX).graph.initializer)
    assert 3 * weights < about["state"] < 4 * weights + 4096
    with open_model(tmp_path / "digits.tzm", World.ree) as model:
        assert Trainer(model).micro_batch == 3
        assert model.memory().state == about["state"]
    said = tzml(
        "compile", str(ONNX), "--target", "host", "--train", "sgd", "-o", str(tmp_path / "again.tzm")
    ).stdout
    assert "bytes for host, the normal world only; " in said
    for wrong, expected in (
        (("--micro-batch", "3"), "--micro-batch needs --train"),
        (("--train", "sgd", "--graph-only"), "--train does not go with --kernels"),
        (("--train", "sgd", "--tee", "last"), "the target host has no secure world"),
        (("--train", "adam", "--momentum", "0.5"), "--momentum is for --train sgd"),
    ):
        done = tzml("compile", str(ONNX), "--target", "host", *wrong)
        assert done.returncode == 2
        assert expected in done.stderr
