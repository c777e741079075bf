"""TFLite files: float, and full int8."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tzml.compiler.frontends.checks import Warn, checked, warn_of_nan
from tzml.compiler.frontends.errors import malformed, needs, unsupported
from tzml.compiler.frontends.inputs import Declared, Inputs, settle_inputs
from tzml.compiler.frontends.tflite.check import check_tflite
from tzml.compiler.frontends.tflite.converter import TfliteConverter
from tzml.compiler.frontends.tflite.flatbuffer import FlatbufferError
from tzml.compiler.frontends.tflite.model import RESOURCES, Resources, as_seen, beginning, indices, output_name
from tzml.compiler.frontends.tflite.operators import REFUSED
from tzml.compiler.ir.errors import CompileError, reason
from tzml.compiler.ir.imported import Imported
from tzml.compiler.ir.layer_names import SourceNames
from tzml.compiler.ir.operators import OPERATORS, Kind
from tzml.compiler.ir.rewrite import bound, naming
from tzml.compiler.ir.tvm_internals import import_tflite_model, tflite_tensor_name
from tzml.preprocess import Quantization

_log = logging.getLogger(__name__)

# TensorType of schema.fbs
DTYPES = {0: "float32", 1: "float16", 2: "int32", 3: "uint8", 4: "int64", 6: "bool", 7: "int16", 9: "int8"}

# The Relax operators that some of TFLite's become. Where all of them are data movement, what is right for real
# numbers is right for the integers that stand for them, as long as the scale stays; TVM's importer knows only some
# of these for quantized tensors. It pads with the zero point, and resizes without interpolation.
BECOMES = {
    "BATCH_TO_SPACE_ND": ("reshape", "permute_dims", "strided_slice"),
    "DEPTH_TO_SPACE": ("reshape", "permute_dims"),
    "EXPAND_DIMS": ("expand_dims",),
    "GATHER": ("take",),
    "PACK": ("expand_dims", "concat"),
    "PAD": ("nn.pad",),
    "PADV2": ("nn.pad",),
    "RESIZE_NEAREST_NEIGHBOR": ("image.resize2d",),
    "SLICE": ("strided_slice",),
    "SPACE_TO_BATCH_ND": ("nn.pad", "reshape", "permute_dims"),
    "SPACE_TO_DEPTH": ("reshape", "permute_dims"),
    "SPLIT": ("split",),
    "SPLIT_V": ("split",),
    "SQUEEZE": ("squeeze",),
    "STRIDED_SLICE": ("strided_slice",),
    "TILE": ("tile",),
    "TRANSPOSE": ("permute_dims",),
    "UNPACK": ("split", "squeeze"),
}
# Operators that answer with positions, or of integers as they are: for them the scale does not matter.
POSITIONS = {"ARG_MAX", "ARG_MIN", "CAST", "RANK", "SHAPE"}
# Operators that TVM's converter or ours makes of several others, none of which changes a number.
MOVES = {
    "BROADCAST_TO", "DYNAMIC_UPDATE_SLICE", "EMBEDDING_LOOKUP", "GATHER_ND", "MATRIX_DIAG", "MATRIX_SET_DIAG",
    "MIRROR_PAD", "REVERSE_SEQUENCE", "REVERSE_V2", "TOPK_V2",
}  # fmt: skip
STATEFUL = {"CALL", "WHILE"}
_OF_XLA = "STABLEHLO_"
_QUANTIZE_ALL = (
    "convert the model without quantization, or with full integer quantization (a representative_dataset)"
)
# Those that LiteRT has kernels for, so that they can be compared
KNOWN = {f"STABLEHLO_{name}" for name in ("ADD", "AND", "MAXIMUM", "MINIMUM", "MULTIPLY", "SHIFT_LEFT")}


def import_tflite(path: Path, inputs: Inputs, warn: Warn) -> Imported:
    """Read a TFLite file.

    Raises CompileError for a damaged file, for dynamic-range quantization, and for operators that there is
    no kernel for.
    """
    schema = needs("tflite", "tflite", "reading TFLite files")
    data = path.read_bytes()
    try:
        check_tflite(data)
    except FlatbufferError as error:
        raise malformed(path, "TFLite file", error) from error
    model, resources = as_seen(schema.Model.GetRootAsModel(data, 0), data, path.name, schema)
    graph = model.Subgraphs(0)
    names = {kind: [tflite_tensor_name(graph, i) for i in indices(getattr(graph, f"{kind}sAsNumpy")())]
             for kind in ("Input", "Output")}  # fmt: skip
    shapes = settle_inputs(_declared(graph, inputs, path, schema), inputs)
    if not shapes:
        raise CompileError(f"{path.name}: no input is left, so that the network always answers the same")
    layers = SourceNames()
    module = import_tflite_model(model, shapes, _converter(path.name, not inputs, layers, resources))
    warn_of_nan(_weights(model, graph), warn)
    ports = [*indices(graph.InputsAsNumpy()), *indices(graph.OutputsAsNumpy())]
    quantization = {tflite_tensor_name(graph, i): q for i in ports if (q := _quantization(graph.Tensors(i)))}
    if resources.variables:
        _name_variables(names, quantization, model, resources, warn)
    return Imported(
        checked(module, path.name), tuple(names["Input"]), tuple(names["Output"]), quantization, layers.sources
    )


def _name_variables(
    names: dict[str, list[str]], quantization: dict[str, Quantization], model: Any, resources: Resources, warn: Warn
) -> None:
    """Give the inputs and outputs that variables are the variables' names, and tell what they begin with."""
    count = len(resources.variables)
    taken = {*names["Input"][:-count], *names["Output"][:-count]}
    for position, variable in enumerate(resources.variables, -count):
        names["Input"][position] = variable.name
        names["Output"][position] = output_name(variable, taken)
        about = _quantization(model.Subgraphs(0).Tensors(variable.given))
        if about:
            quantization |= {variable.name: about, names["Output"][position]: about}
        warn(
            f"the variable {variable.name} is an input, which begins as {beginning(model, variable)}; what is in "
            f"the output {names['Output'][position]} is for the next run"
        )


