"""MXNet's files answer as MXNet does, in an environment that `tzml environment mxnet` makes."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from small_models import CompileAndRun

from tzml.compiler import InputSpec
from tzml.compiler.frontends import import_file
from tzml.compiler.ir.errors import CompileError
from tzml.environments import ENVIRONMENTS

pytestmark = pytest.mark.skipif(
    not ENVIRONMENTS["mxnet"].is_made, reason="needs MXNet: tzml environment mxnet; make test-frontends"
)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mxnet")
    program = Path(__file__).with_name("mxnet_models.py")
    subprocess.run([ENVIRONMENTS["mxnet"].interpreter(), program, folder], check=True, capture_output=True)
    return folder


@pytest.mark.parametrize("name", ["resnet18_v1", "mobilenetv2_0.25", "module"])
def test_a_model_answers_as_mxnet(name: str, models: Path, compile_and_run: CompileAndRun) -> None:
    with np.load(models / f"{name}.npz") as arrays:
        x, theirs = arrays["x"], arrays["y"]
    ours = compile_and_run(models / f"{name}-symbol.json", x[None], data=x.shape)[0]
    np.testing.assert_allclose(ours, theirs, atol=1e-5 * np.abs(theirs).max())


def test_what_mxnet_exports_wrongly_is_refused(models: Path) -> None:
    with pytest.raises(CompileError, match=r"MXNet's export is wrong: output lrn\w+ differs by "):
        import_file(models / "lrn-symbol.json", {"data": InputSpec((1, 4, 9, 9))}, lambda _: None)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({}, r"input data has no shape in an MXNet file, .*; give --input data=1x3x224x224"),
        ({"dat": (1, 3, 30, 30)}, "the model has no input dat; it has data"),
        ({"data": (1, 4, 30, 30)}, "MXNet cannot export it: Error in operator conv: Shape inconsistent"),
    ],
)
def test_a_wrong_shape_is_named(shapes: dict[str, tuple[int, ...]], message: str, models: Path) -> None:
    with pytest.raises(CompileError, match=message):
        import_file(models / "module-symbol.json", {n: InputSpec(s) for n, s in shapes.items()}, lambda _: None)


def test_the_parameters_are_those_beside_it(models: Path, tmp_path: Path) -> None:
    symbol = Path(shutil.copy(models / "module-symbol.json", tmp_path))
    with pytest.raises(CompileError, match=r"there is no module-0000.params beside it, for any number; copy"):
        import_file(symbol, {}, lambda _: None)
    for epoch in (1, 2):
        (tmp_path / f"module-000{epoch}.params").touch()
    with pytest.raises(CompileError, match=r"2 files of parameters .*: module-0001.params, module-0002.params"):
        import_file(symbol, {}, lambda _: None)
