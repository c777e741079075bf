"""Descriptions of the networks: their source, their size, and how to make their files."""

from __future__ import annotations

import hashlib
import importlib
import re
import tempfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import click
import onnx

from tzml.cache import cache_folder
from tzml.files import write_file

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
    "resnet152",
    "squeezenet",
    "vgg7",
    "vgg16",
    "vgg19",
    "vit_tiny",
)  # fmt: skip

RANDOM = "random, from a fixed seed"


@dataclass(frozen=True)
class ZooModel:
    """A network of the zoo.

    `network` builds it from input to output on a `Net`. The weights are `state()`, or drawn with a seed made from
    the name. A network that was trained here has an ONNX file, `file`, and a TFLite file of the same network,
    `tflite_file`, instead. `parameters` and `macs` (multiply-accumulates of one inference) are those of the
    literature where it gives them; tests compare them with what is built. `preprocess` and `labels` are for the
    options of `tzml compile` with these names.
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
        """Build the network. Returns it, and the builder with its counts."""
        assert self.network is not None
        net = Net(self.name, zlib.crc32(self.name.encode()), self.state() if self.state else None)
        image = net.input(self.input, *self.input_shape)
        return net.model(self.network(net, image), self.output), net

    def onnx(self) -> Path:
        """The path of the network's ONNX file, which is made on the first call and then kept in the cache."""
        if self.file:
            return self.file
        path = self._cached("onnx", self.name)
        if not path.exists():
            write_file(path, self.build()[0].SerializeToString())
        return path

    def tflite(self, *, make: bool) -> Path | None:
        """The path of the network's TFLite file, or None if it has not been made.

        With `make`, the file is made if necessary and kept in the cache. Raises ModuleNotFoundError if PyTorch or
        the converter is not installed.
        """
        if self.tflite_file:
            return self.tflite_file
        path = self._cached("tflite", self.name, "tflite_twin")
        if make and not path.exists():
            from .tflite_twin import save_tflite

            with tempfile.TemporaryDirectory(dir=path.parent) as folder:
                made = Path(folder, path.name)
                save_tflite(self.onnx(), self.input_shape, made)
                write_file(path, made.read_bytes())
        return path if path.exists() else None

    def _cached(self, suffix: str, *modules: str) -> Path:
        """The path in the cache.

        The name depends on everything that decides the file's bytes, including `modules` and what they import here.
        """
        digest = hashlib.sha256(" ".join(map(metadata.version, ("numpy", "onnx"))).encode())
        for path in sources(*modules):
            digest.update(path.read_bytes())
        return cache_folder("zoo") / f"{self.name}-{digest.hexdigest()[:12]}.{suffix}"

    def main(self) -> None:
        """Make the file and print its path, for `python -m tzml_zoo.NAME`."""
        path = self.onnx()
        click.echo(f"{path}: {self.title}, {path.stat().st_size:,} bytes")


def sources(*modules: str) -> list[Path]:
    """The files of modules of this package, and of those that they import from it."""
    found: set[Path] = set()
    left = [*modules]
    while left:
        name = left.pop()
        path = Path(__file__).parent / name
        path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        if path.exists() and path not in found:
            found.add(path)
            left += re.findall(r"^ *from \.+(\w+) import ", path.read_text(), re.MULTILINE)
    return sorted(found)


def models() -> dict[str, ZooModel]:
    """All networks by name. Nothing is built."""
    return {name: importlib.import_module(f".{name}", __package__).MODEL for name in MODULES}
