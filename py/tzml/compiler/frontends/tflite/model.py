"""A TFLite model as its importer is to see it: variables are inputs and outputs, buffers lie anywhere in the file.

A streaming model keeps what it has heard in variables, which READ_VARIABLE and ASSIGN_VARIABLE name. What a run
reads of one becomes an input, and what it leaves there an output: whoever runs the model gives the output of one
run to the next. The states of recurrent operators are such variables, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tzml.compiler.frontends.errors import unsupported

RESOURCES = frozenset(("ASSIGN_VARIABLE", "CALL_ONCE", "READ_VARIABLE", "VAR_HANDLE"))
_NEXT = "/next"
"""What the name of a variable's output ends with, once more where another tensor has that name."""


@dataclass
class NetworkVariable:
    """A variable that a run reads and changes.

    Attributes:
        name: That of the file, under which the first run and all others know it.
        given: The tensor that is first read of it.
        left: The tensor that is last assigned to it.
        initial: The buffer that CALL_ONCE assigns to it, -1 without one: then it begins as zeros.

    """

    name: str
    given: int
    left: int
    initial: int


@dataclass
class Resources:
    """The variables of a model.

    Attributes:
        variables: Those with state; others hold what CALL_ONCE or the run itself put there.
        reads: For the result of each READ_VARIABLE the tensor that it is; itself where it is an input.

    """

    variables: list[NetworkVariable] = field(default_factory=list)
    reads: dict[int, int] = field(default_factory=dict)


def as_seen(model: Any, data: bytes, file: str, schema: Any) -> tuple[Any, Resources]:
    """The model with the inputs and outputs that its variables become. Raises CompileError."""
    resources = _resources(model, file, schema)

    class SeenBuffer(schema.Buffer):  # type: ignore[misc]
        """Its data may lie behind the FlatBuffer."""

        __slots__ = ()

        def DataAsNumpy(self) -> Any:  # noqa: N802
            offset, size = self.Offset(), self.Size()
            return np.frombuffer(data, np.uint8, size, offset) if offset > 1 else super().DataAsNumpy()

        def DataLength(self) -> int:  # noqa: N802
            return int(self.Size() if self.Offset() > 1 else super().DataLength())

    class SeenGraph(schema.SubGraph):  # type: ignore[misc]
        """Variables are behind the other inputs and outputs."""

        __slots__ = ()

        def InputsAsNumpy(self) -> Any:  # noqa: N802
            return _longer(super().InputsAsNumpy(), [v.given for v in resources.variables])

        def InputsLength(self) -> int:  # noqa: N802
            return int(super().InputsLength()) + len(resources.variables)

        def Inputs(self, number: int) -> int:  # noqa: N802
            return int(self.InputsAsNumpy()[number])

        def OutputsAsNumpy(self) -> Any:  # noqa: N802
            return _longer(super().OutputsAsNumpy(), [v.left for v in resources.variables])

    class SeenModel(schema.Model):  # type: ignore[misc]
        __slots__ = ()

        def Buffers(self, number: int) -> Any:  # noqa: N802
            return _as(super().Buffers(number), SeenBuffer)

        def Subgraphs(self, number: int) -> Any:  # noqa: N802
            graph = super().Subgraphs(number)
            return _as(graph, SeenGraph) if number == 0 else graph

    return _as(model, SeenModel), resources


def _as(table: Any, kind: Any) -> Any:
    if table is not None:
        table.__class__ = kind
    return table


def _longer(numbers: Any, more: list[int]) -> Any:
    return np.array([*indices(numbers), *more], np.int32) if more else numbers


def indices(numbers: Any) -> list[Any]:
    """A list of the schema as Python's; the reader gives 0 for one that is not there."""
    return [int(n) for n in numbers] if isinstance(numbers, np.ndarray) else []


