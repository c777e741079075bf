"""Quantized operators of TFLite answer as LiteRT's kernels do, within a step, or are refused.

LiteRT's reference kernels, its optimised ones and XNNPACK differ from each other by a step, too. The optimised ones
are the reference here. What LiteRT itself refuses is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_models import Array
from tflite_models import Tensor, TfliteFile

from tzml.client import World, open_model
from tzml.compiler import CompileOptions, compile_model
from tzml.errors import TzmlError

SHAPE = (1, 8, 8, 16)
NONE, RELU, RELU_N1_TO_1, RELU6 = 0, 1, 2, 3
# scales and zero points of an operator's input and output; zero points of uint8 are 128 more
STEPS = [
    ((0.1, 0), (0.1, 0)), ((0.05, -128), (0.05, -128)), ((0.05, 127), (0.05, 127)), ((0.1, 3), (0.04, -7)),
    ((0.02, -128), (0.3, 100)),
]  # fmt: skip


@dataclass(frozen=True)
class Steps:
    """The steps of an input and an output; `kind` is int8 or uint8."""

    kind: str
    given: tuple[float, int]
    result: tuple[float, int]

    def tensor(self, shape: tuple[int, ...], steps: tuple[float, int]) -> Tensor:
        return Tensor(shape, self.kind, steps[0], steps[1] + (128 if self.kind == "uint8" else 0))

    def input(self, shape: tuple[int, ...] = SHAPE) -> Tensor:
        return self.tensor(shape, self.given)

    def output(self, shape: tuple[int, ...] = SHAPE) -> Tensor:
        return self.tensor(shape, self.result)


Make = Callable[[TfliteFile, Steps], object]


def unary(name: str, options: str = "", result: tuple[float, int] | None = None, **values: Any) -> Make:
    def make(file: TfliteFile, steps: Steps) -> object:
        output = steps.tensor(SHAPE, result) if result else steps.output()
        return file.operator(name, [file.input(steps.input())], output, options=options, **values)

    return make


def binary(name: str, options: str, **values: Any) -> Make:
    def make(file: TfliteFile, steps: Steps) -> object:
        other = steps.tensor(SHAPE, (0.07, 11))
        inputs = [file.input(steps.input()), file.input(other)]
        return file.operator(name, inputs, steps.output(), options=options, **values)

    return make


def compared(name: str, options: str) -> Make:
    def make(file: TfliteFile, steps: Steps) -> object:
        inputs = [file.input(steps.input()), file.input(steps.output())]
        return file.operator(name, inputs, Tensor(SHAPE, "bool"), options=options)

    return make


def pool(name: str, kernel: int, stride: int, same: bool, activation: int) -> Make:
    def make(file: TfliteFile, steps: Steps) -> object:
        side = -(-8 // stride) if same else (8 - kernel) // stride + 1
        return file.operator(
            name, [file.input(steps.input())], steps.output((1, side, side, 16)), options="Pool2DOptions",
            Padding=0 if same else 1, StrideH=stride, StrideW=stride, FilterHeight=kernel, FilterWidth=kernel,
            FusedActivationFunction=activation,
        )  # fmt: skip

    return make


def reduction(name: str, axes: tuple[int, ...], keep: bool) -> Make:
    def make(file: TfliteFile, steps: Steps) -> object:
        sizes = [1 if i in axes else n for i, n in enumerate(SHAPE) if keep or i not in axes]
        operands = [file.input(steps.input()), file.constant(np.array(axes, np.int32))]
        return file.operator(name, operands, steps.output(tuple(sizes)), options="ReducerOptions", KeepDims=keep)

    return make


def layer(name: str, options: str, shape: tuple[int, ...], channels: int, axis: int, **values: Any) -> Make:
    """With weights and a bias of random integers, and a scale for each output."""

    def make(file: TfliteFile, steps: Steps) -> object:
        random = np.random.default_rng(2)
        is_unsigned = steps.kind == "uint8"  # such files have one scale, and a zero point
        scales = np.full(channels, 0.01) if is_unsigned else 0.01 * (1 + np.arange(channels) / channels)
        integers = random.integers(-127, 128, shape) + (127 if is_unsigned else 0)
        weights = file.constant(
            integers.astype(steps.kind), scale=scales[:1] if is_unsigned else scales,
            zero=117 if is_unsigned else 0, axis=0 if is_unsigned else axis,
        )  # fmt: skip
        biases = random.integers(-20000, 20000, channels).astype(np.int32)
        units = scales * steps.given[0]
        bias = file.constant(biases, scale=units[:1] if is_unsigned else units)
        size = (64, channels) if name == "FULLY_CONNECTED" else (*SHAPE[:3], channels)
        output = steps.tensor(size, (4 * steps.result[0], steps.result[1]))
        return file.operator(name, [file.input(steps.input()), weights, bias], output, options=options, **values)

    return make


def resize(name: str, options: str, size: tuple[int, int], **values: Any) -> Make:
    def make(file: TfliteFile, steps: Steps) -> object:
        operands = [file.input(steps.input()), file.constant(np.array(size, np.int32))]
        return file.operator(name, operands, steps.output((1, *size, 16)), options=options, **values)

    return make


def positions(name: str, options: str) -> Make:
    def make(file: TfliteFile, steps: Steps) -> object:
        operands = [file.input(steps.input()), file.constant(np.array(3, np.int32))]
        return file.operator(name, operands, Tensor((1, 8, 8), "int32"), options=options, OutputType=2)

    return make


def operators() -> Iterator[tuple[str, Make]]:
    for name in ("AVERAGE_POOL_2D", "MAX_POOL_2D"):
        for about in ((4, 4, False, NONE), (3, 2, True, RELU6), (2, 1, True, RELU), (8, 1, False, RELU_N1_TO_1)):
            yield f"{name}-{about}", pool(name, *about)
    for name in ("Add", "Sub", "Mul"):
        for activation in (NONE, RELU, RELU6, RELU_N1_TO_1):
            yield (f"{name}-{activation}",
                   binary(name.upper(), f"{name}Options", FusedActivationFunction=activation))  # fmt: skip
    for name in ("MAXIMUM", "MINIMUM"):
        yield name, binary(name, "MaximumMinimumOptions")
    yield "SQUARED_DIFFERENCE", binary("SQUARED_DIFFERENCE", "SquaredDifferenceOptions")
    for name in ("Equal", "NotEqual", "Greater", "GreaterEqual", "Less", "LessEqual"):
        operator = "".join(f"_{c}" if c.isupper() else c for c in name)[1:].upper()
        yield operator, compared(operator, f"{name}Options")
    for name in ("RELU", "RELU6", "RELU_N1_TO_1", "ABS", "NEG", "EXP", "HARD_SWISH", "QUANTIZE"):
        yield name, unary(name)
    for alpha in (0.1, -0.3):
        yield f"LEAKY_RELU-{alpha}", unary("LEAKY_RELU", "LeakyReluOptions", Alpha=alpha)
    yield "LOGISTIC", unary("LOGISTIC", result=(1 / 256, -128))
    yield "TANH", unary("TANH", result=(1 / 128, 0))
    yield "LOG_SOFTMAX", unary("LOG_SOFTMAX", result=(16 / 256, 127))
    for beta in (1.0, 0.25):
        yield f"SOFTMAX-{beta}", unary("SOFTMAX", "SoftmaxOptions", (1 / 256, -128), Beta=beta)
    for name in ("MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD"):
        for axes, keep in (((1, 2), True), ((1, 2), False), ((3,), True), ((1,), False), ((0, 1, 2, 3), True)):
            yield f"{name}-{axes}-{keep}", reduction(name, axes, keep)
    for name in ("Max", "Min"):
        yield f"ARG_{name.upper()}", positions(f"ARG_{name.upper()}", f"Arg{name}Options")
    for size in ((16, 16), (5, 7)):
        for align, half in ((False, False), (True, False), (False, True)):
            for name, options in (("RESIZE_BILINEAR", "ResizeBilinearOptions"),
                                  ("RESIZE_NEAREST_NEIGHBOR", "ResizeNearestNeighborOptions")):  # fmt: skip
                made = resize(name, options, size, AlignCorners=align, HalfPixelCenters=half)
                yield f"{name}-{size}-{align}-{half}", made
    for activation in (NONE, RELU, RELU6):
        window = {"StrideH": 1, "StrideW": 1, "FusedActivationFunction": activation}
        yield f"CONV_2D-{activation}", layer("CONV_2D", "Conv2DOptions", (16, 3, 3, 16), 16, 0, **window)
        yield (f"DEPTHWISE_CONV_2D-{activation}",
               layer("DEPTHWISE_CONV_2D", "DepthwiseConv2DOptions", (1, 3, 3, 32), 32, 3, DepthMultiplier=2,
                     **window))  # fmt: skip
        yield (f"FULLY_CONNECTED-{activation}",
               layer("FULLY_CONNECTED", "FullyConnectedOptions", (10, 16), 10, 0,
                     FusedActivationFunction=activation))  # fmt: skip


def by_litert(file: TfliteFile, inputs: list[Array]) -> list[Array] | None:
    """By the newest version of the operator that LiteRT has; None if it refuses it."""
    interpreter = pytest.importorskip("ai_edge_litert.interpreter", reason="needs LiteRT: make test-frontends")
    kernels = interpreter.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    for file.version in (5, 4, 3, 2, 1):
        try:
            found = interpreter.Interpreter(model_content=file.to_bytes(), experimental_op_resolver_type=kernels)
            found.allocate_tensors()
            for about, x in zip(found.get_input_details(), inputs, strict=True):
                found.set_tensor(about["index"], x)
            found.invoke()
        except (RuntimeError, ValueError):
            continue
        return [found.get_tensor(about["index"]) for about in found.get_output_details()]
    return None


def by_tzml(file: TfliteFile, inputs: list[Array], folder: Path) -> list[Array] | None:
    """None if it refuses it."""
    (folder / "model.tflite").write_bytes(file.to_bytes())
    try:
        compile_model(folder / "model.tflite", CompileOptions("host")).write(folder / "model.tzm")
    except TzmlError:
        return None
    with open_model(folder / "model.tzm", World.ree) as model:
        given = dict(zip([port.name for port in model.inputs], inputs, strict=True))
        return list(model.run(given).outputs.values())


def sample(tensor: Tensor) -> Array:
    """Random integers, and the limits."""
    about = np.iinfo(tensor.kind)
    x = np.random.default_rng(1).integers(about.min, about.max, tensor.shape, tensor.kind, endpoint=True)
    x.reshape(-1)[:2] = about.min, about.max
    return np.asarray(x)


MADE = dict(operators())


@pytest.mark.parametrize("kind", ["int8", "uint8"])
@pytest.mark.parametrize("name", MADE)
def test_a_quantized_operator_answers_as_litert_or_is_refused(
    name: str, kind: str, tmp_path: Path, libtzml: Path
) -> None:
    for given, result in STEPS:
        file = TfliteFile()
        MADE[name](file, Steps(kind, given, result))
        inputs = [sample(file.tensors[i]) for i in file.inputs]
        theirs = by_litert(file, inputs)
        ours = by_tzml(file, inputs, tmp_path) if theirs is not None else None
        if theirs is None or ours is None:
            continue
        for a, b in zip(ours, theirs, strict=True):
            assert (a.shape, a.dtype) == (b.shape, b.dtype)
            different = np.abs(a.astype(int) - b.astype(int))
            if name == "NEG":  # LiteRT's wraps round
                different = different[inputs[0] != np.iinfo(kind).min]
            assert different.max() <= 1, (given, result)
