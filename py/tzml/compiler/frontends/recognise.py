"""What kind of model a file is, from its content: names lie, and people rename files."""

from __future__ import annotations

import enum
import zipfile
from pathlib import Path

from tzml.compiler.ir.errors import CompileError
from tzml.darknet.cfg import is_cfg

# How much of a file is looked at. An ONNX file may begin with a long description.
HEAD = 1 << 16


class Format(enum.Enum):
    """The model formats that tzml reads; the values are their names for people."""

    darknet = "Darknet"
    keras = "Keras"
    mxnet = "MXNet"
    onnx = "ONNX"
    pytorch = "PyTorch (torch.export)"
    saved_model = "TensorFlow SavedModel"
    frozen_graph = "TensorFlow frozen graph"
    tflite = "TFLite"


EXPORT = "export the network: torch.export.save(torch.export.export(model.eval(), (example,)), 'model.pt2')"

# files that people take for a model file: how each begins, what it is, and what to do
OTHERS = (
    (b"\x89TZM", "a bundle: it is compiled already", "run it: tzml run FILE --input x.npy"),
    (b"\x89TZE", "an encrypted model", "give the key that it was encrypted for to `tzml compile --key`"),
    (
        b"\x89HDF\r\n\x1a\n",
        "an HDF5 file, as Keras wrote until version 2",
        "save it again: model.save('model.keras')",
    ),
    (b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", "a PyTorch checkpoint: weights without a network", EXPORT),
    (b"\x80", "a Python pickle, which can run any code when it is read", EXPORT),
    (b"\x93NUMPY", "a NumPy array", "give the file of a model"),
    (b"\x12\x01" + bytes(14), "a file of MXNet parameters", "give the -symbol.json file beside it"),
    (b"GGUF", "a GGUF file of weights", "export the network to ONNX"),
)


def recognise(path: Path) -> Format:
    """The format of the model at `path`. Raises CompileError for what is no model, and says what it is."""
    if path.is_dir():
        if (path / "saved_model.pb").is_file():
            return Format.saved_model
        raise CompileError(
            f"{path} is a folder without a saved_model.pb", "give a model file, or a SavedModel folder"
        )
    if path.is_fifo():
        raise CompileError(f"{path} is a pipe, which can be read only once", "give the file of a model")
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
    except OSError as error:
        raise CompileError(f"cannot read {path}: {error.strerror}", "check the path") from error
    if not head:
        raise CompileError(f"{path} is empty", "give the file of a trained model")
    if head[4:8] == b"TFL3":
        return Format.tflite
    if head.startswith(b"PK\x03\x04"):
        return _recognise_archive(path)
    if is_cfg(head):
        return Format.darknet
    for magic, what, remedy in OTHERS:
        if head.startswith(magic):
            raise CompileError(f"{path} is {what}", remedy)
    if head.lstrip().startswith(b"{") and all(f'"{key}"'.encode() in head for key in ("nodes", "op", "inputs")):
        return Format.mxnet
    return _recognise_protobuf(path, head)


def _recognise_archive(path: Path) -> Format:
    try:
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise CompileError(f"{path} is a damaged zip archive: {error}", "copy or export it again") from error
    if {"config.json", "model.weights.h5"} <= names:
        return Format.keras
    inside = {name.partition("/")[2] for name in names}
    if "models/model.json" in inside:
        return Format.pytorch
    if "serialized_exported_program.json" in names:
        raise CompileError(
            f"{path} was written by torch.export before PyTorch 2.8", "export it with a newer PyTorch"
        )
    if "constants.pkl" in inside:
        raise CompileError(f"{path} is a TorchScript file, which PyTorch has given up", EXPORT)
    if "data.pkl" in inside:
        raise CompileError(f"{path} is a PyTorch checkpoint: weights without a network", EXPORT)
    raise CompileError(f"{path} is a zip archive, but no model that tzml knows", _known())


def _recognise_protobuf(path: Path, head: bytes) -> Format:
    """ONNX and TensorFlow write protocol buffers, which have no magic: the fields tell them apart."""
    fields = _fields(head)
    varint, message = 0, 2
    # ModelProto: ir_version = 1, producer_name = 2, graph = 7; SavedModel: schema_version = 1, meta_graphs = 2
    if (1, varint) in fields and ((7, message) in fields or (8, message) in fields):
        return Format.onnx
    if fields[:2] == [(1, varint), (2, message)] and b"\x12" in head[:4] and _long_field(head):
        raise CompileError(f"{path} is one file of a TensorFlow SavedModel", "give the folder that it is in")
    if (1, varint) in fields:
        return Format.onnx
    # GraphDef: node = 1, versions = 4
    if fields and fields[0] == (1, message):
        return Format.frozen_graph
    raise CompileError(f"{path} is no model file that tzml knows", _known())


def _known() -> str:
    return f"it reads {', '.join(f.value for f in Format)}"


def _long_field(head: bytes) -> bool:
    """Whether the second field reaches beyond what was read: a graph, and no producer's name."""
    return len(_fields(head)) == 2


def _fields(head: bytes) -> list[tuple[int, int]]:
    """Number and wire type of a message's fields, as far as they can be followed. Empty for other files."""
    found: list[tuple[int, int]] = []
    at = 0
    while at < len(head):
        key, at = _varint(head, at)
        number, kind = key >> 3, key & 7
        if not 0 < number < 30 or kind not in (0, 1, 2, 5):
            return []
        found.append((number, kind))
        if kind == 0:
            _, at = _varint(head, at)
        elif kind == 2:
            size, at = _varint(head, at)
            at += size
        else:
            at += 8 if kind == 1 else 4
    return found


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data) and shift < 64:
        value |= (data[at] & 0x7F) << shift
        shift += 7
        at += 1
        if data[at - 1] < 0x80:
            break
    return value, at
