"""A model's structure without its numbers, as a file: what the signer of a kernel library needs (docs/sealing.md).

It is JSON that a person can read. Whoever compiles it gets the model's kernels, because nothing in them depends on
numbers. It names operators and has no code: a reader takes only those that TVM has a definition of.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tvm
from numpy.typing import NDArray
from tvm import relax, tirx

from tzml.compiler.ir.errors import CompileError, reason
from tzml.compiler.ir.imported import Imported
from tzml.compiler.ir.rewrite import const, constant, dtype_of, op_name, shape_of
from tzml.compiler.ir.tvm_internals import identity, type_of_attributes
from tzml.compiler.passes.find_integer_layers import IntegerLayers

_FORMAT = "tzml structure 1"
_NUMBERS_IN_ATTRIBUTES = frozenset(
    f"relax.nn.{name}"
    for name in ("group_norm", "instance_norm", "layer_norm", "leakyrelu", "rms_norm", "softplus")
)
"""Operators whose real attributes are arguments of their kernels (passes/numbers_as_arguments.py)."""
_ANY = 1.0
"""Stands for a real number that is left out."""


@dataclass(frozen=True)
class Structure:
    """A structure, and what else decides its kernels: the name of the target, and the secure memory in bytes."""

    target: str
    secure_memory: int
    imported: Imported

    def write(self) -> str:
        """The file's text. Raises CompileError for an operator that cannot be told without its code."""
        return _Writer().write(self)

    @staticmethod
    def read(path: Path) -> Structure:
        """The structure in a file, with numbers that mean nothing. Raises CompileError."""
        remedy = "give a file that `tzml compile --graph-only` of the same version wrote"
        try:
            about = json.loads(path.read_bytes())
            if about["format"] != _FORMAT:
                raise ValueError(f"its format is {str(about['format'])[:40]!r}, not {_FORMAT!r}")
            return _read(about)
        except OSError as error:
            raise CompileError(f"cannot read {path}: {error.strerror}") from error
        except Exception as error:  # TVM raises many kinds where operands do not fit an operator
            raise CompileError(f"{path} is not the structure of a model: {reason(error)}", remedy) from error


