"""`tzml train --cfg` takes Darknet's steps: its batches, rates, doubled gradients, and lists of images."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import tzml
from numpy.typing import NDArray
from PIL import Image
from programs import run_module

from tzml.darknet.cfg import read_cfg
from tzml.darknet.data import read_data
from tzml.darknet.training import DarknetTraining, read_training
from tzml.errors import TzmlError

CFG = """
[net]
batch=12
height=4
width=4
channels=3
learning_rate=0.2
momentum=0.9
decay=0.0001
policy=poly
power=2
max_batches=8

[connected]
output=3
activation=linear

[softmax]

[cost]
type=sse
"""
CLASSES = ("red", "green", "blue")
Array = NDArray[Any]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A network, and images of three colours with noise in lists: 12 to train with, 6 to look at."""
    (tmp_path / "net.cfg").write_text(CFG)
    (tmp_path / "labels.list").write_text("\n".join(CLASSES))
    random = np.random.default_rng(3)
    for part, count in (("train", 12), ("valid", 6)):
        lines = []
        for i in range(count):
            pixels = random.integers(0, 120, (4, 4, 3))
            pixels[..., i % 3] += 80
            name = f"{part}_{i}_{CLASSES[i % 3]}.png"
            Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / name)
            lines.append(name)
        (tmp_path / f"{part}.list").write_text("\n".join(lines) + "\n")
    (tmp_path / "set.dataset").write_text(
        "classes=3\n# lists\ntrain = train.list\nvalid=valid.list\nlabels=labels.list\ntop=2\n"
    )
    return tmp_path


def images(folder: Path, part: str) -> tuple[Array, Array]:
    """The images as rows of numbers, channels first, and their classes."""
    names = (folder / f"{part}.list").read_text().split()
    x = [np.asarray(Image.open(folder / name)).transpose(2, 0, 1).reshape(-1) / 255 for name in names]
    return np.stack(x), np.array([CLASSES.index(name.split("_")[2].removesuffix(".png")) for name in names])


def darknets_losses(folder: Path, weights: Array, steps: int) -> tuple[list[float], Array, Array]:
    """Mean cross-entropy before each step, and the parameters after the last, as Darknet's C code changes them."""
    x, labels = images(folder, "train")
    bias, batch = np.zeros(3), len(x)
    weight_updates, bias_updates = np.zeros_like(weights), np.zeros(3)
    truth, losses = np.eye(3)[labels], []
    for step in range(1, steps + 1):
        scores = x @ weights.T + bias
        p = np.exp(scores - scores.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        losses.append(float(-np.log(p[np.arange(batch), labels]).mean()))
        delta = (truth - p) + (truth - p)  # of the softmax, and of the cost behind it
        rate = 0.2 * (1 - step / 8) ** 2
        weight_updates += delta.T @ x - 0.0001 * batch * weights
        bias_updates += delta.sum(0)
        weights = weights + rate / batch * weight_updates
        bias = bias + rate / batch * bias_updates
        weight_updates *= 0.9
        bias_updates *= 0.9
    return losses, weights, bias


@pytest.mark.usefixtures("libtzml")
def test_steps_are_darknets_and_what_was_learned_is_right(folder: Path) -> None:
    compile_ = ("compile", folder / "net.cfg", "--weights", "random", "--data", folder / "set.dataset")
    done = run_module("tzml", *compile_, "--train", "cfg", "--target", "host", timeout=600)
    assert done.returncode == 0, done.stderr
    train = ("train", folder / "net.tzm", "--cfg", folder / "net.cfg", "--data", folder / "set.dataset")
    done = tzml(*train, "--world", "ree", "--json")
    assert done.returncode == 0, done.stderr
    about = json.loads(done.stdout)
    generator = np.random.default_rng(0)  # as RandomWeights draws
    weights = (math.sqrt(2 / 48) * generator.uniform(-1, 1, (3, 48))).astype(np.float32).astype(np.float64)
    losses, weights, bias = darknets_losses(folder, weights, 8)
    np.testing.assert_allclose([step["loss"] for step in about["steps"]], losses, rtol=5e-5)  # biases decay, too
    assert losses[-1] < 0.8 * losses[0]
    mean = losses[0]
    for loss in losses[1:]:
        mean = 0.9 * mean + 0.1 * loss
    assert about["steps"][-1]["mean_loss"] == pytest.approx(mean, rel=1e-4)
    x, labels = images(folder, "valid")
    right = int((np.argmax(x @ weights.T + bias, 1) == labels).sum())
    assert (about["valid"]["correct"], about["valid"]["examples"]) == (right, 6)
    step = about["steps"][0]
    assert step["user_seconds"] + step["kernel_seconds"] > 0
    assert step["normal_peak"] > 1 << 20
    assert step["secure_peak"] == 0
    shown = tzml(*train, "--world", "ree", "--steps", "2").stdout.splitlines()
    assert shown[0].startswith(f"step 1: loss {losses[0]:.4f}, mean {losses[0]:.4f}, rate 0.30625; ")
    assert "CPU user" in shown[1]
    assert shown[2].startswith("right on ")
    assert len(shown) == 3


@pytest.mark.parametrize(
    ("options", "rates"),
    [
        ("", {1: 0.01, 900: 0.01}),
        ("policy=constant\nburn_in=10\npower=2", {5: 0.0025, 10: 0.01}),
        ("policy=step\nstep=10\nscale=.1", {9: 0.01, 10: 0.001, 25: 0.0001}),
        ("policy=steps\nsteps=5,10\nscales=.5,.1", {4: 0.01, 5: 0.005, 12: 0.0005}),
        ("policy=exp\ngamma=.5", {1: 0.005, 3: 0.00125}),
        ("policy=sigmoid\ngamma=1\nstep=2", {2: 0.005, 60: 0.0}),
        ("policy=poly\nmax_batches=100", {50: 0.01 / 16, 100: 0.0, 101: 0.0}),
    ],
)
def test_rates_follow_the_policy(tmp_path: Path, options: str, rates: dict[int, float]) -> None:
    how = training(tmp_path, f"learning_rate=0.01\n{options}")
    for step, rate in rates.items():
        assert how.rate(step) == pytest.approx(rate, abs=1e-12)


def training(folder: Path, options: str, layers: str = "[softmax]\n[cost]") -> DarknetTraining:
    (folder / "x.cfg").write_text(f"[net]\n{options}\n{layers}\n")
    return read_training(read_cfg(folder / "x.cfg"))


def test_what_is_missing_is_darknets_default(tmp_path: Path) -> None:
    how = training(tmp_path, "")
    assert (how.batch, how.steps, how.optimizer, how.momentum, how.decay) == (1, 0, "sgd", 0.9, 0.0001)
    assert (how.rate(1), how.gradient_factor) == (0.001, 2)
    assert training(tmp_path, "adam=1").optimizer == "adam"
    assert training(tmp_path, "", "[softmax]").gradient_factor == 1
    assert training(tmp_path, "", "[softmax]\nnoloss=1\n[cost]").gradient_factor == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("policy=cosine", "the policy cosine is not known; there are constant"),
        ("policy=poly", "needs max_batches"),
        ("policy=steps\nsteps=1,2\nscales=.1", "2 steps and 1 scales"),
        ("policy=steps", "needs steps and scales"),
        ("batch=0", "batch=0 is less than 1"),
        ("adam=1\nB1=.5", "B1 and B2 are not"),
        ("momentum=high", "momentum=high is no number"),
    ],
)
def test_a_training_that_is_not_understood_is_refused(tmp_path: Path, options: str, message: str) -> None:
    with pytest.raises(TzmlError, match=message):
        training(tmp_path, options)


