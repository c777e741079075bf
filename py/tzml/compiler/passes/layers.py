"""The layers of a model as its source has them: what `tzml inspect --layers` lists and `tzml compile --tee` takes.

A layer begins with an operator that computes more than each number for itself: a convolution, a product, a pooling,
a softmax. Operators behind it that go number by number, or only move numbers, belong to it, as bias, activation,
residual sum and reshape do. What stands before the first such operator belongs to the first layer. A layer has the
name of the operator that it begins with.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import tvm
from tvm import relax

from tzml.compiler.ir.imported import Imported
from tzml.compiler.ir.layer_names import numbers_of
from tzml.compiler.ir.operators import Kind, operator
from tzml.compiler.ir.rewrite import bindings_of, free_variables, is_tensor, op_name, shape_of
from tzml.compiler.ir.shapes import element_bytes

_FOLLOWING = (Kind.elementwise, Kind.data_movement)
_TRAINED_OTHERWISE = ("relax.nn.batch_norm", "relax.nn.dropout")
"""What `lower.prepare` leaves for training; otherwise it is number by number, or nothing."""


@dataclass(frozen=True)
class SourceLayer:
    """A layer of a simplified model.

    Attributes:
        number: From 1.
        name: Of the source's operator that it begins with.
        operator: Of what kind that is, in the source's own terms, such as "Conv".
        names: Of all the source's operators in it, in order.
        shape: Of its last result.
        weights: Bytes of its constants.
        bindings: The bindings of `main` that compute it, in order, but for those that every part of a model has for
            itself (`shared_values`).

    """

    number: int
    name: str
    operator: str
    names: tuple[str, ...]
    shape: tuple[int, ...]
    weights: int
    bindings: tuple[Any, ...]


def find_layers(imported: Imported) -> list[SourceLayer]:
    """The layers of a model that `lower.prepare` has simplified, in the order in which they are computed."""
    found = bindings_of(imported.module["main"])
    values = {binding.var: binding.value for binding in found}
    numbers = numbers_of([binding.var for binding in found])
    shared = shared_values(imported.module["main"])
    groups: list[_Group] = []
    begun = False  # whether the last group has the operator that it begins with
    for binding, number in zip(found, numbers, strict=True):
        if not isinstance(binding.value, relax.Call) or binding.var in shared:
            continue
        joins = not begun or _follows(binding.value) or number in groups[-1].numbers
        if not groups or not joins:
            groups.append(_Group([], [], number))
            begun = False
        if not begun and not _follows(binding.value):
            begun, groups[-1].leader = True, number
        groups[-1].add(binding, number)
    return [_layer(i, group, values, shared, imported) for i, group in enumerate(groups, 1)]


@dataclass
class _Group:
    bindings: list[Any]
    numbers: list[int]
    leader: int

    def add(self, binding: Any, number: int) -> None:
        self.bindings.append(binding)
        if number not in self.numbers:
            self.numbers.append(number)


def shared_values(function: Any) -> set[Any]:
    """The variables that each part which needs them computes for itself.

    Those are conversions that belong to the layer behind them, and what no input of the model goes into.
    """
    depend, shared = set(function.params), set()
    for binding in bindings_of(function):
        row = operator(binding.value) if isinstance(binding.value, relax.Call) else None
        if depend.isdisjoint(free_variables(binding.value)):
            shared.add(binding.var)
            continue
        depend.add(binding.var)
        if row is not None and row.part_of_next:
            shared.add(binding.var)
    return shared


def _follows(call: Any) -> bool:
    """Whether an operator goes number by number on what the layer before it computed, or only moves that."""
    row = operator(call)
    return op_name(call) in _TRAINED_OTHERWISE or (row is not None and row.kind in _FOLLOWING)


def _layer(
    number: int, group: _Group, values: Mapping[Any, Any], shared: set[Any], imported: Imported
) -> SourceLayer:
    sources = imported.sources
    last = group.bindings[-1].var
    constants = {c.value: c for binding in group.bindings for c in _constants(binding.value, values, shared)}
    leader = sources[group.leader] if group.leader < len(sources) else None
    return SourceLayer(
        number,
        leader.name if leader else f"layer_{number}",
        leader.operator if leader else "",
        tuple(sources[n].name for n in group.numbers if n < len(sources)),
        shape_of(last) if is_tensor(last) else (),
        sum(element_bytes(shape_of(c), c.ty.dtype) for c in constants.values()),
        tuple(group.bindings),
    )


def _constants(value: Any, values: Mapping[Any, Any], shared: set[Any]) -> Iterator[Any]:
    """The constants that go into a value, its shared operands included."""
    if isinstance(value, tvm.ir.GenericConst):
        yield value
    elif isinstance(value, relax.Tuple):
        for field in value.fields:
            yield from _constants(field, values, shared)
    elif isinstance(value, relax.TupleGetItem):
        yield from _constants(value.tuple_value, values, shared)
    elif isinstance(value, relax.Call):
        for argument in value.args:
            yield from _constants(argument, values, shared)
    elif isinstance(value, relax.Var) and value in shared:
        yield from _constants(values[value], values, shared)
