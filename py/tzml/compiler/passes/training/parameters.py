"""The numbers of a model that are trained: of convolutions, products and batch normalisations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tvm import relax

from tzml.compiler.ir.errors import CompileError
from tzml.compiler.ir.graph import StateBuffer
from tzml.compiler.ir.imported import Imported
from tzml.compiler.ir.layer_names import number_of
from tzml.compiler.ir.operators import Kind, operator
from tzml.compiler.ir.rewrite import bindings_of, constant, dtype_of, op_name, shape_of
from tzml.compiler.ir.tvm_internals import identity
from tzml.compiler.passes.layer_range import parse_range
from tzml.compiler.passes.layers import SourceLayer, find_layers
from tzml.compiler.passes.training.dropout import NAME as DROPOUT
from tzml.compiler.passes.training.dropout import Dropout
from tzml.compiler.passes.training.normalization import NAME, Normalization


@dataclass(frozen=True)
class Parameter:
    """A constant that is trained. `uses` are the variables and positions of the calls that take it.

    `name` is "LAYER.weight", "LAYER.bias", or of batch normalisation "LAYER.scale" or "LAYER.shift".
    """

    name: str
    value: NDArray[np.float32]
    uses: tuple[tuple[Any, int], ...]
    buffer: StateBuffer


def trained_layers(imported: Imported, freeze: Sequence[str]) -> list[SourceLayer]:
    """The layers of a model that `lower.prepare` has simplified, but for those in `freeze`.

    Raises CompileError for a range of layers that does not exist, and for a dropout in or behind the first of them
    of which the frontend has left nothing.
    """
    layers = find_layers(imported)
    frozen = {index for text in freeze for index in parse_range(text, layers)}
    trained = [layer for index, layer in enumerate(layers) if index not in frozen]
    if trained:
        _refuse_lost_dropout(imported, trained[0])
    return trained


def find_normalizations(trained: Sequence[SourceLayer]) -> tuple[Normalization, ...]:
    """The batch normalisations of layers that are trained."""
    return tuple(
        Normalization.of(binding.var, binding.value, layer.name)
        for layer in trained
        for binding in layer.bindings
        if op_name(binding.value) == NAME
    )


def find_parameters(trained: Sequence[SourceLayer]) -> tuple[Parameter, ...]:
    """The parameters of layers. Raises CompileError if there are none."""
    found: dict[int, tuple[str, Any, list[tuple[Any, int]]]] = {}
    for layer in trained:
        for kind, variable, position, expression in _constants(layer):
            name = f"{layer.name}.{kind}"
            found.setdefault(identity(expression), (name, expression, []))[2].append((variable, position))
    if not found:
        raise CompileError(
            "there is nothing to train: no layer that is not frozen has weights of float32",
            "freeze fewer layers, and give a model that is not quantized",
        )
    parameters = []
    for name, expression, uses in found.values():
        value = constant(expression)
        assert value is not None
        shape = (value.size,) if name.endswith(".bias") else value.shape
        buffer = StateBuffer(value.nbytes, initial=value.tobytes(), name=name, shape=shape)
        parameters.append(Parameter(name, value, tuple(uses), buffer))
    return tuple(parameters)


def find_dropouts(imported: Imported, trained: Sequence[SourceLayer]) -> tuple[Dropout, ...]:
    """The dropouts of layers that are trained."""
    found = [
        (binding.var, binding.value)
        for layer in trained
        for binding in layer.bindings
        if op_name(binding.value) == DROPOUT
    ]
    return tuple(
        Dropout(variable, f"random{i}" if i else "random", float(call.attrs.rate))
        for i, (variable, call) in enumerate(found)
    )


def _refuse_lost_dropout(imported: Imported, first: SourceLayer) -> None:
    """Some frontends make nothing of dropout, which does nothing in an inference."""
    bindings = bindings_of(imported.module["main"])
    kept = {number_of(b.var) for b in bindings if isinstance(b.value, relax.Call) and op_name(b.value) == DROPOUT}
    names = [source.name for source in imported.sources]
    begin = names.index(first.name) if first.name in names else 0
    for number, source in enumerate(imported.sources[begin:], begin):
        if "dropout" in source.operator.lower() and number not in kept:
            raise CompileError(
                f"the layer {source.name} is {source.operator}, and nothing is left of it to train with",
                "give the model as an ONNX file, train one without it, or freeze all layers up to it",
            )


def _constants(layer: SourceLayer) -> Iterator[tuple[str, Any, int, Any]]:
    """The trained constants of a layer: their kind, and the call that takes each, with its position in it."""
    products: dict[Any, int] = {}  # variables that hold a product without a bias, and the axis of its channels
    values: Mapping[Any, Any] = {binding.var: binding.value for binding in layer.bindings}
    for variable, call in values.items():
        row = operator(call)
        if op_name(call) == NAME:
            for kind, position, there in (("scale", 1, call.attrs.scale), ("shift", 2, call.attrs.center)):
                if there and _is_trainable(call.args[position]):
                    yield kind, variable, position, call.args[position]
        elif row is not None and row.weights is not None:
            if _is_trainable(call.args[row.weights]):
                yield "weight", variable, row.weights, call.args[row.weights]
                products[variable] = 1 if row.kind is Kind.window else -1
        elif op_name(call) == "relax.add":
            for position, other in ((1, 0), (0, 1)):
                axis = products.get(call.args[other]) if isinstance(call.args[other], relax.Var) else None
                if axis is not None and _is_bias(call, position, axis):
                    yield "bias", variable, position, call.args[position]


def _is_trainable(expression: Any) -> bool:
    return constant(expression) is not None and dtype_of(expression) == "float32"


def _is_bias(call: Any, position: int, axis: int) -> bool:
    """Whether an operand of a sum has one number for each channel, which lie along `axis`."""
    if not _is_trainable(call.args[position]):
        return False
    whole, own = shape_of(call), shape_of(call.args[position])
    expected = [n if i == axis % len(whole) else 1 for i, n in enumerate(whole)]
    return [1] * (len(whole) - len(own)) + list(own) == expected
