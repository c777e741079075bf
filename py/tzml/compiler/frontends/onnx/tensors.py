"""The weights of ONNX files: where they lie, and whether their sizes are true."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError
from onnx import TensorProto, helper

from tzml.bundle.format import MAX_MEMORY
from tzml.compiler.frontends.errors import malformed
from tzml.compiler.ir.errors import CompileError

# elements of one byte at least are all that kernels know; two of these share a byte
PACKED = {getattr(TensorProto, name) for name in ("INT4", "UINT4", "FLOAT4E2M1") if hasattr(TensorProto, name)}


def all_tensors(model: onnx.ModelProto) -> Iterator[TensorProto]:
    """Every tensor that the file holds: initializers, and the attributes of constants, in all graphs."""
    yield from _graph_tensors(model.graph)
    for function in model.functions:
        yield from _node_tensors(function.node)


def _graph_tensors(graph: onnx.GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from _node_tensors(graph.node)


def _node_tensors(nodes: Iterator[onnx.NodeProto]) -> Iterator[TensorProto]:
    for node in nodes:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            for graph in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from _graph_tensors(graph)


def check_tensors(model: onnx.ModelProto, path: Path) -> None:
    """Raise CompileError for a tensor whose shape and data do not agree."""
    for tensor in all_tensors(model):
        size = _size(tensor, path)
        if tensor.HasField("raw_data") and len(tensor.raw_data) != size:
            raise malformed(
                path, "ONNX file", f"the tensor {tensor.name} has {len(tensor.raw_data)} bytes, not {size}"
            )


def external_files(path: Path) -> list[Path]:
    """The other files of its folder that an ONNX file has its weights in. Raises CompileError."""
    model = load_without_weights(path)
    found = set()
    for tensor in all_tensors(model):
        if tensor.data_location == TensorProto.EXTERNAL:
            where = {entry.key: entry.value for entry in tensor.external_data}
            found.add(_external_file(where.get("location", ""), tensor.name, path))
    return sorted(found)


def load_without_weights(path: Path) -> onnx.ModelProto:
    """Read an ONNX file, without the weights that are in other files. Raises CompileError for another file."""
    try:
        return onnx.load(str(path), load_external_data=False)
    except (DecodeError, ValueError) as error:
        raise malformed(path, "ONNX file", error) from error


def load_external_data(model: onnx.ModelProto, path: Path) -> None:
    """Read into `model` the tensors that are in other files of its folder.

    Raises CompileError for a file outside that folder, as a link may be, and for offsets beyond its end.
    """
    for tensor in all_tensors(model):
        if tensor.data_location != TensorProto.EXTERNAL:
            continue
        where = {entry.key: entry.value for entry in tensor.external_data}
        file = _external_file(where.get("location", ""), tensor.name, path)
        size = _size(tensor, path)
        offset, length = (_number(where.get(key, default), tensor.name, path)
                          for key, default in (("offset", "0"), ("length", str(size))))  # fmt: skip
        try:
            room = file.stat().st_size
            if length != size or offset + length > room:
                raise malformed(
                    path, "ONNX file",
                    f"the tensor {tensor.name} has {size} bytes, and is to be at {offset} of {file.name} with "
                    f"{length} of {room}",
                )  # fmt: skip
            with file.open("rb") as stream:
                stream.seek(offset)
                tensor.raw_data = stream.read(length)
        except OSError as error:
            raise CompileError(
                f"{path}: cannot read {file.name}, which has the weights {tensor.name}: {error.strerror}",
                "copy it together with the model",
            ) from error
        del tensor.external_data[:]
        tensor.data_location = TensorProto.DEFAULT


def _external_file(location: str, name: str, path: Path) -> Path:
    folder = path.resolve().parent
    file = (folder / location).resolve()
    if not location or not file.is_relative_to(folder):
        raise CompileError(
            f"{path}: the weights {name} are at {location!r}, outside the model's folder",
            "save the model with its weights: onnx.save(model, path, save_as_external_data=False)",
        )
    return file


def _number(text: str, name: str, path: Path) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 15:
        raise malformed(path, "ONNX file", f"the tensor {name} has an offset or a length of {text[:40]!r}")
    return int(text)


def _size(tensor: TensorProto, path: Path) -> int:
    """Bytes of a tensor by its shape and dtype."""
    try:
        itemsize = helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    except (KeyError, ValueError) as error:
        raise malformed(path, "ONNX file", f"the tensor {tensor.name} has no known data type") from error
    count = math.prod(tensor.dims)
    if min(tensor.dims, default=0) < 0 or count * itemsize > MAX_MEMORY:
        raise malformed(path, "ONNX file", f"the tensor {tensor.name} has the shape {list(tensor.dims)}")
    return (count + 1) // 2 if tensor.data_type in PACKED else count * itemsize
