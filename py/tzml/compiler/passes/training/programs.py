"""The programs of a model that can be trained, each a Relax function of its own over a common state.

`infer` is the model with its parameters in the state. `accumulate` adds the gradients of a micro-batch to sums in
the state, `update` changes the parameters by them, and `evaluate` tells the loss.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import tvm
from tvm import relax, tirx

from tzml.bundle import Role
from tzml.compiler.ir.errors import CompileError, explained
from tzml.compiler.ir.graph import StateBuffer
from tzml.compiler.ir.imported import Imported
from tzml.compiler.ir.layer_names import number_of
from tzml.compiler.ir.rewrite import Expr, bindings_of, const, free_variables, op_name, rebuilt, shape_of
from tzml.compiler.ir.shapes import static_shape
from tzml.compiler.passes.training.clipping import add_clipped, added, unit
from tzml.compiler.passes.training.dropout import Dropout
from tzml.compiler.passes.training.forward import Forward
from tzml.compiler.passes.training.gradients import register_gradients, why_not
from tzml.compiler.passes.training.in_place import assign
from tzml.compiler.passes.training.losses import LOSSES, Loss, of_count
from tzml.compiler.passes.training.normalization import MOMENTUM, Normalization
from tzml.compiler.passes.training.optimizers import Optimizer, StepNumbers, optimizer, unless_forgotten
from tzml.compiler.passes.training.options import TrainOptions
from tzml.compiler.passes.training.parameters import (
    Parameter,
    find_dropouts,
    find_normalizations,
    find_parameters,
    trained_layers,
)

EXAMPLES, COUNT, RATE, BATCH_SIZE, LOSS, STEP = "examples", "count", "rate", "batch_size", "loss_sum", "step"
"""Names of tensors: docs/training.md."""

_SCALAR = relax.TensorType((), "float32")
_INTEGER = relax.TensorType((), "int32")
op = relax.op


@dataclass(frozen=True)
class TrainingProgram:
    """A program before it is lowered."""

    name: str
    role: Role
    imported: Imported


def training_programs(
    imported: Imported, options: TrainOptions, examples: Sequence[str] = (EXAMPLES,)
) -> tuple[TrainingProgram, ...]:
    """The programs of a model that `lower.prepare` has simplified.

    `examples` are the names of its inputs where they are for a micro-batch: a whole model has one, a part of one
    may have several. Raises CompileError for a model that cannot be trained so.
    """
    return _Programs(imported, options, tuple(examples)).all()


def for_examples(imported: Imported, micro_batch: int, inputs: Sequence[str], outputs: Sequence[str]) -> Imported:
    """The same network for a micro-batch, with these names.

    Raises CompileError where examples may depend on each other.
    """
    parameters = imported.module["main"].params
    types = _types_of_examples(parameters, micro_batch)
    taken = [relax.Var(p.name, kind) for p, kind in zip(parameters, types, strict=True)]
    builder = relax.BlockBuilder()
    with builder.function("main", taken):
        with builder.dataflow():
            result = builder.emit_output(Forward(imported, {}, {}).emit(builder, *taken))
        builder.emit_func_output(result)
    return replace(imported, module=builder.get(), input_names=tuple(inputs), output_names=tuple(outputs))


def _types_of_examples(parameters: Sequence[Any], micro_batch: int) -> tuple[Any, ...]:
    """The types of a network's inputs for so many examples."""
    if not all(shape_of(p) for p in parameters):
        raise CompileError("an input of the model is a single number, and no batch of examples")
    return tuple(relax.TensorType((micro_batch, *shape_of(p)[1:]), str(p.ty.dtype)) for p in parameters)