def test_a_class_is_the_one_whose_label_is_in_the_path(folder: Path) -> None:
    found = read_data(folder / "set.dataset").images("train")
    assert [number for _, number in found] == [0, 1, 2] * 4
    assert found[0][0] == folder / "train_0_red.png"
    assert read_data(folder / "set.dataset").names() == list(CLASSES)  # without names, the labels are the names
    lines = (folder / "train.list").read_text().replace("train_", f"/of/another/machine/{folder.name}/train_")
    (folder / "train.list").write_text(lines)
    assert read_data(folder / "set.dataset").images("train")[1] == (folder / "train_1_green.png", 1)
    (folder / "sub").mkdir()
    (folder / "set.dataset").rename(folder / "sub" / "set.dataset")  # paths of another folder, as DarkneTZ's
    assert read_data(folder / "sub" / "set.dataset").images("valid")[0][1] == 0


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("set.dataset", "train=train.list\n", "has no labels="),
        ("set.dataset", "what\n", "line 1: 'what' is not option=value"),
        ("set.dataset", "classes=4\nlabels=labels.list\n", "says classes=4, and has 3 labels"),
        ("set.dataset", "labels=gone.list\ntrain=train.list\n", "needs gone.list"),
        ("train.list", "gone_red.png\n", "needs gone_red.png"),
        ("train.list", "net.cfg\n", "has the labels of 0 classes in it .none."),
        ("labels.list", "red\ntrain\nblue\n", "has the labels of 2 classes in it .red, train."),
        ("train.list", "\n", "train.list is empty"),
    ],
)
def test_lists_that_are_wrong_are_refused(folder: Path, file: str, text: str, message: str) -> None:
    (folder / file).write_text(text)
    with pytest.raises(TzmlError, match=message):
        read_data(folder / "set.dataset").images("train")


def test_options_that_do_not_go_together_are_refused(folder: Path) -> None:
    bundle = folder / "net.cfg"  # never opened
    for options, message in (
        ((), "give --images, --labels and --rate, or --cfg and --data"),
        (("--cfg", folder / "net.cfg"), "--cfg and --data go together"),
        (("--cfg", folder / "net.cfg", "--data", folder / "set.dataset", "--rate", "1"), "without --images"),
    ):
        done = tzml("train", bundle, *options)
        assert done.returncode == 2
        assert message in done.stderr
