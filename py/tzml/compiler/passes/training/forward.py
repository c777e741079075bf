"""The same network for another number of examples, with its parameters as arguments."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from tvm import relax

from tzml.compiler.ir.errors import CompileError
from tzml.compiler.ir.imported import Imported
from tzml.compiler.ir.operators import Kind, operator
from tzml.compiler.ir.rewrite import Expr, bindings_of, constant, ints, is_tensor, op_name, rebuilt, shape_of
from tzml.compiler.passes.training.dropout import NAME as DROPOUT
from tzml.compiler.passes.training.dropout import Dropout, dropped
from tzml.compiler.passes.training.normalization import NAME, Statistics, normalized, statistics

_ALONG_AN_AXIS = ("relax.nn.softmax", "relax.nn.log_softmax", "relax.concat")
_OVER_AXES = ("relax.mean", "relax.sum")
_IMAGES = (Kind.window, Kind.product, Kind.elementwise)


class Forward:
    """Emits the operators of `imported.main`, a simplified model whose inputs all have a row for each example.

    `arguments` stand for the constants at positions of calls: by variable and position. `running` are mean and
    variance of the batch normalisations that are trained; with `count`, those go by the first `count` examples
    instead, whose statistics are in `statistics` afterwards. `random` are dropouts with their random bytes; the
    others do nothing. `values` has what stands for each variable.
    """

    def __init__(
        self,
        imported: Imported,
        arguments: Mapping[tuple[Any, int], Any],
        running: Mapping[Any, tuple[Expr, Expr]],
        count: Expr | None = None,
        random: Mapping[Any, tuple[Dropout, Expr]] = MappingProxyType({}),
    ) -> None:
        main = imported.module["main"]
        self.imported = imported
        self.arguments = arguments
        self.running, self.count, self.random = running, count, random
        self.statistics: dict[Any, Statistics] = {}
        self.bindings = bindings_of(main)
        self.special = {
            b.var for b in self.bindings if isinstance(b.value, relax.Call) and op_name(b.value) in (NAME, DROPOUT)
        }
        self.result = main.body.body
        self.parameters = list(main.params)
        self.old = shape_of(self.parameters[0])[0]
        self.values: dict[Any, Expr] = {}

    def emit(self, builder: Any, *examples: Expr) -> Expr:
        """The result for `examples`, of any number. Raises CompileError where examples depend on each other."""
        self.new = shape_of(examples[0])[0]
        self.values |= dict(zip(self.parameters, examples, strict=True))
        for binding in self.bindings:
            value = binding.value
            if isinstance(value, relax.Call) and op_name(value) == NAME:
                self.values[binding.var] = self.normalized(builder.emit, binding.var, value)
                continue
            if isinstance(value, relax.Call) and op_name(value) == DROPOUT:
                self.values[binding.var] = self.dropped(builder.emit, binding.var, value)
                continue
            if isinstance(value, relax.TupleGetItem) and value.tuple_value in self.special:
                self.values[binding.var] = self.values[value.tuple_value]  # nobody takes statistics and masks
                continue
            value = self.call(binding.var, value) if isinstance(value, relax.Call) else self.translate(value)
            self.values[binding.var] = (
                value if isinstance(value, relax.Var) else builder.emit(value, binding.var.name)
            )
            self._check(binding.var)
        return self.translate(self.result)

    def normalized(self, emit: Callable[[Expr], Expr], variable: Any, call: Any) -> Expr:
        """The result of a batch normalisation."""
        data, gamma, beta, *fixed = (
            self.arguments.get((variable, position), self.translate(argument))
            for position, argument in enumerate(call.args)
        )
        mean, variance = self.running.get(variable, fixed)
        if variable in self.running and self.count is not None:
            found = self.statistics[variable] = statistics(emit, call, data, self.count)
            mean, variance = found.mean, found.variance
        return normalized(emit, call, data, gamma, beta, mean, variance)

    def dropped(self, emit: Callable[[Expr], Expr], variable: Any, call: Any) -> Expr:
        """The result of a dropout."""
        data = self.translate(call.args[0])
        if variable not in self.random:
            return data
        dropout, random = self.random[variable]
        return dropped(emit, dropout, data, random)

    def call(self, variable: Any, call: Any) -> Expr:
        arguments = [
            self.arguments[variable, position]
            if (variable, position) in self.arguments
            else self.translate(argument)
            for position, argument in enumerate(call.args)
        ]
        if self.new != self.old:
            self._check_examples_stay_apart(variable, call)
            if op_name(call) == "relax.reshape":
                arguments[1] = relax.ShapeExpr([self.new, *ints(call.args[1].values)[1:]])
        return relax.Call(call.op, arguments, call.attrs, call.ty_args)

    def translate(self, expression: Expr) -> Expr:
        return self.values[expression] if isinstance(expression, relax.Var) else rebuilt(expression, self.translate)

    def _check_examples_stay_apart(self, variable: Any, call: Any) -> None:
        """Whether each example is computed from its own numbers alone, as far as the operator tells."""
        name, row = op_name(call), operator(call)
        rank = len(shape_of(call.args[0])) if is_tensor(call.args[0]) else len(shape_of(call))
        if name == "relax.reshape":
            apart = shape_of(call)[:1] == (self.old,) and shape_of(call.args[0])[:1] == (self.old,)
        elif name == "relax.permute_dims":
            apart = call.attrs.axes is not None and int(call.attrs.axes[0]) % rank == 0
        elif name in _ALONG_AN_AXIS:
            apart = int(call.attrs.axis) % rank != 0
        elif name in _OVER_AXES:
            apart = call.attrs.axis is not None and all(axis % rank for axis in ints(call.attrs.axis))
        elif name in ("relax.squeeze", "relax.expand_dims"):
            apart = call.attrs.axis is not None and all(axis % (rank + 1) for axis in ints(call.attrs.axis))
        elif name in ("relax.nn.adaptive_avg_pool2d", "relax.nn.layer_norm", "relax.nn.group_norm"):
            apart = True
        elif name == "relax.matmul":
            apart = len(shape_of(call.args[1])) == 2 and constant(call.args[1]) is not None
        else:
            apart = row is not None and row.kind in _IMAGES
        if not apart:
            raise self._refused(variable, name)

    def _check(self, variable: Any) -> None:
        """Whether the result has the old one's shape, but for the number of examples."""
        new = self.values[variable]
        if self.new == self.old or not is_tensor(variable) or not is_tensor(new):
            return
        before, after = shape_of(variable), shape_of(new)
        if before != after and (before[:1] != (self.old,) or after != (self.new, *before[1:])):
            raise self._refused(variable, "")

    def _refused(self, variable: Any, name: str) -> CompileError:
        what = name.removeprefix("relax.") or str(variable.name)
        return CompileError(
            f"the model is for {self.old} example(s), and cannot be made one for {self.new}: what {what} computes "
            "of an example may depend on others",
            f"give a model file for {self.new} examples (--input NAME={self.new}x…), or --micro-batch {self.old}",
        )