class _Programs:
    def __init__(self, imported: Imported, options: TrainOptions, examples: tuple[str, ...]) -> None:
        main = imported.module["main"]
        if len(imported.input_names) != len(examples) or len(imported.output_names) != 1:
            raise CompileError(
                f"the model has {len(imported.input_names)} inputs and {len(imported.output_names)} outputs; "
                "training is for one of each",
                "cut the model file down to them",
            )
        self.imported, self.options = imported, options
        self.loss: Loss = LOSSES[options.loss]
        trained = trained_layers(imported, options.freeze)
        self.parameters: tuple[Parameter, ...] = find_parameters(trained)
        self.normalizations: tuple[Normalization, ...] = find_normalizations(trained)
        self.dropouts: tuple[Dropout, ...] = find_dropouts(imported, trained)
        self.statistics = tuple(b for n in self.normalizations for b in (n.mean, n.variance))
        self.optimizer: Optimizer = optimizer(options)
        self.example_names = examples
        self.examples = _types_of_examples(main.params, options.micro_batch)
        dtype = "int32" if options.clip else "float32"
        self.sums = tuple(replace(_beside(parameter, "gradient"), dtype=dtype) for parameter in self.parameters)
        if options.clip and self.normalizations:
            raise CompileError(
                "batch normalisation mixes the examples of a micro-batch, so that none has a gradient of its own",
                f"freeze the layers that have one (--freeze {self.normalizations[0].layer}), or leave out --clip",
            )
        self.moments = tuple(
            tuple(_beside(parameter, f"moment{i}") for i in range(self.optimizer.moments))
            for parameter in self.parameters
        )
        self.scalars = tuple(StateBuffer(4, name=f"scalar{i}") for i in range(self.optimizer.scalars))
        self.step = StateBuffer(4, name="step")
        self.state = (
            *(p.buffer for p in self.parameters), *self.sums, *(m for own in self.moments for m in own),
            *self.scalars, self.step, *self.statistics,
        )  # fmt: skip

    def all(self) -> tuple[TrainingProgram, ...]:
        return (
            TrainingProgram("infer", Role.infer, self.infer()),
            TrainingProgram("accumulate", Role.accumulate, self.accumulate()),
            TrainingProgram("update", Role.update, self.update()),
            TrainingProgram("evaluate", Role.evaluate, self.evaluate()),
        )

    # the model

    def infer(self) -> Imported:
        types = [parameter.ty for parameter in self.imported.module["main"].params]

        def body(builder: Any, *arguments: Any) -> Expr:
            return self.forward(arguments[len(types) :]).emit(builder, *arguments[: len(types)])

        return self.made(
            self.imported.input_names, types, self.imported.output_names, body, self.statistics, shaped=True
        )

    def forward(self, state: Sequence[Any], count: Any = None, random: Sequence[Any] = ()) -> Forward:
        """The model with its parameters and running statistics.

        In training with those of the first `count` examples, and with random bytes for each dropout.
        """
        weights, running = state[: len(self.parameters)], iter(state[len(self.parameters) :])
        pairs = zip(self.parameters, weights, strict=True)
        return Forward(
            self.imported,
            {use: weight for p, weight in pairs for use in p.uses},
            {n.variable: (next(running), next(running)) for n in self.normalizations},
            count,
            {d.variable: (d, data) for d, data in zip(self.dropouts, random, strict=bool(random))},
        )

    # the loss of a micro-batch

    @property
    def loss_names(self) -> tuple[str, ...]:
        return (LOSS, self.loss.output) if self.loss.output else (LOSS,)

    @property
    def batch_names(self) -> tuple[str, ...]:
        """What the caller gives for a micro-batch."""
        return (*self.example_names, self.loss.target, COUNT)

    def with_loss(self, builder: Any, *arguments: Any, train: bool = False, random: Sequence[Any] = ()) -> Expr:
        """The sum of the losses of the first `count` examples, and how many of their answers are right.

        `arguments` are a micro-batch, as in `batch_names`, the parameters and the running statistics. With `train`,
        batch normalisations go by these examples; their means and variances follow. `random` has the bytes of the
        dropouts.
        """
        given = len(self.examples)
        target, count, *state = arguments[given:]
        network = self.forward(state, count if train else None, random)
        result = network.emit(builder, *arguments[:given])
        if self.loss.takes_logits:
            result = _logits(builder, result)
        emit = builder.emit
        losses = [of_count(emit, self.loss.each(emit, result, target), count)]
        if self.loss.right:
            losses.append(of_count(emit, self.loss.right(emit, result, target), count))
        found = [network.statistics[n.variable] for n in self.normalizations] if train else []
        return relax.Tuple(
            [*(emit(op.sum(one)) for one in losses), *(s for f in found for s in (f.mean, f.unbiased))]
        )

    @property
    def batch_types(self) -> tuple[Any, ...]:
        main = self.imported.module["main"]
        result = (self.options.micro_batch, *shape_of(main.body.body)[1:])
        return *self.examples, self.loss.type_of_target(result), _INTEGER

    def evaluate(self) -> Imported:
        return self.made(
            self.batch_names, self.batch_types, self.loss_names, self.with_loss, self.statistics, shaped=True
        )

    # its gradient

    def accumulate(self) -> Imported:
        return self.accumulate_clipped() if self.options.clip else self.accumulate_plain()

    def accumulate_clipped(self) -> Imported:
        """Example by example: each gradient is clipped before it is added (clipping.py)."""
        one = copy.copy(self)
        one.options = replace(self.options, micro_batch=1)
        one.examples = tuple(relax.TensorType((1, *static_shape(t)[1:]), t.dtype) for t in self.examples)
        function = one.gradient()
        given, gradients = len(self.batch_types), len(self.parameters)
        inputs = (*self.batch_names, *(dropout.name for dropout in self.dropouts))
        apart = given - 1  # inputs that have a row for each example: all but the count

        def body(builder: Any, *arguments: Any) -> Expr:
            *tensors, left = arguments[:given]
            random = arguments[given : len(inputs)]
            weights, sums = arguments[len(inputs) : -gradients], list(arguments[-gradients:])
            clip, last = relax.const(self.options.clip, "float32"), relax.const(1, "int32")
            totals: list[Expr] = []
            for i in range(self.options.micro_batch):
                left = builder.emit(op.subtract(left, last)) if i else left
                rows = [_example(builder, tensor, i) for tensor in (*tensors, *random)]
                own: dict[int, Expr] = {}

                def take(number: int, gradient: Expr, own: dict[int, Expr] = own) -> None:
                    own[number] = builder.emit(op.reshape(gradient, (self.parameters[number].value.size,)))

                numbers = (*rows[:apart], left, *rows[apart:], *weights)
                losses = _inlined(builder, function, numbers, take)[: len(self.loss_names)]
                sums = add_clipped(builder, [own[number] for number in range(gradients)], sums, left, clip)
                totals = [added(builder, a, b) for a, b in zip(totals, losses, strict=True)] if i else [*losses]
            return relax.Tuple([*totals, *sums])

        types = (*self.batch_types, *self.random_types)
        made = self.made(inputs, types, self.loss_names, body, self.sums, shaped=True)
        return replace(made, random=inputs[given:])

    def accumulate_plain(self) -> Imported:
        """Of the whole micro-batch at once."""
        function = self.gradient()
        gradients, given = len(self.parameters), len(self.batch_types) + len(self.dropouts)

        def body(builder: Any, *arguments: Any) -> Expr:
            inputs, weights = arguments[:given], arguments[given : given + gradients]
            rows = arguments[given + gradients :]
            sums, running = rows[:gradients], rows[gradients:]
            added: dict[int, Expr] = {}

            def add(number: int, gradient: Expr) -> None:
                """At once, so that its memory is free again."""
                row = builder.emit(op.reshape(gradient, shape_of(sums[number])))
                added[number] = assign(builder, "add_gradient", sums[number], lambda s, g: s + g, row)

            results = _inlined(builder, function, (*inputs, *weights), add)
            losses, found = results[: len(self.loss_names)], results[len(self.loss_names) :]
            numbers = relax.const(MOMENTUM, "float32"), relax.const(0, "float32")
            followed = [
                assign(builder, "follow", old, _followed, new, *numbers)
                for old, new in zip(running, found, strict=True)
            ]
            return relax.Tuple([*losses, *(added[number] for number in range(gradients)), *followed])

        random = tuple(dropout.name for dropout in self.dropouts)
        inputs = (*self.batch_names, *random)
        state = (*self.sums, *self.statistics)
        types = (*self.batch_types, *self.random_types)
        made = self.made(inputs, types, self.loss_names, body, state, shaped=True)
        return replace(made, random=random)

    @property
    def random_types(self) -> tuple[Any, ...]:
        """A byte for each number that a dropout may drop."""
        shapes = [shape_of(self.data_of(dropout)) for dropout in self.dropouts]
        return tuple(relax.TensorType((self.options.micro_batch, *shape[1:]), "uint8") for shape in shapes)

    def data_of(self, dropout: Dropout) -> Any:
        """What goes into a dropout."""
        bindings = bindings_of(self.imported.module["main"])
        return next(binding.value.args[0] for binding in bindings if binding.var == dropout.variable)

    def gradient(self) -> Any:
        """A Relax function from a micro-batch and the parameters to ((loss_sum, …, statistics…), (gradients…))."""
        weights = [self.parameter(p, shaped=True) for p in self.parameters]
        inputs = [relax.Var(f"input{i}", kind) for i, kind in enumerate((*self.batch_types, *self.random_types))]
        batch, random = inputs[: len(self.batch_types)], inputs[len(self.batch_types) :]
        builder = relax.BlockBuilder()
        with builder.function("loss", [*inputs, *weights]):
            with builder.dataflow():
                running = [const(np.zeros(b.shape, np.float32)) for b in self.statistics]  # which nobody looks at
                found = self.with_loss(builder, *batch, *weights, *running, train=True, random=random)
                losses = [builder.emit_output(v) for v in found.fields]
            builder.emit_func_output(relax.Tuple(losses) if len(losses) > 1 else losses[0])
        module = builder.get()
        self._check_differentiable(module["loss"])
        register_gradients()
        own = list(module["loss"].params)[len(inputs) :]
        with explained("TVM has no gradient of the model"):
            module = relax.transform.Gradient("loss", require_grads=own)(module)
        return module["loss_adjoint"]

    def _check_differentiable(self, function: Any) -> None:
        depend = set(list(function.params)[len(self.batch_types) + len(self.dropouts) :])
        for binding in bindings_of(function):
            if depend.isdisjoint(free_variables(binding.value)):
                continue
            depend.add(binding.var)
            number = number_of(binding.var)
            why = why_not(binding.value) if isinstance(binding.value, relax.Call) else ""
            if why and number is not None:
                sources = self.imported.sources
                layer = f"{sources[number].name} ({sources[number].operator})" if number < len(sources) else "?"
                raise CompileError(
                    f"tzml has no gradient of the layer {layer}: {why}",
                    "freeze all layers up to it, or use another",
                )

    # the step

    def update(self) -> Imported:
        count, moments = len(self.parameters), self.optimizer.moments

        def body(builder: Any, rate: Any, batch_size: Any, *arguments: Any) -> Expr:
            weights, sums = arguments[:count], arguments[count : 2 * count]
            own = arguments[2 * count : len(arguments) - len(self.scalars) - 1]
            *counted, step = arguments[len(arguments) - len(self.scalars) - 1 :]
            emit = builder.emit
            zero, one = relax.const(0, "float32"), relax.const(1, "float32")
            nothing = relax.const(0, "int32") if self.options.clip else zero
            examples = emit(op.maximum(emit(op.astype(batch_size, "float32")), zero))
            share = emit(op.divide(emit(op.minimum(examples, one)), emit(op.maximum(examples, one))))
            for numbers in (rate,) if self.options.clip else (rate, *sums):  # integers are finite
                share = emit(op.add(share, _nothing(emit, numbers)))
            scalars = self.optimizer.begin(builder, counted, share)
            changed = [assign(builder, "count", step, _one_more, share, one), *scalars]
            for i, (weight, total) in enumerate(zip(weights, sums, strict=True)):
                kept = own[i * moments : (i + 1) * moments]
                gradient = self.gradient_of(builder, total)
                changed += self.optimizer.update(builder, weight, kept, gradient, StepNumbers(rate, share, scalars))
                changed.append(assign(builder, "clear", total, lambda _, none: none, nothing))
            return relax.Tuple(changed)

        state = (*self.sums, *(m for own in self.moments for m in own), *self.scalars, self.step)
        return self.made((RATE, BATCH_SIZE), (_SCALAR, _INTEGER), (STEP,), body, state, shaped=False)

    def gradient_of(self, builder: Any, total: Expr) -> Expr:
        """The sum of gradients as float32."""
        if not self.options.clip:
            return total
        units = builder.emit(op.astype(total, "float32"))
        return builder.emit(op.multiply(units, relax.const(unit(self.options.clip), "float32")))

    # what they share

    @staticmethod
    def parameter(parameter: Parameter, *, shaped: bool) -> Any:
        shape = parameter.value.shape if shaped else (parameter.value.size,)
        return relax.Var("weight", relax.TensorType(shape, "float32"))

    def made(
        self,
        names: tuple[str, ...],
        types: Sequence[Any],
        outputs: tuple[str, ...],
        body: Callable[..., Expr],
        state: Sequence[StateBuffer] = (),
        *,
        shaped: bool,
    ) -> Imported:
        """A program of inputs of these names and types, the parameters, and `state`, in rows of numbers."""
        inputs = [relax.Var(f"input{i}", kind) for i, kind in enumerate(types)]
        weights = [self.parameter(p, shaped=shaped) for p in self.parameters]
        rows = [relax.Var("state", relax.TensorType((b.size // 4,), b.dtype)) for b in state]
        builder = relax.BlockBuilder()
        with builder.function("main", [*inputs, *weights, *rows]):
            with builder.dataflow():
                result = builder.emit_output(body(builder, *inputs, *weights, *rows))
            builder.emit_func_output(result)
        return replace(
            self.imported,
            module=relax.transform.DeadCodeElimination(["main"])(builder.get()),
            input_names=names,
            output_names=outputs,
            state=(*(p.buffer for p in self.parameters), *state),
        )


def _beside(parameter: Parameter, what: str) -> StateBuffer:
    """Room for something of a parameter's size, that begins as zeros."""
    return StateBuffer(parameter.value.nbytes, name=f"{parameter.name}.{what}", shape=parameter.buffer.shape)


def _example(builder: Any, tensor: Expr, number: int) -> Expr:
    """One of the examples that a tensor has along its first axis, as a tensor of one."""
    if shape_of(tensor)[0] == 1:
        return tensor
    return builder.emit(op.strided_slice(tensor, axes=[0], begin=[number], end=[number + 1]))


def _followed(running: Expr, found: Expr, share: Expr, zero: Expr) -> Expr:
    """What becomes of a running statistic; what is not finite does not count."""
    return tirx.if_then_else(found * zero == zero, running + share * (found - running), running)


def _nothing(emit: Callable[[Expr], Expr], numbers: Expr) -> Expr:
    """0, and NaN if one of the numbers is not finite. A share of NaN is not above 0, so the batch is forgotten."""
    zeros = emit(op.multiply(numbers, relax.const(0, "float32")))  # x - x would be taken for 0, whatever x is
    return emit(op.sum(zeros)) if shape_of(numbers) else zeros


def _one_more(steps: Expr, share: Expr, one: Expr) -> Expr:
    return unless_forgotten(share, steps + one, steps)


def _logits(builder: Any, result: Expr) -> Expr:
    """What the softmax at the end of the model takes; the result itself if there is none."""
    value = builder.lookup_binding(result) if isinstance(result, relax.Var) else None
    while isinstance(value, relax.Var):
        result, value = value, builder.lookup_binding(value)
    if isinstance(value, relax.Call) and op_name(value) == "relax.nn.softmax":
        return value.args[0]
    return result


def _inlined(
    builder: Any, function: Any, arguments: Sequence[Any], take: Callable[[int, Expr], None]
) -> Sequence[Expr]:
    """Emit the bindings of what TVM's Gradient made: ((losses), (gradients)). Returns the losses.

    `take` gets the number of each gradient and its value, as soon as that is emitted.
    """
    values: dict[Any, Expr] = dict(zip(function.params, arguments, strict=True))
    bindings = bindings_of(function)
    bound = {binding.var: binding.value for binding in bindings}

    def resolved(expression: Expr) -> Expr:
        """A tuple, or a variable that is not bound to one, nor to another."""
        while isinstance(expression, relax.Var) and isinstance(bound.get(expression), relax.Var | relax.Tuple):
            expression = bound[expression]
        return expression

    def translate(expression: Expr) -> Expr:
        if isinstance(expression, relax.TupleGetItem):
            whole = resolved(expression.tuple_value)
            if isinstance(whole, relax.Tuple):
                return translate(whole.fields[expression.index])
            return relax.TupleGetItem(translate(whole), expression.index)
        if isinstance(expression, relax.Call):
            operands = list(map(translate, expression.args))
            return relax.Call(expression.op, operands, expression.attrs, expression.ty_args)
        if isinstance(expression, relax.Var):
            return values.get(expression, expression)
        return rebuilt(expression, translate)

    losses, gradients = (resolved(field) for field in resolved(function.body.body).fields)
    wanted = [resolved(field) for field in gradients.fields]
    for binding in bindings:
        value = translate(binding.value)
        atom = isinstance(value, relax.Var | relax.Tuple | tvm.ir.GenericConst)
        values[binding.var] = value if atom else builder.emit(value, binding.var.name)
        for number in (i for i, gradient in enumerate(wanted) if gradient == binding.var):
            take(number, values[binding.var])
    return [translate(loss) for loss in (losses.fields if isinstance(losses, relax.Tuple) else [losses])]
