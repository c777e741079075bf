"""A model's format is told from its content; what is no model is named for what it is."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from small_models import DATA

from tzml.compiler.frontends import Format, recognise
from tzml.compiler.ir.errors import CompileError
from tzml_zoo.digits import ONNX


def archive(*names: str) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as out:
        for name in names:
            out.writestr(name, "{}")
    return made.getvalue()


def npy() -> bytes:
    made = io.BytesIO()
    np.save(made, np.zeros(3))
    return made.getvalue()


# GraphDef { node { name: "x" op: "Placeholder" } versions { producer: 1 } }
FROZEN = b"\x0a\x10\x0a\x01x\x12\x0bPlaceholder\x22\x02\x08\x01"


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (ONNX.read_bytes(), Format.onnx),
        ((DATA / "int8.tflite").read_bytes(), Format.tflite),
        ((DATA / "fixed.pt2").read_bytes(), Format.pytorch),
        (archive("config.json", "metadata.json", "model.weights.h5"), Format.keras),
        (FROZEN, Format.frozen_graph),
        (
            b'{\n  "nodes": [\n    {\n      "op": "null",\n      "name": "data",\n      "inputs": []}]}',
            Format.mxnet,
        ),
    ],
    ids=["onnx", "tflite", "pt2", "keras", "frozen", "mxnet"],
)
def test_the_content_tells_the_format_whatever_the_name(tmp_path: Path, data: bytes, kind: Format) -> None:
    path = tmp_path / "model.jpg"
    path.write_bytes(data)
    assert recognise(path) == kind


def test_a_saved_model_is_a_folder(tmp_path: Path) -> None:
    with pytest.raises(CompileError, match=r"is a folder without a saved_model.pb"):
        recognise(tmp_path)
    (tmp_path / "saved_model.pb").write_bytes(b"")
    assert recognise(tmp_path) == Format.saved_model


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (b"hello, world", "is no model file that tzml knows; it reads Darknet, Keras, MXNet, ONNX, PyTorch"),
        (b"\x89TZM\r\n\x1a\n", "is a bundle: it is compiled already"),
        (b"\x89HDF\r\n\x1a\n", r"Keras wrote until version 2; save it again: model.save\('model.keras'\)"),
        (b"\x80\x04\x95", "is a Python pickle, which can run any code when it is read"),
        (archive("m/data.pkl", "m/version"), "is a PyTorch checkpoint: weights without a network; export"),
        (archive("m/constants.pkl", "m/data.pkl"), "is a TorchScript file"),
        (archive("serialized_exported_program.json"), "before PyTorch 2.8; export it with a newer"),
        (archive("a.txt"), "is a zip archive, but no model"),
        (archive("a.txt")[:20], "is a damaged zip archive"),
        (npy(), "is a NumPy array"),
        (b"GGUF\3\0\0\0", "is a GGUF file"),
        (b"\x12\1" + bytes(22), "is a file of MXNet parameters; give the -symbol.json file beside it"),
    ],
    ids=[
        "empty",
        "text",
        "bundle",
        "hdf5",
        "pickle",
        "checkpoint",
        "torchscript",
        "old",
        "zip",
        "damaged",
        "npy",
        "gguf",
        "params",
    ],
)
def test_what_is_no_model_is_named(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(data)
    with pytest.raises(CompileError, match=message):
        recognise(path)
