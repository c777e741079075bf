"""Make the small files of tests/compiler/data: models that frameworks wrote, and the frameworks' answers.

Needs PyTorch and TensorFlow (`make test-frontends` installs them):

    build/frontends/bin/python tests/frontends/make_fixtures.py
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import torch
from keras import layers
from torch import nn

DATA = Path(__file__).parent.parent / "compiler" / "data"
SIDE = 12
ANSWERS = 4


def keras_network(*, quantizable: bool, wide: bool = False) -> Any:
    """A few layers of each kind, with TensorFlow's odd "same" padding.

    Dynamic-range quantization leaves weights alone that have fewer than 1024 elements: hence `wide`.
    """
    keras.utils.set_random_seed(1)
    x = image = keras.Input((SIDE, SIDE, 3), name="image")
    x = layers.Conv2D(8, 3, strides=2, padding="same", activation="relu6")(x)
    y = layers.DepthwiseConv2D(3, padding="same")(x)
    x = layers.Add()([x, layers.Conv2D(8, 1)(y)])
    if not quantizable:
        x = layers.LeakyReLU(0.1)(x)
        x = layers.Concatenate()([layers.MaxPooling2D(2)(x), layers.AveragePooling2D(2)(x)])
    x = layers.GlobalAveragePooling2D()(x)
    if wide:
        x = layers.Dense(256)(x)
    return keras.Model(image, layers.Dense(10, activation="softmax", name="probabilities")(x))


def samples(dtype: str = "float32") -> Any:
    random = np.random.RandomState(2)
    shape = (ANSWERS, 1, SIDE, SIDE, 3)
    return random.randint(-128, 128, shape).astype("int8") if dtype == "int8" else (
        random.standard_normal(shape).astype("float32"))  # fmt: skip


def write_tflite(name: str, answers: dict[str, Any], *, quantize: str = "") -> None:
    """Write a TFLite file. Its answers are those of TFLite's reference kernels."""
    network = keras_network(quantizable=bool(quantize), wide=quantize == "weights")
    converter = tf.lite.TFLiteConverter.from_keras_model(network)
    if quantize:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if quantize == "int8":
        converter.representative_dataset = lambda: ([x] for x in samples())
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
    data = converter.convert()
    (DATA / f"{name}.tflite").write_bytes(data)
    interpreter = tf.lite.Interpreter(
        model_content=data, experimental_op_resolver_type=tf.lite.experimental.OpResolverType.BUILTIN_REF
    )
    interpreter.allocate_tensors()
    source, result = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    answers[f"{name}_x"] = samples(quantize)
    outputs = []
    for x in answers[f"{name}_x"]:
        interpreter.set_tensor(source["index"], x)
        interpreter.invoke()
        outputs.append(interpreter.get_tensor(result["index"]))
    answers[f"{name}_y"] = np.stack(outputs)


class TorchNetwork(nn.Module):
    """Weights, statistics and a constant: all that a .pt2 file can hold."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.fc = nn.Linear(8, 10)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.norm(self.conv(image))).mean((2, 3))
        return torch.softmax(self.fc(x) + torch.tensor([1.0]), -1)


def write_pt2(answers: dict[str, Any]) -> None:
    torch.manual_seed(1)
    network = TorchNetwork().eval()
    x = samples().transpose(0, 1, 4, 2, 3).copy()
    batch = torch.export.Dim("batch", min=1, max=64)
    for name, shapes in (("fixed", None), ("open", {"image": {0: batch}})):
        example = torch.zeros(1 if name == "fixed" else 2, 3, SIDE, SIDE)
        torch.export.save(torch.export.export(network, (example,), dynamic_shapes=shapes), DATA / f"{name}.pt2")
    answers["pt2_x"] = x
    with torch.no_grad():
        answers["pt2_y"] = np.stack([network(torch.from_numpy(sample)).numpy() for sample in x])


if __name__ == "__main__":
    DATA.mkdir(exist_ok=True)
    found: dict[str, Any] = {}
    write_tflite("float32", found)
    write_tflite("int8", found, quantize="int8")
    write_tflite("dynamic_range", {}, quantize="weights")
    write_pt2(found)
    np.savez_compressed(DATA / "answers.npz", **found)
