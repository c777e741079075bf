"""What every network of the zoo has: where it comes from, how large it is, and how to get its ONNX file."""

from __future__ import annotations

import hashlib
import importlib
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import click
import onnx

from tzml.cache import cache_folder

from .builder import Floats, Net, Value

MODULES = (
    "digits",
    "digits_int8",
    "efficientnet_lite0",
    "alexnet",
    "densenet121",
    "gru_keywords",
    "inception_v3",
    "lstm_keywords",
    "mobilenet_v2",
    "resnet18",
    "resnet50",
    "squeezenet",
    "vgg7",
    "vgg16",
    "vit_tiny",
)  # fmt: skip

RANDOM = "random, from a fixed seed"


@dataclass(frozen=True)
class ZooModel:
    """A network of the zoo.

    `network` builds it, from the input to the output, on a `Net` whose weights are `state()`, or drawn
    from a seed that is the name's; a network that was trained here has its ONNX file instead, and a TFLite file
    of the same network, `tflite_file`. `parameters`
    and `macs` (multiply-accumulates of one inference) are the literature's where it gives them; tests
    compare them with what is built. `preprocess` and `labels` are what `tzml compile` takes under these
    names.
    """

    name: str
    title: str
    paper: str
    weights: str
    input_shape: tuple[int, ...]
    parameters: int
    macs: int
    network: Callable[[Net, Value], Value] | None = None
    input: str = "image"
    output: str = "logits"
    state: Callable[[], Mapping[str, Floats]] | None = None
    file: Path | None = None
    tflite_file: Path | None = None
    preprocess: Mapping[str, Any] | None = None
    labels: Callable[[], list[str]] | None = None

    def build(self) -> tuple[onnx.ModelProto, Net]:
        """The network, and the builder with its counts."""
        assert self.network is not None
        net = Net(self.name, zlib.crc32(self.name.encode()), self.state() if self.state else None)
        image = net.input(self.input, *self.input_shape)
        return net.model(self.network(net, image), self.output), net

    def onnx(self) -> Path:
        """The network's ONNX file; made on the first call, and then kept in the cache."""
        if self.file:
            return self.file
        path = self._cached("onnx", "builder", "zoo", self.name)
        if not path.exists():
            part = path.with_suffix(".part")
            onnx.save(self.build()[0], part)
            part.replace(path)
        return path

    def tflite(self, *, make: bool) -> Path | None:
        """The network's TFLite file; None where it has not been made. With `make` it is, and kept in the cache.

        Raises ModuleNotFoundError where PyTorch or the converter is not installed.
        """
        if self.tflite_file:
            return self.tflite_file
        path = self._cached("tflite", "builder", "zoo", self.name, "torch_twin", "tflite_twin")
        if make and not path.exists():
            from .tflite_twin import save_tflite

            part = path.with_suffix(".part")
            save_tflite(self.onnx(), self.input_shape, part)
            part.replace(path)
        return path if path.exists() else None

    def _cached(self, suffix: str, *modules: str) -> Path:
        """The file's place; its name changes with whatever decides its bytes: these modules among them."""
        digest = hashlib.sha256(" ".join(map(metadata.version, ("numpy", "onnx"))).encode())
        for module in modules:
            digest.update((Path(__file__).parent / f"{module}.py").read_bytes())
        return cache_folder("zoo") / f"{self.name}-{digest.hexdigest()[:12]}.{suffix}"

    def main(self) -> None:
        """Write the file and say where: what `python -m tzml_zoo.NAME` does."""
        path = self.onnx()
        click.echo(f"{path}: {self.title}, {path.stat().st_size:,} bytes")


def models() -> dict[str, ZooModel]:
    """The whole zoo by name. Nothing is built."""
    return {name: importlib.import_module(f".{name}", __package__).MODEL for name in MODULES}
