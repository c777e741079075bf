"""Compile a network of the zoo for this host and compare its answers with those of its framework."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tzml.client import World, open_model
from tzml.compiler import CompileOptions, compile_model

from .builder import Floats
from .packages import photographs
from .zoo import ZooModel

SEED = 1


@dataclass(frozen=True)
class Agreement:
    """The result of a comparison.

    `difference` is the largest absolute difference between two outputs; `largest` is the largest absolute output.
    In `agree` of `samples` cases both rank the same class first. The reference ranks `classes` different classes
    first. `seconds` is the wall time of the compiler.
    """

    name: str
    difference: float
    largest: float
    agree: int
    classes: int
    samples: int
    seconds: float


def samples(model: ZooModel, count: int) -> Iterator[Floats]:
    """`count` inputs: parts of photographs for networks that take colour images, noise for others."""
    random = np.random.RandomState(SEED)
    colours = len(model.input_shape) == 4 and model.input_shape[1] == 3
    for i in range(count):
        if colours:
            yield _part_of_photograph(random, i, *model.input_shape[2:])
        else:
            yield random.standard_normal(model.input_shape).astype(np.float32)


def _part_of_photograph(random: np.random.RandomState, number: int, height: int, width: int) -> Floats:
    from PIL import Image

    photograph = list(photographs().values())[number % 2]
    with Image.open(photograph) as image:
        side = random.randint(200, min(image.size))
        left, top = random.randint(image.width - side), random.randint(image.height - side)
        part = image.convert("RGB").resize((width, height), box=(left, top, left + side, top + side))
    pixels = np.asarray(part, np.float32)
    return np.ascontiguousarray((pixels.transpose(2, 0, 1)[None] - 127) / np.float32(64))


def check(model: ZooModel, kind: str, count: int, secure_memory: int) -> Agreement:
    """Compile the network from a file of `kind`, "onnx" or "pt2", and compare `count` answers with the reference.

    The reference is ONNX Runtime for ONNX files, PyTorch for .pt2 files. Raises TzmlError.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = model.onnx() if kind == "onnx" else _save_pt2(model, Path(folder) / f"{model.name}.pt2")
        reference = _onnx_runtime(file) if kind == "onnx" else _pytorch(file)
        start = time.monotonic()
        bundle = compile_model(file, CompileOptions("host", secure_memory=secure_memory))
        seconds = time.monotonic() - start
        path = Path(folder) / "model.tzm"
        bundle.write(path)
        with open_model(path, World.ree) as compiled:
            name = compiled.outputs[0].name
            pairs = [(compiled.run(x).outputs[name], reference(x)) for x in samples(model, count)]
    return Agreement(
        name=model.name,
        difference=max(float(np.abs(ours - theirs).max()) for ours, theirs in pairs),
        largest=max(float(np.abs(theirs).max()) for _, theirs in pairs),
        agree=sum(ours.argmax() == theirs.argmax() for ours, theirs in pairs),
        classes=len({int(theirs.argmax()) for _, theirs in pairs}),
        samples=count,
        seconds=seconds,
    )


Run = Callable[[Floats], NDArray[Any]]


def _onnx_runtime(file: Path) -> Run:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(file))
    name = session.get_inputs()[0].name

    def run(x: Floats) -> NDArray[Any]:
        output: NDArray[Any] = session.run(None, {name: x})[0]
        return output

    return run


def _save_pt2(model: ZooModel, file: Path) -> Path:
    from .torch_twin import save_pt2

    save_pt2(model.onnx(), model.input_shape, file)
    return file


def _pytorch(file: Path) -> Run:
    import torch

    network = torch.export.load(file).module()

    def run(x: Floats) -> NDArray[Any]:
        with torch.no_grad():
            output: NDArray[Any] = network(torch.from_numpy(x)).numpy()
        return output

    return run
