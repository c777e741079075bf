"""What several tests need: C programs of the host, compiled once; a compiled model; a signing key."""

from __future__ import annotations

import fcntl
import gc
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

# The process that hands out the tests (make check) imports this, too: what takes long is imported where it is used
if TYPE_CHECKING:
    from small_models import Array, CompileAndRun

    from tzml.bundle import Bundle

ROOT = Path(__file__).parent.parent
BUILD = ROOT / "build" / "tests"


def pytest_addoption(parser: pytest.Parser) -> None:
    help_ = "also run the tests that start a lab with boards on this host (some minutes)"
    parser.addoption("--bench", action="store_true", help=help_)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "bench: starts a lab with boards on this host; needs --bench")
    if find_spec("hypothesis"):  # which not all environments for frontends have
        from hypothesis import settings

        settings.load_profile("ci")  # a busy machine is no fault: no time limits, and the same examples each time


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Without --bench its tests are left out, as if by -m."""
    if config.option.bench:
        return
    left_out = [item for item in items if item.get_closest_marker("bench")]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


def pytest_collection_finish() -> None:
    # TVM and labgrid are a million objects, which no collection need look at again; and few are needed
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)


def once(factory: pytest.TempPathFactory, name: str, fill: Callable[[Path], object]) -> Path:
    """A folder that one process fills for all that run tests in this session."""
    root = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent
    folder, done = root / name, root / f"{name}.done"
    with (root / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)  # what a failure left
            folder.mkdir()
            fill(folder)
            done.touch()
    return folder


def make(folder: str, *arguments: str) -> None:
    """Run make in a folder of the repository; what it says is the failure's text."""
    BUILD.mkdir(parents=True, exist_ok=True)
    with (BUILD / "make.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests run in several processes (make check)
        result = subprocess.run(
            ["make", "-C", ROOT / folder, *arguments], capture_output=True, text=True, check=False
        )
    assert result.returncode == 0, result.stdout + result.stderr


def tzml(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command `tzml`."""
    from programs import run_module

    return run_module("tzml", *arguments)


@pytest.fixture(scope="session")
def c_tests() -> Path:
    """Folder with the programs of tests/c."""
    make("tests/c", f"O={BUILD / 'c'}")
    return BUILD / "c"


@pytest.fixture(scope="session")
def libtzml() -> Iterator[Path]:
    """libtzml for this host, without a TEE, for tzml.client to load."""
    make("host", f"O={BUILD / 'host'}", "TEE=n")
    library = BUILD / "host" / "libtzml.so.1"
    os.environ["TZML_LIBRARY"] = str(library)
    yield library
    del os.environ["TZML_LIBRARY"]


@pytest.fixture(scope="session")
def key_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh signing key."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    path = tmp_path_factory.mktemp("keys") / "ta-sign.pem"
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(pem)
    return path


@pytest.fixture(scope="session")
def digits_for_host(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The digits network, compiled for this host."""

    def compile_digits(folder: Path) -> None:
        from tzml.compiler import CompileOptions, compile_model
        from tzml_zoo.digits import ONNX

        compile_model(ONNX, CompileOptions("host")).write(folder / "digits.tzm")

    return once(tmp_path_factory, "digits-for-host", compile_digits) / "digits.tzm"


@pytest.fixture(scope="session")
def for_qemu(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Bundle]:
    """Networks of the zoo by name, compiled for QEMU's machine; its memory limits none."""

    def compiled(name: str) -> Bundle:
        from tzml.bundle import read
        from tzml.compiler import CompileOptions, compile_model
        from tzml_zoo import models

        def fill(folder: Path) -> None:
            options = CompileOptions("qemu", secure_memory=1 << 40)
            compile_model(models()[name].onnx(), options).write(folder / "model.tzm")

        return read(once(tmp_path_factory, f"{name}-for-qemu", fill) / "model.tzm")

    return compiled


@pytest.fixture
def compile_and_run(tmp_path: Path, libtzml: Path) -> CompileAndRun:
    """Compile a file for this host, with input shapes by name, and run it on each of some samples."""

    def run(path: Path, samples: Array, **shapes: tuple[int, ...]) -> Array:
        import numpy as np

        from tzml.client import World, open_model
        from tzml.compiler import CompileOptions, InputSpec, compile_model

        inputs = {name: InputSpec(shape) for name, shape in shapes.items()}
        compile_model(path, CompileOptions("host", inputs=inputs)).write(tmp_path / "out.tzm")
        with open_model(tmp_path / "out.tzm", World.ree) as model:
            return np.stack([model.run(x).outputs[model.outputs[0].name] for x in samples])

    return run


@pytest.fixture(scope="session")
def answers() -> dict[str, Array]:
    """What the frameworks answer that wrote the models in `data` (tests/frontends/make_fixtures.py)."""
    import numpy as np
    from small_models import DATA

    with np.load(DATA / "answers.npz") as file:
        return dict(file)
