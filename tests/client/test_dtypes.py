"""Numbers of every dtype go in and come out as they are, through libtzml and through files."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import tzml
from echo import echo, numbers
from serve.server import HOST

from tzml.bundle import DType, Library
from tzml.client import World, open_model

pytestmark = pytest.mark.usefixtures("libtzml")


@pytest.fixture(scope="module")
def model(c_tests: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("echo") / "echo.tzm"
    library = Library(b"not signed", (c_tests / "example_kernels.so").read_bytes())
    path.write_bytes(replace(echo(), target=HOST, libraries=(library,)).encode())
    return path


GIVEN: dict[str, Any] = {dtype.name: numbers(dtype.name)[None] for dtype in DType}


def test_arrays_of_each_dtype_pass_the_library(model: Path) -> None:
    with open_model(model, World.ree) as opened:
        assert [str(info) for info in opened.inputs] == [f"{name}: {name}[1, 3]" for name in GIVEN]
        outputs = opened.run(GIVEN).outputs
    for name, array in GIVEN.items():
        answer = outputs[f"{name} again"]
        assert (answer.dtype, answer.tobytes()) == (array.dtype, array.tobytes())


def test_arrays_of_each_dtype_pass_through_files(model: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", **GIVEN)
    run = ("run", model, "--world", "ree", "--input", tmp_path / "x.npz")
    done = tzml(*run, "-o", tmp_path / "y.npz", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    shown = json.loads(done.stdout)["outputs"]
    with np.load(tmp_path / "y.npz") as found:
        for name, array in GIVEN.items():
            answer = found[f"{name} again"]
            assert (answer.dtype, answer.tobytes()) == (array.dtype, array.tobytes())
            assert np.array(shown[f"{name} again"], array.dtype).tobytes() == array.tobytes()