def _converter(file: str, same_shapes: bool, layers: SourceNames, resources: Resources) -> Callable[..., Any]:
    class Converter(TfliteConverter):
        """A converter with the layer's name in its errors, and more quantized operators."""

        reads = resources.reads

        def check_unsupported_ops(self) -> None:
            refused: dict[str, list[tuple[str, str]]] = {}
            for op in _operators(self.subgraph):
                found = self._refusal(op, self._name(op))
                if found:
                    operator, remedy = found
                    refused.setdefault(remedy, []).append((operator, self._layer(op)))
            if refused:
                error, *others = (unsupported(file, layers, remedy) for remedy, layers in refused.items())
                error.others = tuple(others)
                raise error

        def _refusal(self, op: Any, name: str) -> tuple[str, str] | None:
            """What is refused of an operator and what can be done about it, where that is known of all such."""
            if name in RESOURCES:
                return None
            of_xla = name.startswith(_OF_XLA) and name not in KNOWN
            if name not in self.convert_map or name in STATEFUL or of_xla:
                return name, ""
            if self.is_computed_as_real(op, name):
                return (name, what) if (what := self.unheeded(op, name)) else None
            if self._is_dynamic_range(op):
                return f"{name} with dynamic-range quantization", _QUANTIZE_ALL
            if self.is_quantized(op) and not self._can_be_quantized(op, name):
                return f"{name} on quantized tensors", ""
            if name in REFUSED and not (name == "WHERE" and op.InputsLength() == 3):
                return name, REFUSED[name]
            return (name, what) if (what := self.unheeded(op, name)) else None

        def convert_op_to_relax(self) -> None:
            for name, convert in self.convert_map.items():
                self.convert_map[name] = self._named(name, convert)
            super().convert_op_to_relax()

        def _named(self, name: str, convert: Callable[..., Any]) -> Callable[..., Any]:
            def run(op: Any) -> Any:
                hint = layers.add(self._layer(op), name)
                try:
                    with naming(self.bb, hint):
                        result = self.as_real(op, convert) if self.is_computed_as_real(op, name) else convert(op=op)
                        result = self.check_results(op, result, same_shapes)
                    return bound(self.bb, result, hint)
                except CompileError as error:
                    raise unsupported(file, [(name, self._layer(op))], str(error)) from error
                except Exception as error:
                    _log.info("TVM says of the operator %s: %s", name, reason(error))
                    what = "there is no kernel for its operands and options"
                    raise unsupported(file, [(name, self._layer(op))], what) from error

            return run

        def _name(self, op: Any) -> str:
            try:
                name: str = self.get_op_code_str(op)
            except NotImplementedError:
                custom = self.model.OperatorCodes(op.OpcodeIndex()).CustomCode()
                return f"CUSTOM {custom.decode(errors='replace')}" if custom else "of a newer TFLite"
            return name

        def _layer(self, op: Any) -> str:
            outputs = indices(op.OutputsAsNumpy())
            return tflite_tensor_name(self.subgraph, outputs[0]) if outputs else ""

        def _is_dynamic_range(self, op: Any) -> bool:
            """Integer weights between real inputs and outputs."""
            first, *weights = self.get_input_tensors(op) or [None]
            outputs = self.get_output_tensors(op)
            quantized = [bool(t.qnn_params) for t in weights]
            return any(quantized) and not first.qnn_params and not any(t.qnn_params for t in outputs)

        def _can_be_quantized(self, op: Any, name: str) -> bool:
            if name in self.quantized_operators or name in POSITIONS:
                return True
            scales = [t for t in (*self.get_input_tensors(op), *self.get_output_tensors(op)) if t.qnn_params]
            is_moved = name in MOVES or _is_movement(name)
            return is_moved and all(self.has_same_qnn_params(scales[0], t) for t in scales[1:])

    return Converter


