"""Check a TFLite file from end to end before anything believes it.

Field numbers are those of TensorFlow's schema.fbs, version 3.
"""

from __future__ import annotations

import math
from collections import Counter

from tzml.bundle.format import MAX_MEMORY
from tzml.compiler.frontends.tflite.flatbuffer import FlatbufferError, FlatTable

# bytes of an element by TensorType; 0 where the size does not follow from the shape (strings and the like)
ITEMSIZES = (4, 2, 4, 1, 8, 0, 1, 2, 8, 1, 8, 16, 8, 0, 0, 4, 2, 0)


def check_tflite(data: bytes) -> None:
    """Raise FlatbufferError for a file in which an offset, an index or a size is wrong."""
    model = FlatTable.root(data, "the model")
    buffers = [_buffer(table) for table in model.tables(4, "buffer")]
    codes = model.count(1)
    for table in model.tables(1, "operator code"):
        table.text(1)
    graphs = list(model.tables(2, "subgraph"))
    _require(bool(graphs), "it has no graph")
    for graph in graphs:
        _check_graph(graph, buffers, codes)


def _check_graph(graph: FlatTable, buffers: list[int], codes: int) -> None:
    names = [_check_tensor(tensor, buffers) for tensor in graph.tables(0, "tensor")]
    # TVM tells tensors apart by their names alone
    twice = [name for name, count in Counter(names).items() if name and count > 1]
    _require(not twice, f"several tensors have the name {', '.join(twice[:3])}")
    for field, what in ((1, "inputs"), (2, "outputs")):
        _require(all(0 <= i < len(names) for i in graph.numbers(field, "i")), f"the {what} name no tensor")
    for operator in graph.tables(3, "operator"):
        what = operator.what
        _require(operator.scalar(0, "uint32") < codes, f"{what} has no code")
        _require(all(-1 <= i < len(names) for i in operator.numbers(1, "i")), f"an input of {what} is no tensor")
        _require(all(0 <= i < len(names) for i in operator.numbers(2, "i")), f"an output of {what} is no tensor")
        operator.table(4, f"the options of {what}")
        operator.table(12, f"the options of {what}")
        _require(operator.scalar(9, "uint64") <= 1, f"{what} has options outside the FlatBuffer")


def _check_tensor(tensor: FlatTable, buffers: list[int]) -> str:
    name = tensor.text(3)
    what = f"tensor {name or tensor.what}"
    shape, kind, buffer = tensor.numbers(0, "i"), tensor.scalar(1, "int8"), tensor.scalar(2, "uint32")
    _require(0 <= kind < len(ITEMSIZES), f"{what} has an unknown type")
    _require(tensor.count(7) in (0, len(shape)), f"{what} has a shape and a signature of different ranks")
    size = math.prod(shape) * ITEMSIZES[kind]
    _require(min(shape, default=0) >= 0 and size <= MAX_MEMORY, f"{what} has the shape {list(shape)}")
    _require(buffer < len(buffers), f"{what} has no buffer")
    held = buffers[buffer]
    sparse = tensor.table(6, f"the sparsity of {what}") is not None
    fits = held in (0, size) or sparse or not ITEMSIZES[kind]
    _require(fits, f"{what} has {held} bytes, not {size}")
    quantization = tensor.table(4, f"the quantization of {what}")
    if quantization is not None:
        scales, zeros = quantization.numbers(2, "f"), quantization.numbers(3, "q")
        _require(len(zeros) in (0, 1, len(scales)), f"{what} has {len(scales)} scales and {len(zeros)} zero points")
        _require(all(map(math.isfinite, scales)), f"{what} has a scale that is no number")
        axis = quantization.scalar(6, "int32")
        _require(len(scales) <= 1 or (0 <= axis < len(shape) and shape[axis] == len(scales)),
                 f"{what} has {len(scales)} scales for its shape {list(shape)}")  # fmt: skip
    return name


def _buffer(table: FlatTable) -> int:
    """Bytes of a buffer, which may lie behind the FlatBuffer; there an offset of 0 or 1 means that it does not."""
    offset, size = table.scalar(1, "uint64"), table.scalar(2, "uint64")
    if offset <= 1:
        return table.count(0, 1)
    _require(offset + size <= len(table.data), f"{table.what} is outside of the file: {size} bytes at {offset}")
    return size


def _require(condition: bool, what: str) -> None:
    if not condition:
        raise FlatbufferError(what)
