"""Nothing of an ONNX operator is passed over: an attribute or an input that nobody reads is refused.

TVM's importer takes what it wants of an operator and is silent about the rest, which then counts as left out. So
it is watched while it converts one: what it has not asked for must be as if it were left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import onnx

from tzml.compiler.ir.errors import CompileError
from tzml.compiler.ir.rewrite import constant, dtype_of, ints, is_tensor, shape_of

Expr = Any

# Attributes that change nothing that is computed here, and why
HARMLESS = {
    ("Cast", "saturate"): "it is for 8-bit floats, which are refused",
    ("CastLike", "saturate"): "it is for 8-bit floats, which are refused",
    ("Dropout", "seed"): "nothing is dropped in an inference",
    ("Dropout", "ratio"): "nothing is dropped in an inference",
    ("GRU", "hidden_size"): "the weights have it in their shape",
    ("LSTM", "hidden_size"): "the weights have it in their shape",
    ("RNN", "hidden_size"): "the weights have it in their shape",
    ("LayerNormalization", "stash_type"): "sums are of float32",
    ("MaxPool", "storage_order"): "it is for the output Indices, which is made elsewhere",
    ("BatchNormalization", "momentum"): "it is for training",
    ("QuantizeLinear", "saturate"): "it is for 8-bit floats, which are refused",
    ("Split", "num_outputs"): "the node has as many",
    **{(operator, "consumed_inputs"): "a hint of ONNX before 1.0" for operator in (
        "Abs", "Add", "BatchNormalization", "Clip", "Div", "Dropout", "Exp", "LeakyRelu", "Log", "Max", "Min",
        "Mul", "Neg", "PRelu", "Relu", "Sigmoid", "Softmax", "Sqrt", "Sub", "Sum", "Tanh")},
}  # fmt: skip
# Inputs, by their position, of which that is true
HARMLESS_INPUTS = {("Dropout", 1): "nothing is dropped in an inference"}
# Inputs, by their position, that have to be known: shapes depend on them
KNOWN = {
    "CumProd": (1,), "CumSum": (1,), "DFT": (1, 2), "Expand": (1,), "OneHot": (1,), "Pad": (1, 3),
    "Range": (0, 1, 2), "Reshape": (1,), "Resize": (1, 2, 3), "Slice": (1, 2, 3, 4), "Split": (1,),
    "Squeeze": (1,), "STFT": (1, 3),
    "Tile": (1,), "TopK": (1,), "Unsqueeze": (1,), "Upsample": (1,), "ConstantOfShape": (0,), "MaxUnpool": (2,),
    **{f"Reduce{what}": (1,) for what in (
        "L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare")},
}  # fmt: skip
WINDOWS = ("Conv", "ConvTranspose", "ConvInteger", "DeformConv", "QLinearConv")
"""Operators whose attribute kernel_shape repeats the shape of their weights."""


class Attributes(dict[str, Any]):
    """The attributes of an operator; `read` are the names that somebody asked for."""

    def __init__(self, values: dict[str, Any]) -> None:
        super().__init__(values)
        self.read = {"tvm_custom"}
        self.given = dict(values)

    def __getitem__(self, name: str) -> Any:
        self.read.add(name)
        return super().__getitem__(name)

    def __contains__(self, name: object) -> bool:
        self.read.add(str(name))
        return super().__contains__(name)

    def get(self, name: str, default: Any = None) -> Any:
        self.read.add(name)
        return super().get(name, default)

    def pop(self, name: str, *default: Any) -> Any:
        self.read.add(name)
        return super().pop(name, *default)


class Operands(list[Any]):
    """The inputs of an operator, None where one is left out; `read` are the positions that somebody asked for."""

    def __init__(self, values: Sequence[Expr]) -> None:
        super().__init__(values)
        self.given: list[Expr] = list(values)
        self.read: set[int] = set()

    def __getitem__(self, item: Any) -> Any:
        if isinstance(item, slice):
            end = len(self) if item.stop is None else item.stop
            return [self[i] for i in range(end)[item]]
        if not -len(self) <= item < len(self):
            return None
        self.read.add(item % len(self))
        return super().__getitem__(item)

    def __iter__(self) -> Iterator[Any]:
        self.read.update(range(len(self)))
        return super().__iter__()

    def __add__(self, others: Any) -> Any:
        """How an attribute of an old opset becomes the input of a newer one."""
        return [*self, *others]


def known_number(operand: Expr) -> int:
    """The number of an input that KNOWN has: `check_values` has seen that it is a constant."""
    value = constant(operand)
    assert value is not None
    return int(value.item())


def as_text(value: str | bytes) -> str:
    """An attribute of text, which ONNX has as bytes and defaults here have as text."""
    return value.decode() if isinstance(value, bytes) else value


def check_heeded(operator: str, opset: int, attributes: Attributes, operands: Operands) -> None:
    """Raise CompileError for an attribute or an input that was not read and means something."""
    defaults = _defaults(operator, opset)
    for name, value in attributes.given.items():
        if name in attributes.read or (operator, name) in HARMLESS:
            continue
        if operator in WINDOWS and name == "kernel_shape" and tuple(value) == _window(operands):
            continue
        if name not in defaults or not _same(value, defaults[name]):
            only = f"only {_text(defaults[name])} is understood" if name in defaults else "it is not understood"
            raise CompileError(f"the attribute {name} is {_text(value)}", only)
    for position, operand in enumerate(operands.given):
        if operand is not None and position not in operands.read and (operator, position) not in HARMLESS_INPUTS:
            raise CompileError(f"its input {position + 1} is not understood")


def check_results(result: Expr, wanted: int) -> None:
    """Raise CompileError if more results are wanted of an operator than it was converted to."""
    fields = getattr(getattr(result, "ty", None), "fields", None)
    found = 1 if fields is None else len(fields)
    if found < wanted:
        raise CompileError(f"its output {found + 1} is not supported", "export the model without it")


def not_taken(attributes: Attributes, operands: Operands) -> str:
    """What an operator was given that TVM's importer has no case for."""
    inputs = [_operand(operand) for operand in operands.given if operand is not None]
    values = [f"{name}={_text(value)}" for name, value in attributes.given.items() if name != "tvm_custom"]
    about = f" and the attributes {', '.join(values)}" if values else ""
    return f"it has no kernel for the inputs {', '.join(inputs) or 'none'}{about}"