def _operators(model: Any, graph: Any) -> Iterator[tuple[int, Any, list[int], list[int]]]:
    """The code, the operator, its inputs and its outputs."""
    for i in range(graph.OperatorsLength()):
        operator = graph.Operators(i)
        code = model.OperatorCodes(operator.OpcodeIndex())
        kind = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        yield kind, operator, indices(operator.InputsAsNumpy()), indices(operator.OutputsAsNumpy())


def _name(operator: Any, schema: Any) -> str:
    options = operator.BuiltinOptions()
    if options is None:
        return ""
    about = schema.VarHandleOptions()
    about.Init(options.Bytes, options.Pos)
    return (about.SharedName() or b"").decode(errors="replace")


def _resources(model: Any, file: str, schema: Any) -> Resources:
    graph, kinds = model.Subgraphs(0), schema.BuiltinOperator
    handles: dict[int, str] = {}
    first: dict[str, int] = {}  # what a run reads of a variable before it assigns to it
    now: dict[str, int] = {}  # the tensor that a variable is at this point
    changed: dict[str, int] = {}
    initial: dict[str, int] = {}
    resources = Resources()
    states: list[int] = []
    for kind, operator, inputs, outputs in _operators(model, graph):
        states += [i for i in inputs if i >= 0 and graph.Tensors(i).IsVariable() and i not in states]
        if kind == kinds.CALL_ONCE:
            initial |= _initial(model, operator, schema)
        elif kind == kinds.VAR_HANDLE:
            handles[outputs[0]] = _name(operator, schema) or f"variable{len(handles)}"
        elif kind in (kinds.READ_VARIABLE, kinds.ASSIGN_VARIABLE):
            name = handles.get(inputs[0])
            if name is None:
                raise unsupported(file, [("READ_VARIABLE", "")], "its variable is not made in the same graph")
            if kind == kinds.ASSIGN_VARIABLE:
                now[name] = changed[name] = inputs[1]
                continue
            if name not in now:
                first[name] = now[name] = outputs[0]
            resources.reads[outputs[0]] = now[name]
    for number in states:
        name = (graph.Tensors(number).Name() or b"").decode(errors="replace") or f"state{number}"
        resources.variables.append(NetworkVariable(name, number, number, -1))
    for name, given in first.items():
        # one that no run changes is an input all the same: what it begins with is told, and stays
        resources.variables.append(NetworkVariable(name, given, changed.get(name, given), initial.get(name, -1)))
    return resources


def _initial(model: Any, operator: Any, schema: Any) -> dict[str, int]:
    """From the name of a variable to the buffer that it begins with; empty where that is computed."""
    options = operator.BuiltinOptions()
    about = schema.CallOnceOptions()
    about.Init(options.Bytes, options.Pos)
    number = about.InitSubgraphIndex()
    if not 0 < number < model.SubgraphsLength():
        return {}
    graph, handles, found = model.Subgraphs(number), {}, {}
    for kind, inner, inputs, outputs in _operators(model, graph):
        if kind == schema.BuiltinOperator.VAR_HANDLE:
            handles[outputs[0]] = _name(inner, schema)
        elif kind == schema.BuiltinOperator.ASSIGN_VARIABLE and inputs[0] in handles:
            found[handles[inputs[0]]] = int(graph.Tensors(inputs[1]).Buffer())
    return found


def output_name(variable: NetworkVariable, taken: set[str]) -> str:
    """The name of the output that a run leaves in a variable."""
    name = variable.name + _NEXT
    while name in taken:
        name += _NEXT
    return name


def beginning(model: Any, variable: NetworkVariable) -> str:
    """What a variable holds before the first run, in words."""
    data = model.Buffers(variable.initial) if variable.initial >= 0 else None
    values = np.asarray(data.DataAsNumpy()) if data is not None and data.DataLength() else np.zeros(1, np.uint8)
    if not values.any():
        return "zeros"
    same = np.unique(values)
    return f"bytes of {same[0]}" if len(same) == 1 else f"what the buffer {variable.initial} of the file holds"
