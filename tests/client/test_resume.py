"""Checkpoints of `tzml train` and tzml.client.Training, in the normal world: those are clear."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import tzml
from numpy.typing import NDArray
from training_networks import lenet

from tzml.bundle import BundleError
from tzml.bundle.checkpoint import CheckpointKind, read_checkpoint
from tzml.client import Checkpoints, LossError, Plan, RunError, Trainer, Training, World, open_model
from tzml.compiler import CompileOptions, compile_model
from tzml.compiler.passes.training import TrainOptions
from tzml.errors import TzmlError
from tzml_zoo.digits import training_digits

pytestmark = pytest.mark.usefixtures("libtzml")

PLAN = Plan(epochs=2, batch=50, rate=0.05)
EXAMPLES = 300

Arrays = tuple[NDArray[np.float32], NDArray[np.int64]]


@pytest.fixture(scope="module")
def digits() -> Arrays:
    images, labels = training_digits()
    return images[:EXAMPLES], labels[:EXAMPLES]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, digits: Arrays) -> Path:
    """LeNet-5 to be trained, another version of it, and digits."""
    folder = tmp_path_factory.mktemp("checkpoints")
    (folder / "lenet.onnx").write_bytes(lenet(0).onnx())
    train = TrainOptions("sgd", micro_batch=10, momentum=0.9)
    compile_model(folder / "lenet.onnx", CompileOptions("host", train=train)).write(folder / "lenet.tzm")
    np.save(folder / "x.npy", digits[0])
    np.save(folder / "y.npy", digits[1])
    return folder


def train(folder: Path, *more: str | Path) -> list[str]:
    files = ["--images", str(folder / "x.npy"), "--labels", str(folder / "y.npy"), "--rate", str(PLAN.rate)]
    plan = ["--epochs", str(PLAN.epochs), "--batch", str(PLAN.batch), "--world", "ree"]
    return ["train", str(folder / "lenet.tzm"), *files, *plan, *map(str, more)]


def scores(output: str) -> list[tuple[float, float]]:
    return [(epoch["loss"], epoch["accuracy"]) for epoch in json.loads(output)["epochs"]]


def test_what_is_resumed_ends_as_what_was_never_stopped(folder: Path, tmp_path: Path, digits: Arrays) -> None:
    """Stopped in the middle of the second epoch, and resumed: the same numbers, and the same checkpoint's state."""
    whole = tzml(*train(folder, "--checkpoint", tmp_path / "whole.tzs", "--json"))
    assert whole.returncode == 0, whole.stderr
    with open_model(folder / "lenet.tzm", World.ree) as model:
        kept = Checkpoints(tmp_path / "half.tzs", every=2)
        training = Training(Trainer(model), digits, PLAN, kept)

        def stop(epoch: int, done: int, batches: int, loss: float | None) -> None:
            if (epoch, done) == (2, 5):
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            list(training.epochs(stop))
    assert read_checkpoint((tmp_path / "half.tzs").read_bytes()).updates == 6 + 4
    resumed = tzml(*train(folder, "--checkpoint", tmp_path / "half.tzs", "--resume", "--json"))
    assert resumed.returncode == 0, resumed.stderr
    assert scores(resumed.stdout) == scores(whole.stdout)[1:]
    assert json.loads(resumed.stdout)["steps"] == json.loads(whole.stdout)["steps"] == 12
    one, two = (read_checkpoint((tmp_path / f"{name}.tzs").read_bytes()) for name in ("whole", "half"))
    assert one.kind == CheckpointKind.clear
    assert [text for _, text, _ in one.segments()] == [text for _, text, _ in two.segments()]
    more = tzml(*train(folder, "--checkpoint", tmp_path / "half.tzs", "--resume"))
    assert more.returncode == 0
    assert more.stdout == ""
    assert "has all of 2 epochs" in more.stderr


def test_a_training_that_is_killed_at_any_time_is_resumed(folder: Path, tmp_path: Path) -> None:
    """A checkpoint for each step: whatever the moment, the file is a whole one."""
    path = tmp_path / "killed.tzs"
    numbers = np.random.default_rng(0)
    last = -1
    for attempt in range(4):
        options = ["--resume"] if attempt else []
        command = [sys.executable, "-m", "tzml", *train(folder, "--checkpoint", path, "--checkpoint-steps", "1")]
        command[command.index("--epochs") + 1] = "1000"
        before = path.stat().st_mtime_ns if path.exists() else 0
        process = subprocess.Popen([*command, *options], stdout=subprocess.DEVNULL, env=os.environ)
        while process.poll() is None and (not path.exists() or path.stat().st_mtime_ns == before):
            time.sleep(0.01)
        time.sleep(numbers.uniform(0, 0.3))
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        updates = read_checkpoint(path.read_bytes()).updates
        assert updates > last
        last = updates
    assert [file for file in tmp_path.iterdir() if file != path and not file.name.startswith(".tzml-part-")] == []


def test_a_loss_that_is_no_number_leaves_the_last_good_checkpoint(
    folder: Path, tmp_path: Path, digits: Arrays
) -> None:
    spoiled = digits[0].copy()
    order = np.random.default_rng(PLAN.seed).permutation(EXAMPLES)
    spoiled[order[4 * PLAN.batch + 7]] = np.nan
    np.save(tmp_path / "x.npy", spoiled)
    path = tmp_path / "spoiled.tzs"
    command = train(folder, "--checkpoint", path, "--checkpoint-steps", "3")
    command[command.index("--images") + 1] = str(tmp_path / "x.npy")
    done = tzml(*command)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "the loss is nan in step 5" in line
    assert f"{path} has the state after step 3" in line
    with open_model(folder / "lenet.tzm", World.ree) as model:
        assert model.restore(path).updates == 3
        score = Trainer(model).evaluate(*digits)
        assert score.loss is not None
        assert np.isfinite(score.loss)
        with pytest.raises(LossError):
            list(Training(Trainer(model), (spoiled, digits[1]), PLAN).epochs())


