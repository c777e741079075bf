"""Preprocess, run and postprocess with files between them say what one `tzml run` says; models are evaluated."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import tzml
from cryptography.hazmat.primitives.asymmetric import ec
from PIL import Image

from tzml.bundle import read
from tzml.compiler import CompileOptions, compile_model
from tzml.owner.keys import OwnerKey
from tzml.owner.seal import seal
from tzml.signing import load_signing_key
from tzml_zoo.digits import MODEL, ONNX, held_out_digits

NAMES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
pytestmark = pytest.mark.usefixtures("libtzml")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, key_file: Path) -> Path:
    """A network with preprocessing and labels, clear and sealed, three images, and labelled samples."""
    folder = tmp_path_factory.mktemp("steps")
    options = CompileOptions("host", preprocess=MODEL.preprocess, labels=NAMES)
    compile_model(ONNX, options).write(folder / "digits.tzm")
    owner = OwnerKey(ec.generate_private_key(ec.SECP256R1()))
    for_device = replace(options, target="qemu", signing_key=load_signing_key(key_file))
    seal(compile_model(ONNX, for_device), owner, folder / "sealed.tzm")
    images, labels = held_out_digits()
    for i in range(3):
        Image.fromarray((images[i, 0] * 255).astype(np.uint8)).save(folder / f"{i}.png")
    np.savez(folder / "set.npz", image=images[:40], labels=labels[:40])
    (folder / "names.txt").write_text("\n".join(NAMES))
    return folder


@pytest.mark.parametrize("ending", ["npz", "npy"])
def test_three_steps_say_what_one_says(folder: Path, tmp_path: Path, ending: str) -> None:
    bundle, files = folder / "digits.tzm", [folder / f"{i}.png" for i in range(3)]
    inputs, outputs = tmp_path / f"in.{ending}", tmp_path / f"out.{ending}"
    done = tzml("preprocess", bundle, *files, "-o", inputs)
    assert done.returncode == 0, done.stderr
    done = tzml("run", bundle, "--world", "ree", "--input", inputs, "-o", outputs)
    assert done.returncode == 0, done.stderr
    one = json.loads(tzml("run", bundle, *files, "--world", "ree", "--json").stdout)
    assert json.loads(tzml("postprocess", bundle, outputs, "--json").stdout) == one["top"]
    shown = tzml("postprocess", bundle, outputs, "--top", "1").stdout.splitlines()
    assert shown[::2] == ["sample 0:", "sample 1:", "sample 2:"]
    assert shown[1].split()[1] == one["top"]["probabilities"][0][0][0]


def test_a_sealed_bundle_says_how_images_become_inputs_and_keeps_its_labels(folder: Path, tmp_path: Path) -> None:
    for name in ("digits", "sealed"):
        done = tzml("preprocess", folder / f"{name}.tzm", folder / "0.png", "-o", tmp_path / f"{name}.npy")
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "digits.npy").read_bytes() == (tmp_path / "sealed.npy").read_bytes()
    np.savez(tmp_path / "out.npz", probabilities=np.array([[7], [2]], np.int32))  # as the policy top-1 leaves it
    refused = tzml("postprocess", folder / "sealed.tzm", tmp_path / "out.npz")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "--labels FILE" in refused.stderr
    done = tzml("postprocess", folder / "sealed.tzm", tmp_path / "out.npz", "--labels", folder / "names.txt")
    assert done.stdout.split("\n") == ["sample 0:", "  seven", "sample 1:", "  two", ""]


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.zeros((1, 9), np.float32), "the output has 9 values, but there are 10 labels"),
        (np.zeros(10, np.float32), "has 1 dimensions"),
        (np.array([[10]], np.int32), "the index 10, but there are 10 labels"),
    ],
    ids=["few", "flat", "index"],
)
def test_outputs_of_another_model_are_refused(
    folder: Path, tmp_path: Path, array: np.ndarray[tuple[int, ...], np.dtype[np.float32]], said: str
) -> None:
    np.savez(tmp_path / "out.npz", probabilities=array)
    done = tzml("postprocess", folder / "digits.tzm", tmp_path / "out.npz")
    assert done.returncode == 2
    assert said in done.stderr
    np.savez(tmp_path / "out.npz", logits=array)
    assert (
        "the model has no output logits" in tzml("postprocess", folder / "digits.tzm", tmp_path / "out.npz").stderr
    )


def test_models_are_compared_on_labelled_samples(folder: Path, tmp_path: Path) -> None:
    bundle = folder / "digits.tzm"
    command = ("evaluate", bundle, "--world", "ree", "--data", folder / "set.npz", "--against")
    done = tzml(*command, bundle, "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    one, two = report["scores"]
    labels = np.load(folder / "set.npz")["labels"]
    assert report["equal"]
    assert one["top_1"] == two["top_1"] == sum(np.array(one["first"]) == labels) >= 38
    assert one["top_5"] == two["top_5"] >= one["top_1"]
    # the same network, with its weights changed
    other = read(bundle)
    chunks = tuple(replace(c, parts=(bytes(c.tobytes()[::-1]),)) for c in other.chunks)
    replace(other, chunks=chunks).write(tmp_path / "other.tzm")
    done = tzml(*command, tmp_path / "other.tzm")
    assert done.returncode == 1, done.stderr
    assert "they differ" in done.stdout


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"image": np.zeros((2, 1, 28, 28), np.float32)}, "has no array labels"),
        ({"labels": np.zeros(2, np.int64)}, "has no array image"),
        ({"image": np.zeros((2, 1, 28, 28), np.float32), "labels": np.zeros(3, np.int64)}, "for 3 labels"),
        ({"image": np.zeros((2, 1, 28, 28), np.float32), "labels": np.zeros(2)}, "2 values of float64"),
    ],
    ids=["labels", "image", "count", "type"],
)
def test_a_set_that_does_not_fit_is_refused(
    folder: Path, tmp_path: Path, arrays: dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]], said: str
) -> None:
    np.savez(tmp_path / "set.npz", **arrays)  # type: ignore[arg-type] # numpy's stub takes allow_pickle for a name
    done = tzml("evaluate", folder / "digits.tzm", "--world", "ree", "--data", tmp_path / "set.npz")
    assert done.returncode == 2
    assert said in done.stderr
