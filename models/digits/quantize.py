"""Quantize digits.onnx to int8 with ONNX Runtime and with TensorFlow, calibrated on its training digits.

    pip install 'tzml[train]' ai-edge-litert onnxruntime tensorflow-cpu && python -m tzml_zoo.digits.quantize

Writes digits_int8.onnx (int8 weights per channel, int8 activations, QuantizeLinear and DequantizeLinear),
digits_int8.tflite, digits.tflite, and LiteRT's answers with digits_int8.tflite as digits_int8.npz.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from onnx import numpy_helper
from onnxruntime import quantization
from onnxruntime.quantization.shape_inference import quant_pre_process

from . import INT8_ONNX, LITERT_ANSWERS, ONNX, TFLITE, held_out_digits, training_digits

CALIBRATION = 200
ANSWERS = 200


class Digits(quantization.CalibrationDataReader):
    """The digits on which activations are calibrated."""

    def __init__(self) -> None:
        self.images = iter(training_digits()[0][:CALIBRATION, None])

    def get_next(self) -> dict[str, Any] | None:
        image = next(self.images, None)
        return None if image is None else {"image": image}


def write_onnx() -> None:
    quant_pre_process(str(ONNX), str(INT8_ONNX), skip_symbolic_shape=True)
    quantization.quantize_static(
        str(INT8_ONNX),
        str(INT8_ONNX),
        Digits(),
        quant_format=quantization.QuantFormat.QDQ,
        per_channel=True,
        activation_type=quantization.QuantType.QInt8,
        weight_type=quantization.QuantType.QInt8,
    )


class LeNet5(tf.Module):
    """digits.onnx in TensorFlow: float32 [1, 28, 28, 1] to ten probabilities."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = {t.name: numpy_helper.to_array(t) for t in onnx.load(str(ONNX)).graph.initializer}

    @tf.function(input_signature=[tf.TensorSpec((1, 28, 28, 1), name="image")])
    def __call__(self, x: Any) -> Any:
        for layer, padding in ((0, "SAME"), (3, "VALID")):
            weights = self.weights[f"{layer}.weight"].transpose(2, 3, 1, 0)
            x = tf.nn.relu(tf.nn.conv2d(x, weights, 1, padding) + self.weights[f"{layer}.bias"])
            x = tf.nn.max_pool2d(x, 2, 2, "VALID")
        x = tf.reshape(x, (1, 400))
        for layer in (7, 9, 11):
            weights = self.weights[f"{layer}.weight"].T
            if layer == 7:  # channels are last here
                weights = weights.reshape(16, 25, 120).transpose(1, 0, 2).reshape(400, 120)
            x = tf.matmul(x, weights) + self.weights[f"{layer}.bias"]
            x = tf.nn.relu(x) if layer != 11 else x
        return tf.nn.softmax(x)


def write_tflite(*, quantize: bool) -> None:
    network = LeNet5()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([network.__call__.get_concrete_function()], network)
    if quantize:
        images = training_digits()[0][:CALIBRATION]
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([image.reshape(1, 28, 28, 1)] for image in images)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
    TFLITE["digits_int8" if quantize else "digits"].write_bytes(converter.convert())


def write_answers() -> None:
    """LiteRT's answers to held-out digits, with its default kernels and with its reference kernels."""
    images = held_out_digits()[0][:ANSWERS].reshape(-1, 1, 28, 28, 1)
    found: dict[str, Any] = {}
    for name, kernels in (("litert", OpResolverType.AUTO), ("reference", OpResolverType.BUILTIN_REF)):
        interpreter = Interpreter(str(TFLITE["digits_int8"]), experimental_op_resolver_type=kernels)
        interpreter.allocate_tensors()
        source, result = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
        scale, zero = source["quantization"]
        found["x"] = np.clip(np.rint(images / scale) + zero, -128, 127).astype(np.int8)
        answers = []
        for x in found["x"]:
            interpreter.set_tensor(source["index"], x)
            interpreter.invoke()
            answers.append(interpreter.get_tensor(result["index"])[0])
        found[name] = np.stack(answers)
    np.savez_compressed(LITERT_ANSWERS, **found)


if __name__ == "__main__":
    write_onnx()
    write_tflite(quantize=False)
    write_tflite(quantize=True)
    write_answers()
