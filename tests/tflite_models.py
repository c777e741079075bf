"""TFLite files in the making, by the schema's own functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import flatbuffers
import numpy as np
import tflite
from numpy.typing import ArrayLike, NDArray

Array = NDArray[Any]

TYPES = {
    "float32": "FLOAT32", "int32": "INT32", "uint8": "UINT8", "int64": "INT64", "bool": "BOOL", "int16": "INT16",
    "int8": "INT8", "resource": "RESOURCE", "float16": "FLOAT16", "uint16": "UINT16", "uint32": "UINT32",
    "complex64": "COMPLEX64",
}  # fmt: skip


@dataclass(frozen=True)
class Tensor:
    """A tensor; with `scale` it is quantized, with one scale or one for each index of `axis`.

    A `variable` is the state of a recurrent operator, and zeros before the first run.
    """

    shape: tuple[int, ...]
    kind: str = "float32"
    scale: ArrayLike | None = None
    zero: ArrayLike = 0
    axis: int = 0
    data: Array | None = None
    variable: bool = False


@dataclass
class TfliteFile:
    """A file with one graph; `version` is that of its operators."""

    version: int = 5
    tensors: list[Tensor] = field(default_factory=list)
    inputs: list[int] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)
    operators: list[tuple[str, list[int], list[int], str, dict[str, Any]]] = field(default_factory=list)

    def tensor(self, tensor: Tensor) -> int:
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def input(self, tensor: Tensor) -> int:
        self.inputs.append(self.tensor(tensor))
        return self.inputs[-1]

    def constant(self, data: Array, **quantization: Any) -> int:
        return self.tensor(Tensor(data.shape, str(data.dtype), data=data, **quantization))

    def operator(
        self, name: str, inputs: Sequence[int], *results: Tensor, options: str = "", **values: Any
    ) -> list[int]:
        """Add an operator with such options; its results are outputs of the network, unless they are resources."""
        made = [self.tensor(result) for result in results]
        self.operators.append((name, list(inputs), made, options, values))
        self.outputs += [number for number in made if self.tensors[number].kind != "resource"]
        return made

    def to_bytes(self, *, behind: bool = False) -> bytes:
        """The file; `behind` puts the data of constants behind the FlatBuffer, as large files have it."""
        if not behind:
            return self._flatbuffer([])
        sizes = [_bytes(tensor.data) for tensor in self.tensors if tensor.data is not None]
        places, whole = [2] * len(sizes), b""
        for _ in range(2):  # first as large as it will be, then with the places
            whole = self._flatbuffer(places)
            places = [len(whole) + sum(map(len, sizes[:i])) for i in range(len(sizes))]
        return whole + b"".join(map(bytes, sizes))

    def _flatbuffer(self, places: list[int]) -> bytes:
        b = flatbuffers.Builder(1024)
        names = list(dict.fromkeys(operator[0] for operator in self.operators))
        buffers = [_table(b, "Buffer")]
        tensors = []
        for number, tensor in enumerate(self.tensors):
            at = 0
            if tensor.data is not None:
                at = len(buffers)
                data = _bytes(tensor.data)
                if places:
                    buffers.append(_table(b, "Buffer", Offset=places[at - 1], Size=len(data)))
                else:
                    buffers.append(_table(b, "Buffer", Data=b.CreateNumpyVector(data)))
            tensors.append(self._tensor(b, number, tensor, at))
        operators = [self._operator(b, names, *operator) for operator in self.operators]
        graph = _table(
            b, "SubGraph", Tensors=_offsets(b, tensors), Inputs=_ints(b, self.inputs),
            Outputs=_ints(b, self.outputs), Operators=_offsets(b, operators),
        )  # fmt: skip
        codes = []
        for name in names:
            code = getattr(tflite.BuiltinOperator, name)
            codes.append(
                _table(
                    b, "OperatorCode", DeprecatedBuiltinCode=min(code, 127), BuiltinCode=code, Version=self.version
                )
            )
        model = _table(
            b, "Model", Version=3, OperatorCodes=_offsets(b, codes), Subgraphs=_offsets(b, [graph]),
            Buffers=_offsets(b, buffers),
        )  # fmt: skip
        b.Finish(model, b"TFL3")
        return bytes(b.Output())

    def _tensor(self, b: Any, number: int, tensor: Tensor, buffer: int) -> int:
        fields: dict[str, int] = {}
        if tensor.scale is not None:
            scales = np.atleast_1d(np.asarray(tensor.scale, np.float32))
            zeros = np.broadcast_to(np.asarray(tensor.zero, np.int64), scales.shape)
            fields["Quantization"] = _table(
                b, "QuantizationParameters", Scale=b.CreateNumpyVector(scales),
                ZeroPoint=b.CreateNumpyVector(np.ascontiguousarray(zeros)), QuantizedDimension=tensor.axis,
            )  # fmt: skip
        if tensor.variable:
            fields["IsVariable"] = True
        return _table(
            b, "Tensor", Shape=_ints(b, tensor.shape), Name=b.CreateString(f"t{number}"),
            Type=getattr(tflite.TensorType, TYPES[tensor.kind]), Buffer=buffer, **fields,
        )  # fmt: skip

    def _operator(
        self, b: Any, names: list[str], name: str, inputs: list[int], results: list[int], options: str,
        values: dict[str, Any],
    ) -> int:  # fmt: skip
        fields: dict[str, int] = {}
        if options:
            made = {k: _option(b, v) for k, v in values.items()}
            place = "BuiltinOptions" if hasattr(tflite.BuiltinOptions, options) else "BuiltinOptions2"
            fields[place] = _table(b, options, **made)
            fields[f"{place}Type"] = getattr(getattr(tflite, place), options)
        return _table(
            b, "Operator", OpcodeIndex=names.index(name), Inputs=_ints(b, inputs), Outputs=_ints(b, results),
            **fields,
        )  # fmt: skip


def _table(b: Any, name: str, **fields: Any) -> int:
    getattr(tflite, f"{name}Start")(b)
    for field_name, value in fields.items():
        getattr(tflite, f"{name}Add{field_name}")(b, value)
    end: int = getattr(tflite, f"{name}End")(b)
    return end


def _option(b: Any, value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return b.CreateNumpyVector(value)
    return _ints(b, value) if isinstance(value, list | tuple) else value


def _bytes(data: Array) -> Array:
    return np.frombuffer(np.ascontiguousarray(data).tobytes(), np.uint8)


def _ints(b: Any, numbers: Sequence[int]) -> int:
    at: int = b.CreateNumpyVector(np.asarray(numbers, np.int32))
    return at


def _offsets(b: Any, tables: Sequence[int]) -> int:
    b.StartVector(4, len(tables), 4)
    for table in reversed(tables):
        b.PrependUOffsetTRelative(table)
    at: int = b.EndVector()
    return at
