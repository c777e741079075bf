"""Encrypt, compile, preprocess, run and postprocess: of an encrypted model, the steps answer as of the clear one.

ResNet-50 as each framework writes it, with random weights.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from programs import run_module

from tzml.owner.keys import generate, public_pem

FORMATS = ("onnx", "pt2", "keras", "saved_model", "tflite")
IMAGES = {"mean": [123.7, 116.3, 103.5], "std": [58.4, 57.1, 57.4]}
pytestmark = pytest.mark.usefixtures("libtzml")


def step(*arguments: str | Path) -> str:
    """What `tzml` prints, which takes minutes on a busy machine."""
    done = run_module("tzml", *arguments, timeout=1800)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def resnet50(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """ResNet-50 of a format, in a folder with an image, labels and a key."""
    folder = tmp_path_factory.mktemp("resnet50")
    pixels = np.random.default_rng(3).integers(0, 256, (240, 256, 3), np.uint8)
    Image.fromarray(pixels).save(folder / "image.png")
    (folder / "labels.txt").write_text("".join(f"class {i}\n" for i in range(1000)))
    (folder / "images.json").write_text(json.dumps(IMAGES))
    key = generate(folder / "compiler.pem")
    (folder / "compiler.pub.pem").write_bytes(public_pem(key.public))

    def export(kind: str) -> Path:
        path = folder / f"model.{kind}"
        if kind in ("onnx", "pt2"):
            if kind == "pt2":
                pytest.importorskip("torch", reason="needs PyTorch: make test-frontends")
            step("zoo", "export", "resnet50", "--format", kind, "-o", path)
            return path
        keras = pytest.importorskip("keras", reason="needs TensorFlow: make test-frontends")
        network = _of_keras(keras)
        if kind == "keras":
            network.save(path)
        elif kind == "saved_model":
            network.export(path, verbose=False)
        else:
            import tensorflow as tf

            path.write_bytes(tf.lite.TFLiteConverter.from_keras_model(network).convert())
        return path

    return export


def _of_keras(keras: Any) -> Any:
    keras.utils.set_random_seed(5)
    image = keras.Input(batch_shape=(1, 224, 224, 3), name="image")
    return keras.Model(image, keras.applications.ResNet50(weights=None)(image))


@pytest.mark.parametrize("kind", FORMATS)
def test_the_steps_of_an_encrypted_model_answer_as_the_clear_one_does(
    kind: str, resnet50: Callable[[str], Path], tmp_path: Path
) -> None:
    model = resnet50(kind)
    folder = model.parent

    encrypted = tmp_path / "model.tze"
    step("encrypt", model, "--for", folder / "compiler.pub.pem", "-o", encrypted)
    told = {}
    for name, source, key in (
        ("clear", model, ()),
        ("encrypted", encrypted, ("--key", folder / "compiler.pem", "--clear")),
    ):
        bundle, inputs, outputs = (tmp_path / f"{name}{ending}" for ending in (".tzm", ".in.npz", ".out.npz"))
        beside: list[str | Path] = ["--labels", folder / "labels.txt", "--preprocess", folder / "images.json"]
        if kind == "saved_model":  # where Keras leaves the batch open, though the network's is fixed
            beside += ["--input", "image=1x224x224x3"]
        step("compile", source, *key, *beside, "--target", "host", "-o", bundle)
        step("preprocess", bundle, folder / "image.png", "-o", inputs)
        step("run", bundle, "--world", "ree", "--input", inputs, "-o", outputs)
        told[name] = step("postprocess", bundle, outputs, "--top", "5"), outputs.read_bytes(), bundle.read_bytes()
    assert told["clear"] == told["encrypted"]
    assert len(told["clear"][0].splitlines()) == 6