def test_a_state_that_gives_no_numbers_is_not_saved(folder: Path, tmp_path: Path) -> None:
    """A rate so high that a step whose loss was right leaves parameters that are good for nothing."""
    path = tmp_path / "high.tzs"
    command = train(folder, "--checkpoint", path, "--checkpoint-steps", "1")
    command[command.index("--rate") + 1] = "1e30"
    done = tzml(*command)
    assert done.returncode == 2
    assert "after step 1; " in done.stderr
    assert f"{path} has the state after step 0" in done.stderr
    assert read_checkpoint(path.read_bytes()).updates == 0


def resume_with(option: str, value: str) -> Callable[[Path, Path], list[str]]:
    def command(folder: Path, path: Path) -> list[str]:
        found = train(folder, "--checkpoint", path, "--resume")
        return [*found, option, value]

    return command


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (
            lambda folder, path: train(folder, "--checkpoint", path),
            "exists; go on from it (--resume), or give it up",
        ),
        (resume_with("--batch", "32"), "with 50 as --batch, and now there are 32"),
        (resume_with("--seed", "7"), "with 0 as --seed, and now there are 7"),
        (lambda folder, path: train(folder, "--checkpoint", f"{path}x", "--resume"), "there is no checkpoint"),
        (lambda folder, path: train(folder, "--resume"), "need --checkpoint"),
        (lambda folder, path: train(folder, "--checkpoint", path, "--resume", "--restart"), "are opposites"),
        (lambda folder, path: train(folder, "--checkpoint", folder / "x.npy", "--restart"), "is an input of this"),
        (lambda folder, path: train(folder, "--checkpoint", folder / "no" / "such.tzs"), "there is no folder"),
        (
            lambda folder, path: train(folder, "--export", path.with_name("e.tzs")),
            "no grant allows the model's state",
        ),
    ],
)
def test_what_does_not_fit_is_one_clear_error(
    folder: Path, checkpoint: Path, command: Callable[[Path, Path], list[str]], expected: str
) -> None:
    before = checkpoint.read_bytes()
    done = tzml(*command(folder, checkpoint))
    assert done.returncode == 2
    assert expected in done.stderr
    assert "Traceback" not in done.stderr
    assert checkpoint.read_bytes() == before


@pytest.fixture(scope="module")
def checkpoint(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One that was saved after one epoch."""
    path = tmp_path_factory.mktemp("checkpoint") / "saved.tzs"
    done = tzml(*train(folder, "--checkpoint", path)[:-2], "--checkpoint", path, "--epochs", "1")
    assert done.returncode == 0, done.stderr
    return path


def test_a_checkpoint_that_was_changed_is_refused(folder: Path, checkpoint: Path, tmp_path: Path) -> None:
    data, path = checkpoint.read_bytes(), tmp_path / "changed.tzs"
    with open_model(folder / "lenet.tzm", World.ree) as model:
        trainer = Trainer(model)
        trainer.model.restore(checkpoint)

        def status(content: bytes) -> str:
            path.write_bytes(content)
            with pytest.raises((RunError, BundleError)) as caught:
                model.restore(path)
            assert isinstance(caught.value, RunError | BundleError)
            return caught.value.status

        def flipped(at: int) -> bytes:
            return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]

        assert status(flipped(136)) == "CHECKPOINT_MODEL"  # the bundle has no identity: it is its digest
        assert status(flipped(416)) == status(flipped(200)) == "CHECKPOINT_DAMAGED"
        model.run({"rate": np.array(0.1, np.float32), "batch_size": np.array(0, np.int32)}, "update")
        assert status(flipped(len(data) - 1)) == "CHECKPOINT_DAMAGED"
        with pytest.raises(RunError) as lost:
            model.run({"rate": np.array(0.1, np.float32), "batch_size": np.array(0, np.int32)}, "update")
        assert lost.value.status == "STATE_LOST"
        model.restore(checkpoint)
        model.run({"rate": np.array(0.1, np.float32), "batch_size": np.array(0, np.int32)}, "update")
        first, second = 416, 416 + 65536 + 16  # a segment has 65536 bytes and a tag
        exchanged = data[second : 2 * second - first] + data[first:second]
        assert status(data[:first] + exchanged + data[2 * second - first :]) == "CHECKPOINT_DAMAGED"
        assert status(data[:-1]) == status(data + b"\0") == status(b"") == "CHECKPOINT_MALFORMED"
        with pytest.raises(TzmlError, match=r"cannot read .*No such file"):
            model.restore(tmp_path / "missing.tzs")


def test_a_model_without_state_has_no_checkpoints(digits_for_host: Path, checkpoint: Path, tmp_path: Path) -> None:
    with open_model(digits_for_host, World.ree) as model:
        for act in (lambda: model.save(tmp_path / "no.tzs"), lambda: model.restore(checkpoint)):
            with pytest.raises(RunError) as caught:
                act()
            assert caught.value.status == "STATELESS"
    assert not (tmp_path / "no.tzs").exists()


def test_show_says_what_the_file_says(checkpoint: Path) -> None:
    done = tzml("checkpoint", "show", checkpoint, "--json")
    assert done.returncode == 0, done.stderr
    about = json.loads(done.stdout)
    assert (about["kind"], about["number"], about["updates"]) == ("clear", 0, 6)
    assert "updates: 6\n" in tzml("checkpoint", "show", checkpoint).stdout
