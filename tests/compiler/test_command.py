"""`tzml compile` either writes a whole bundle, or says in one line why not, and writes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import tzml
from onnx import helper
from small_models import DATA, floats, onnx_model


def onnx_file(folder: Path) -> Path:
    path = folder / "model.onnx"
    model = onnx_model(helper.make_node("MatMul", ["x", "w"], ["y"], "product"), w=floats(3, 3))
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize("kind", ["damaged", "open", "importer"])
def test_a_refusal_is_one_line_and_leaves_what_was_there(kind: str, tmp_path: Path) -> None:
    if kind == "importer":
        model, message = onnx_file(tmp_path), "the operator MatMul (layer product) does not fit its inputs"
    else:
        model = tmp_path / "model"
        model.write_bytes((DATA / "int8.tflite").read_bytes()[:400])
        message = "is not a valid TFLite file: "
        if kind == "open":
            model.write_bytes(
                onnx_model(helper.make_node("Relu", ["x"], ["y"]), shape=("n", 4)).SerializeToString()
            )
            message = "input x has open dimensions: ['n', 4]; give --input x=1x4"
    output = tmp_path / "model.tzm"
    output.write_bytes(b"what was there")
    done = tzml("compile", model, "-o", output, "--target", "host")
    assert done.returncode == 2
    error = done.stderr.splitlines()
    assert len(error) == 1, done.stderr
    assert error[0].startswith("tzml: ")
    assert message in error[0]
    assert output.read_bytes() == b"what was there"
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted({model.name, "model.tzm"})