def _is_movement(name: str) -> bool:
    """Whether an operator of TFLite only moves numbers."""
    rows = [OPERATORS[f"relax.{part}"] for part in BECOMES.get(name, ())]
    return bool(rows) and all(row.kind is Kind.data_movement for row in rows)


def _declared(graph: Any, inputs: Inputs, path: Path, schema: Any) -> dict[str, Declared]:
    """The inputs. Where a shape is open, the file has one all the same, which counts unless another is given."""
    found = {}
    for i in indices(graph.InputsAsNumpy()):
        tensor = graph.Tensors(i)
        name = tflite_tensor_name(graph, i)
        if tensor.Type() not in DTYPES:
            kinds = {number: kind for kind, number in vars(schema.TensorType).items() if isinstance(number, int)}
            kind = kinds.get(tensor.Type(), "a newer type")
            raise CompileError(
                f"{path}: input {name} is of {kind}; those of TFLite files can be {', '.join(DTYPES.values())}"
            )
        shape = indices(tensor.ShapeAsNumpy())
        signature = indices(tensor.ShapeSignatureAsNumpy()) or shape
        if name in inputs:
            shape = ["?" if d < 0 else d for d in signature]
        found[name] = Declared(tuple(shape), DTYPES[tensor.Type()])
    return found


def _quantization(tensor: Any) -> Quantization | None:
    about = tensor.Quantization()
    if about is None or about.ScaleLength() != 1 or tensor.Type() == 0:
        return None
    return Quantization(float(about.Scale(0)), int(about.ZeroPoint(0)) if about.ZeroPointLength() else 0)


def _operators(graph: Any) -> Iterator[Any]:
    return (graph.Operators(i) for i in range(graph.OperatorsLength()))


def _weights(model: Any, graph: Any) -> Iterator[tuple[str, Any]]:
    for i in range(graph.TensorsLength()):
        tensor = graph.Tensors(i)
        buffer = model.Buffers(tensor.Buffer())
        if tensor.Type() in (0, 1) and buffer.DataLength():
            yield tflite_tensor_name(graph, i), np.frombuffer(buffer.DataAsNumpy(), DTYPES[tensor.Type()])
