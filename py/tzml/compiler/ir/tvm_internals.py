"""TVM's private names and internal modules, each behind a public name of ours. No other file uses them.

This file was written for the release FITS. With another release, tests/compiler/test_tvm_internals.py fails until
somebody has compared this file with the new TVM. Frameworks are imported when a function here needs them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import tvm
import tvm_ffi

FITS = "0.27.0.post1"

_INTRINSICS = "tvm.s_tir.tensor_intrin"


def identity(value: Any) -> int:
    """What tells an object of TVM from others while it lives, whatever numbers it holds."""
    return int(value.__chandle__())


def nodes_of(node: Any) -> Iterator[Any]:
    """A node of TIR and all below it, but operators, types and annotations; what encloses comes first."""
    if isinstance(node, (str, int, float)) or node is None:
        return
    if isinstance(node, tvm_ffi.Array):
        for element in node:
            yield from nodes_of(element)
        return
    info = getattr(type(node), "__tvm_ffi_type_info__", None)
    if info is None:
        return
    yield node
    for field in info.fields:
        if field.name not in ("op", "span", "ty", "annotations"):
            yield from nodes_of(getattr(node, field.name))


def type_of_attributes(attributes: Any) -> tuple[str, list[str]]:
    """The name of the type of an operator's attributes, and the names of its fields."""
    info = type(attributes).__tvm_ffi_type_info__
    return info.type_key, [field.name for field in info.fields]


def object_file(module: Any, target: Any) -> bytes:
    """Machine code of a module's functions, as they are: no argument is packed as TVM's runtime would have it."""
    return _built(module, target, "o")


def assembly(module: Any, target: Any) -> str:
    """The same as text."""
    return _built(module, target, "s").decode()


def _built(module: Any, target: Any, form: str) -> bytes:
    built = tvm.get_global_func(f"target.build.{target.kind.name}")(module, target)
    # in memory: LLVM ends the process when it writes to a disk that is full
    descriptor = os.memfd_create("kernel")
    with os.fdopen(descriptor, "rb") as file:
        built.write_to_file(f"/proc/self/fd/{descriptor}", form)
        return file.read()


@contextmanager
def without_intrinsics() -> Iterator[None]:
    """MetaSchedule imports hundreds of other processors' instructions, and parses them for 15 s: not in here."""
    before = sys.modules.get(_INTRINSICS)
    sys.modules[_INTRINSICS] = before or ModuleType(_INTRINSICS)
    try:
        yield
    finally:
        if before is None:
            del sys.modules[_INTRINSICS]


def onnx_operators() -> set[str]:
    """ONNX's operators that TVM's importer knows."""
    from tvm.relax.frontend.onnx import onnx_frontend

    return set(onnx_frontend._get_convert_map())


def onnx_importer() -> Any:
    """A class: TVM's importer of ONNX, which looks for no operator that it does not know.

    `bb` is the block builder. Subclasses may override `convert`.
    """
    from tvm.relax.frontend.onnx.onnx_frontend import ONNXGraphImporter

    class Importer(ONNXGraphImporter):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__({}, "float32", keep_params_in_input=False, sanitize=True)

        def run(self, graph: Any, opset: int, shapes: Mapping[str, tuple[int, ...]]) -> Any:
            """The Relax module of a graph with inputs of these shapes."""
            self._shape = dict(shapes)
            return self.from_onnx(graph, opset)

        def value(self, name: str) -> Any:
            """What a value of the graph was converted to; None for one that was not."""
            return self._nodes.get(name)

        def convert(self, operator: str, layer: str, inputs: Any, attributes: dict[str, Any], opset: int) -> Any:
            """The result of an operator, in Relax; `layer` is the node's name."""
            return super()._convert_operator(operator, inputs, attributes, opset)

        def _convert_operator(self, op_name: str, inputs: Any, attrs: dict[str, Any], opset: int) -> Any:
            return self.convert(op_name, attrs["tvm_custom"]["name"], inputs, attrs, opset)

        def _check_for_unsupported_ops(self, graph: Any) -> None:
            """For the caller: TVM's own error names no layer."""

    return Importer


def tflite_converter() -> Any:
    """A class: TVM's converter of TFLite's operators. `convert_map` has a function for each, by its name."""
    from tvm.relax.frontend.tflite.tflite_frontend import OperatorConverter

    class Converter(OperatorConverter):  # type: ignore[misc]
        @property
        def quantized_operators(self) -> frozenset[str]:
            """Those that are right for quantized tensors."""
            operators: frozenset[str] = self._SUPPORTED_QUANTIZED_OPS
            return operators

    return Converter


def tflite_tensor_name(graph: Any, number: int) -> str:
    """The name of a tensor of a TFLite graph, as the importer has it."""
    from tvm.relax.frontend.tflite.tflite_frontend import get_tensor_name

    name: str = get_tensor_name(graph, number)
    return name


def import_tflite_model(model: Any, shapes: Mapping[str, tuple[int, ...]], converter: Any) -> Any:
    """The Relax module of a TFLite model with inputs of these shapes; `converter` is a `tflite_converter()`."""
    from tvm.relax.frontend.tflite.tflite_frontend import from_tflite

    return from_tflite(model, shape_dict=dict(shapes), op_converter=converter)


def pytorch_importer() -> Any:
    """A class: TVM's importer of exported programs. Subclasses override `check`.

    `convert_map` has a function for each of ATen's operators, by its name; `block_builder` binds what they make.
    """
    from tvm.relax.frontend.torch.exported_program_translator import ExportedProgramImporter

    class Importer(ExportedProgramImporter):  # type: ignore[misc]
        def check(self, nodes: list[Any]) -> None:
            """Called with the nodes of the program, before they are converted."""
            raise NotImplementedError

        def _check_unsupported_func_type(self, nodes: list[Any]) -> None:
            self.check(nodes)

        def run(self, program: Any) -> Any:
            """The Relax module of an exported program, with its parameters as constants."""
            return self.from_exported_program(
                program,
                keep_params_as_input=False,
                unwrap_unit_return_tuple=True,
                no_bind_return_tuple=False,
                custom_convert_map=None,
            )

    return Importer
