"""Cut a model between its layers into parts that are models of their own.

The cut is made on simplified Relax, before layers are tiled, split, laid out and fused: it falls between the
model's own operators, and what crosses is in the model's own layout. A value that skips layers crosses as one more
tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tvm
from tvm import relax

from tzml.compiler.ir.errors import CompileError
from tzml.compiler.ir.imported import Imported
from tzml.compiler.ir.rewrite import Expr, bindings_of, free_variables, is_tensor
from tzml.compiler.passes.layers import SourceLayer, shared_values


def cut(imported: Imported, layers: Sequence[SourceLayer], spans: Sequence[range]) -> list[Imported]:
    """The parts with the layers (their indices) in each of `spans`, which follow each other and cover all layers.

    Inputs and outputs of the model keep their names. A value that passes between parts is called "between_1" and
    so on: its name in the source would tell of the layer that makes it. Raises CompileError for an output that no
    layer computes.
    """
    return _Cut(imported, layers, spans).parts()


class _Cut:
    def __init__(self, imported: Imported, layers: Sequence[SourceLayer], spans: Sequence[range]) -> None:
        self.imported = imported
        main = imported.module["main"]
        self.bindings = bindings_of(main)
        self.values = {binding.var: binding.value for binding in self.bindings}
        part_of = {b.var: part for part, span in enumerate(spans) for i in span for b in layers[i].bindings}
        self.owned = [[b for i in span for b in layers[i].bindings] for span in spans]
        self.part_of = part_of
        self.shared = shared_values(main)
        self.names: dict[Any, str] = dict(zip(main.params, imported.input_names, strict=True))
        self.results = self._results(main.body.body)
        self.taken = {*imported.input_names, *imported.output_names}

    def _results(self, body: Expr) -> list[tuple[Any, str]]:
        """The variables of the model's outputs, with their names."""
        while isinstance(body, relax.Var) and isinstance(self.values.get(body), relax.Var | relax.Tuple):
            body = self.values[body]
        fields = list(body.fields) if isinstance(body, relax.Tuple) else [body]
        fields = [self.resolve(field) for field in fields]
        found = list(zip(fields, self.imported.output_names, strict=True))
        for variable, name in found:
            self._give_to_a_part(variable)
            if variable not in self.part_of:
                raise CompileError(f"output {name} is computed by no layer, so the model cannot be cut")
        return found

    def _give_to_a_part(self, variable: Any) -> None:
        """Let an output that parts would compute for themselves belong to the last layer that goes into it."""
        if variable in self.part_of or variable not in self.shared:
            return
        parts, open_ = [], [variable]
        while open_:
            used = self.uses(self.values[open_.pop()])
            parts += [self.part_of[v] for v in used if v in self.part_of]
            open_ += [v for v in used if v in self.shared]
        if parts:
            self.part_of[variable] = max(parts)
            self.owned[max(parts)].append(next(b for b in self.bindings if b.var == variable))

    def resolve(self, expression: Expr) -> Expr:
        """The variable of a call that an expression stands for, behind other names and tuples."""
        while True:
            if isinstance(expression, relax.Var) and expression in self.values:
                value = self.values[expression]
                if isinstance(value, relax.Call):
                    return expression
                expression = value
            elif isinstance(expression, relax.TupleGetItem):
                whole = self.resolve(expression.tuple_value)
                if not isinstance(whole, relax.Tuple):
                    return relax.TupleGetItem(whole, expression.index)
                expression = whole.fields[expression.index]
            else:
                return expression

    def parts(self) -> list[Imported]:
        return [self.part(number) for number in range(len(self.owned))]

    def part(self, number: int) -> Imported:
        bindings = self.closure(number)
        own = {binding for binding, _ in bindings}
        needed = list(dict.fromkeys(v for _, value in bindings for v in self.uses(value) if v not in own))
        given = self.given(number)
        builder, mapping = relax.BlockBuilder(), {}
        for variable in needed:
            self._check_tensor(variable)
            mapping[variable] = relax.Var(variable.name, variable.ty)
        with builder.function("main", list(mapping.values())):
            with builder.dataflow():
                for variable, value in bindings:
                    mapping[variable] = builder.emit(self.substitute(value, mapping), variable.name)
                results = [mapping[variable] for variable, _ in given]
                result = builder.emit_output(results[0] if len(results) == 1 else relax.Tuple(results))
            builder.emit_func_output(result)
        module = builder.get()
        others = {n: f for n, f in self.imported.module.functions.items() if n.name_hint != "main"}
        module = tvm.IRModule({**others, tvm.ir.GlobalVar("main"): module["main"]})
        inputs = tuple(self.names[variable] for variable in needed)
        return Imported(module, inputs, tuple(name for _, name in given))

    def closure(self, number: int) -> list[tuple[Any, Any]]:
        """The variables that a part computes with their values: its layers', and what it computes for itself."""
        found: dict[Any, Any] = {}

        def add(variable: Any) -> None:
            if variable in found or variable not in self.values:
                return
            value = self.values[variable]
            if self.part_of.get(variable) == number or variable in self.shared:
                for used in self.uses(value):
                    add(used)
                found[variable] = value

        for binding in self.owned[number]:
            add(binding.var)
        return list(found.items())

    def given(self, number: int) -> list[tuple[Any, str]]:
        """What a part hands on, with its names: the model's outputs, and what later parts need."""
        given = [(v, name) for v, name in self.results if self.part_of[v] == number]
        for variable, name in given:
            self.names.setdefault(variable, name)
        later = range(number + 1, len(self.owned))
        wanted = {v for part in later for _, value in self.closure(part) for v in self.uses(value)}
        for binding in self.owned[number]:
            if binding.var in wanted and binding.var not in self.names:
                self.names[binding.var] = self._new_name()
                given.append((binding.var, self.names[binding.var]))
        return given

    def _new_name(self) -> str:
        count = 1
        while f"between_{count}" in self.taken:
            count += 1
        self.taken.add(f"between_{count}")
        return f"between_{count}"

    def uses(self, value: Expr) -> list[Any]:
        return [v for used in free_variables(value) for v in free_variables(self.resolve(used))]

    def substitute(self, value: Expr, mapping: dict[Any, Any]) -> Expr:
        replace: Callable[[Expr], Expr] = lambda operand: self.substitute(operand, mapping)  # noqa: E731
        if isinstance(value, relax.Var | relax.TupleGetItem):
            value = self.resolve(value)
        if isinstance(value, relax.Var):
            return mapping[value]
        if isinstance(value, relax.Tuple):
            return relax.Tuple([replace(field) for field in value.fields])
        if isinstance(value, relax.TupleGetItem):
            return relax.TupleGetItem(replace(value.tuple_value), value.index)
        if isinstance(value, relax.Call):
            return relax.Call(value.op, [replace(a) for a in value.args], value.attrs, value.ty_args)
        return value

    @staticmethod
    def _check_tensor(variable: Any) -> None:
        if not is_tensor(variable):
            raise CompileError(
                f"the value {variable.name} would have to cross the cut, but it is several tensors",
                "cut the model elsewhere",
            )