@dataclass
class _Writer:
    values: dict[Any, int] = field(default_factory=dict)
    numbers: dict[tuple[int, str], int] = field(default_factory=dict)
    constants: list[dict[str, Any]] = field(default_factory=list)
    kept: list[Any] = field(default_factory=list)
    """Lest another object gets the identity of one of these."""
    same: dict[int, int] = field(default_factory=dict)
    """Scales and zero points whose being equal decides kernels: by identity, the identity of one of them."""
    steps: dict[str, dict[int, int]] = field(default_factory=lambda: {"scale": {}, "zero": {}})

    def write(self, structure: Structure) -> str:
        imported, main = structure.imported, structure.imported.module["main"]
        for pair in IntegerLayers(main).moves:
            for one, other in zip(*(call.args[1:] for call in pair), strict=True):
                self.same[identity(one)] = self.same.get(identity(other), identity(other))
        for parameter in main.params:
            self.values[parameter] = len(self.values)
        calls = []
        for block in main.body.blocks:
            for binding in block.bindings:
                calls.append({"name": binding.var.name, **self.binding(binding.value)})
                self.values[binding.var] = len(self.values)
        result = self.argument(main.body.body, "")
        about = {
            "format": _FORMAT,
            "target": structure.target,
            "secure_memory": structure.secure_memory,
            "inputs": [
                {"name": name, "dtype": dtype_of(p), "shape": list(shape_of(p))}
                for name, p in zip(imported.input_names, main.params, strict=True)
            ],
            "outputs": list(imported.output_names),
            "constants": self.constants,
            "calls": calls,
            "result": result,
        }
        return json.dumps(about, indent=1) + "\n"

    def binding(self, value: Any) -> dict[str, Any]:
        if isinstance(value, relax.Call):
            return self.call(value)
        return {"op": "", "args": [self.argument(value, "")]}

    def call(self, call: Any) -> dict[str, Any]:
        name = op_name(call)
        if not _is_known(name):
            raise CompileError(
                f"the layer {name or call.op} is told by its code, which nobody would sign unseen",
                "compile without --graph-only, and with the key of the image",
            )
        roles = [""] * len(call.args)
        if name in ("relax.quantize", "relax.dequantize"):
            roles = ["", "scale", "zero"]
            if constant(call.args[0]) is not None:
                roles = self.integers(*map(constant, call.args))
        arguments = [self.argument(a, role) for a, role in zip(call.args, roles, strict=True)]
        if name == "relax.clip":
            arguments[1:] = [{"real": _ANY}] * len(arguments[1:])
        about: dict[str, Any] = {"op": name, "args": arguments}
        if call.attrs is not None:
            blank = name in _NUMBERS_IN_ATTRIBUTES
            about["kind"], fields = type_of_attributes(call.attrs)
            about["attrs"] = {field: _plain(getattr(call.attrs, field), blank=blank) for field in fields}
        return about

    def integers(self, array: Any, scale: Any, zero: Any) -> list[str]:
        """The roles of weights: whether they fit int8, and have -128, is structure (docs/kernels.md)."""
        if scale is None or zero is None or array.dtype.name not in ("int8", "uint8"):
            return ["", "", ""]
        numbers = array.astype(np.int32) - (zero.astype(np.int32) if zero.size == 1 else 0)
        if zero.size > 1 and zero.any():
            raise CompileError("weights with a zero point for each channel have no structure without numbers")
        fits = numbers.min() >= -128 and numbers.max() <= 127
        kind = "narrow" if fits and numbers.min() > -128 else "wide" if fits else "beyond"
        return [kind, "", f"{kind} zero"]

    def argument(self, value: Any, role: str) -> dict[str, Any]:
        if isinstance(value, tvm.ir.GenericConst):
            return {"constant": self.constant(value, role)}
        if isinstance(value, relax.Tuple):
            return {"tuple": [self.argument(part, "") for part in value.fields]}
        if isinstance(value, relax.TupleGetItem):
            return {"item": int(value.index), "of": self.argument(value.tuple_value, "")}
        if isinstance(value, relax.ShapeExpr):
            return {"shape": [int(n) for n in value.values]}
        if isinstance(value, relax.Var):
            return {"value": self.values[value]}
        if isinstance(value, tirx.IntImm):
            return {"integer": int(value.value), "dtype": str(value.ty.dtype)}
        if isinstance(value, tirx.FloatImm):
            return {"real": float(value.value)}
        raise CompileError(f"an operand of type {type(value).__name__} cannot be written without numbers")

    def constant(self, expression: Any, role: str) -> int:
        key = identity(expression), role
        if key not in self.numbers:
            self.kept.append(expression)
            self.numbers[key] = len(self.constants)
            array = expression.value.numpy()
            about = {"dtype": str(array.dtype), "shape": list(array.shape)}
            number = self.step(expression, array, role) if role in self.steps else _filling(array, role)
            self.constants.append(about | {"filled": number})
        return self.numbers[key]

    def step(self, expression: Any, array: NDArray[Any], role: str) -> float | int:
        """A number for a scale or zero point of activations, different from others unless it must be the same."""
        known = self.steps[role]
        number = known.setdefault(self.same.get(identity(expression), identity(expression)), len(known))
        if array.dtype.kind == "f":
            return float(number + 1)
        return number % 256 - (128 if array.dtype == np.int8 else 0)


def _filling(array: NDArray[Any], role: str) -> float | int:
    """A number that stands for all of a constant's; of an integer that counts or points, the number itself."""
    middle = 128 if array.dtype == np.uint8 else 0
    if role in ("narrow", "narrow zero", "wide zero"):
        return middle
    if role == "wide":
        return middle - 128
    if role.startswith("beyond"):
        about = np.iinfo(array.dtype)
        return int(about.min if role.endswith("zero") else about.max)
    if array.dtype.kind == "f":
        return _ANY
    return int(array) if array.ndim == 0 else 0