def _operand(operand: Expr) -> str:
    if not is_tensor(operand):
        return "a list of tensors"
    kind = "constant" if constant(operand) is not None else "computed"
    return f"{kind} {dtype_of(operand)} {_text(list(ints(operand.ty.shape.values)))}"


def check_values(operator: str, attributes: Attributes, operands: Operands) -> None:
    """Raise CompileError for values that TVM's importer has to know, or computes something else with."""
    for position in KNOWN.get(operator, ()):
        operand = operands.given[position] if position < len(operands.given) else None
        if operand is not None and is_tensor(operand) and constant(operand) is None:
            raise CompileError(
                f"its input {position + 1} must be known when compiling",
                "make it a constant, or compute it of constants and shapes only",
            )
    check = _CHECKS.get(operator)
    if check:
        check(attributes, operands.given)


def _defaults(operator: str, opset: int) -> dict[str, Any]:
    try:
        schema = onnx.defs.get_schema(operator, opset, "")
    except onnx.defs.SchemaError:
        return {}
    found = {}
    for name, about in schema.attributes.items():
        if about.default_value.name:
            found[name] = onnx.helper.get_attribute_value(about.default_value)
    return found


def _window(operands: Operands) -> tuple[int, ...]:
    weights = operands.given[1]
    return shape_of(weights)[2:] if is_tensor(weights) else ()


def _same(value: Any, default: Any) -> bool:
    if isinstance(value, float):
        return bool(np.float32(value) == np.float32(default))
    return bool(_plain(value) == _plain(default))


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list | tuple) else value


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_text, value))}]"
    return f"{value:g}" if isinstance(value, float) else str(value)[:40]


# What TVM reads and computes otherwise


def _batch_normalization(attributes: Attributes, operands: list[Expr]) -> None:
    if attributes.get("training_mode", 0) or attributes.get("spatial", 1) != 1:
        raise CompileError("its attribute training_mode must be 0, and spatial 1", "export the model for inference")


def _dropout(attributes: Attributes, operands: list[Expr]) -> None:
    mode = operands[2] if len(operands) > 2 else None
    known = constant(mode) if mode is not None else np.zeros(1)
    if known is None or known.any():
        raise CompileError("its input training_mode must be false", "export the model for inference")


_CHECKS: dict[str, Callable[[Attributes, list[Expr]], None]] = {
    "BatchNormalization": _batch_normalization,
    "Dropout": _dropout,
}