def _plain(value: Any, *, blank: bool) -> Any:
    """An attribute as JSON; with `blank`, real numbers are left out."""
    if value is None or isinstance(value, bool | int | str):
        return value if not isinstance(value, np.integer) else int(value)
    if isinstance(value, float):
        return {"real": _ANY if blank else value}
    if isinstance(value, tirx.IntImm):
        return {"integer": int(value.value), "dtype": str(value.ty.dtype)}
    if type(value).__name__ == "dtype":
        return {"dtype": str(value)}
    if hasattr(value, "__len__"):
        return [_plain(part, blank=blank) for part in value]
    raise CompileError(f"an attribute of type {type(value).__name__} cannot be written without numbers")


def _is_known(name: str) -> bool:
    """Whether it is an operator that TVM defines, and no call of code that a file could bring along."""
    if not name.startswith("relax.") or name.startswith("relax.ccl.") or name not in _operators():
        return False
    return name in ("relax.shape_of",) or tvm.ir.Op.get(name).get_attr("FLegalize") is not None


@functools.cache
def _operators() -> frozenset[str]:
    return frozenset(tvm.ir.Op.list_op_names())


# Reading


def _read(about: dict[str, Any]) -> Structure:
    builder = relax.BlockBuilder()
    parameters = [
        relax.Var(f"input{i}", relax.TensorType(tuple(map(int, port["shape"])), str(port["dtype"])))
        for i, port in enumerate(about["inputs"])
    ]
    constants = [
        const(np.full(tuple(map(int, c["shape"])), c["filled"], np.dtype(str(c["dtype"]))))
        for c in about["constants"]
    ]
    values: list[Any] = list(parameters)

    def argument(a: dict[str, Any]) -> Any:
        for kind, make in makers.items():
            if kind in a:
                return make(a)
        raise ValueError(f"{str(a)[:60]} is no operand")

    makers: dict[str, Callable[[dict[str, Any]], Any]] = {
        "value": lambda a: values[int(a["value"])],
        "constant": lambda a: constants[int(a["constant"])],
        "tuple": lambda a: relax.Tuple([argument(part) for part in a["tuple"]]),
        "item": lambda a: relax.TupleGetItem(argument(a["of"]), int(a["item"])),
        "shape": lambda a: relax.ShapeExpr([int(n) for n in a["shape"]]),
        "integer": lambda a: tirx.IntImm(str(a["dtype"]), int(a["integer"])),
        "real": lambda a: tirx.FloatImm("float32", float(a["real"])),
    }

    def expression(call: dict[str, Any]) -> Any:
        arguments = [argument(a) for a in call["args"]]
        if not call["op"]:
            return arguments[0]
        name = str(call["op"])
        if not _is_known(name):
            raise ValueError(f"{name[:60]!r} is not an operator")
        operator = tvm.ir.Op.get(name)
        attributes = None
        if "attrs" in call:
            fields = {str(field): _attribute(value) for field, value in call["attrs"].items()}
            if not str(call["kind"]).startswith("relax.attrs."):
                raise ValueError(f"{str(call['kind'])[:60]!r} are no attributes of an operator")
            attributes = tvm.ir.make_node(str(call["kind"]), **fields)
        return relax.Call(operator, arguments, attributes)

    with builder.function("main", parameters):
        with builder.dataflow():
            for call in about["calls"]:
                # a layer's number, which decides what kernels are called where it is also a name of TVM's
                values.append(builder.emit(expression(call), str(call.get("name", ""))))
            result = builder.emit_output(argument(about["result"]))
        builder.emit_func_output(result)
    names = [
        tuple(str(name) for name in given) for given in ([p["name"] for p in about["inputs"]], about["outputs"])
    ]
    imported = Imported(builder.get(), names[0], names[1])
    return Structure(str(about["target"]), int(about["secure_memory"]), imported)


def _attribute(value: Any) -> Any:
    if isinstance(value, dict) and "integer" in value:
        return tirx.IntImm(str(value["dtype"]), int(value["integer"]))
    if isinstance(value, dict):
        return float(value["real"]) if "real" in value else tvm.DataType(str(value["dtype"]))
    return [_attribute(part) for part in value] if isinstance(value, list) else value
