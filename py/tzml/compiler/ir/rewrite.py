"""Rebuilding a Relax function binding by binding."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import tvm
from numpy.typing import NDArray
from tvm import relax

from tzml.compiler.ir.layer_names import hint_of, number_of, numbers_of
from tzml.compiler.ir.shapes import static_shape
from tzml.compiler.ir.tvm_internals import identity

Expr = Any
"""A Relax expression."""


_JOINED = 32
"""Values that one call puts together at most.

A kernel has at most bundle.format.MAX_ARGUMENTS, 64; a power of two keeps what they make up aligned.
"""


class Rewriter:
    """Rebuild `main`, a function without control flow; subclasses say what becomes of each operator.

    `values` has what stands for each variable of the old function in the new one. What is made of a binding comes
    from the same operator of the source (ir/layer_names.py).
    """

    def __init__(self, module: Any) -> None:
        self.module = module
        self.bb = relax.BlockBuilder(module)
        self.values: dict[Any, Expr] = {}
        self.uses: Counter[Any] = Counter()
        self._derived: dict[Hashable, tuple[Expr, tuple[Any, ...]]] = {}
        self.hint = ""  # the name for what is made of the binding at hand

    def run(self) -> Any:
        """The module with the new `main`."""
        main = self.module["main"]
        self._count_uses(main)
        # not the model's names: what names a kernel would depend on whether one is also that of a loop's variable
        parameters = [relax.Var(f"input{number}", p.ty) for number, p in enumerate(main.params)]
        for old, new in zip(main.params, parameters, strict=True):
            self.values[old] = new
        with self.bb.function("rewritten", parameters):
            with self.bb.dataflow():
                bindings = bindings_of(main)
                for binding, number in zip(bindings, numbers_of([b.var for b in bindings]), strict=True):
                    self.hint = hint_of(number)
                    value = self.bind(binding.var, binding.value)
                    if value is not None:
                        self.values[binding.var] = value
                result = self.output(main.body.body)
                own = number_of(result) if isinstance(result, relax.Var) else None
                result = self.bb.emit_output(result, "" if own is None else hint_of(own))
            self.bb.emit_func_output(result)
        module = self.bb.get()
        function = module["rewritten"].with_attr("global_symbol", "main")
        functions = {name: f for name, f in module.functions.items() if name.name_hint not in ("main", "rewritten")}
        return tvm.IRModule({**functions, tvm.ir.GlobalVar("main"): function})

    def bind(self, variable: Any, value: Expr) -> Expr:
        """What stands for `variable`, to which the old function binds `value`; None if kept elsewhere."""
        if isinstance(value, relax.Call):
            return self.call(variable, value)
        return self.emit(self.translate(value))

    def call(self, variable: Any, call: Any) -> Expr:
        """What stands for the result of an operator. By default, the same operator."""
        return self.emit(relax.Call(call.op, [self.translate(a) for a in call.args], call.attrs, call.ty_args))

    def output(self, body: Expr) -> Expr:
        """The new function's result, given the old one's."""
        return self.translate(body)

    def translate(self, expression: Expr) -> Expr:
        """An operand of the old function as one of the new."""
        return self.values[expression] if isinstance(expression, relax.Var) else rebuilt(expression, self.translate)

    def emit(self, expression: Expr, like: Expr | None = None) -> Expr:
        """Bind an expression, unless it is an atom already.

        It comes from the operator that the binding at hand comes from, or that the variable `like` does.
        """
        atoms = (relax.Var, tvm.ir.GenericConst, relax.ShapeExpr)
        own = None if like is None else number_of(like)
        hint = self.hint if own is None else hint_of(own)
        return expression if isinstance(expression, atoms) else self.bb.emit(expression, hint)

    def derived(self, how: Hashable, sources: Sequence[Any], compute: Callable[[], NDArray[Any]]) -> Expr:
        """The constant that `compute` makes of `sources`; the same one each time, if `how` and they are the same.

        Constants are told apart by where they come from and never by their numbers: what a bundle looks like must
        not depend on these. `sources` are objects of TVM.
        """
        key = (how, *map(identity, sources))
        if key not in self._derived:
            self._derived[key] = const(compute()), tuple(sources)  # which live as long as their identities count
        return self._derived[key][0]

    def concat(self, values: Sequence[Expr], axis: int) -> Expr:
        """The values along an axis."""
        return concat(self.emit, values, axis)

    def _count_uses(self, main: Any) -> None:
        for binding in bindings_of(main):
            self.uses.update(free_variables(binding.value))
        self.uses.update(free_variables(main.body.body))


def concat(emit: Callable[[Expr], Expr], values: Sequence[Expr], axis: int) -> Expr:
    """The values, one at least, along an axis; many are put together in steps. `emit` binds an expression."""
    while len(values) > 1:
        groups = [values[i : i + _JOINED] for i in range(0, len(values), _JOINED)]
        values = [emit(relax.op.concat(group, axis)) if len(group) > 1 else group[0] for group in groups]
    return values[0]


def rebuilt(expression: Expr, translate: Callable[[Expr], Expr]) -> Expr:
    """An operand that is no variable, of which `translate` makes the parts; what has none stays as it is."""
    if isinstance(expression, relax.Tuple):
        return relax.Tuple([translate(field) for field in expression.fields])
    if isinstance(expression, relax.TupleGetItem):
        return relax.TupleGetItem(translate(expression.tuple_value), expression.index)
    return expression


def bindings_of(function: Any) -> list[Any]:
    """The bindings of a function without control flow, in order."""
    return [binding for block in function.body.blocks for binding in block.bindings]


@contextmanager
def naming(builder: Any, hint: str) -> Iterator[None]:
    """Let `builder` give that name to what it binds inside of this, unless it is given another."""
    emit, is_inner = builder.emit, "emit" in vars(builder)
    builder.emit = lambda expression, name_hint="": emit(expression, name_hint or hint)
    try:
        yield
    finally:
        if is_inner:
            builder.emit = emit
        else:
            del builder.emit


def bound(builder: Any, result: Expr, hint: str) -> Expr:
    """What an operator of the source was converted to, with its calls bound to variables of that name."""
    if isinstance(result, relax.Tuple):
        return relax.Tuple([bound(builder, field, hint) for field in result.fields])
    if isinstance(result, relax.Var) and is_tensor(result) and number_of(result) is None:
        return builder.emit(result, hint)  # another name for it, which says where the bindings before it come from
    if not isinstance(result, relax.Call):
        return result
    if isinstance(result.ty, relax.TupleType):
        whole = builder.emit(result, hint)
        fields = range(len(result.ty.fields))
        return relax.Tuple([builder.emit(relax.TupleGetItem(whole, i), hint) for i in fields])
    return builder.emit(result, hint) if is_tensor(result) else result


def free_variables(expression: Expr) -> list[Any]:
    """The variables that an expression uses, with repetition."""
    if isinstance(expression, relax.Var):
        return [expression]
    if isinstance(expression, relax.Tuple):
        return [v for field in expression.fields for v in free_variables(field)]
    if isinstance(expression, relax.TupleGetItem):
        return free_variables(expression.tuple_value)
    if isinstance(expression, relax.Call):
        return [v for argument in expression.args for v in free_variables(argument)]
    return []


def is_tensor(expression: Expr) -> bool:
    """Whether it is a tensor, and not a number, a shape or a tuple."""
    return isinstance(getattr(expression, "ty", None), relax.TensorType)


def shape_of(expression: Expr) -> tuple[int, ...]:
    """The static shape of a tensor."""
    return static_shape(expression.ty)


def dtype_of(expression: Expr) -> str:
    """The type of a tensor's elements, by NumPy's name."""
    return str(expression.ty.dtype)


def constant(expression: Expr) -> NDArray[Any] | None:
    """The value of a constant tensor; None for anything else."""
    if isinstance(expression, tvm.ir.GenericConst):
        array: NDArray[Any] = expression.value.numpy()
        return array
    return None


def const(array: NDArray[Any]) -> Expr:
    """A constant of the array's shape and dtype."""
    return relax.const(np.asarray(array, order="C"), str(array.dtype))  # ascontiguousarray adds an axis to scalars


def op_name(call: Any) -> str:
    """Relax's name of a call's operator, such as "relax.add"; "" for a call of a function."""
    return str(getattr(call.op, "name", ""))


def ints(values: Sequence[Any]) -> tuple[int, ...]:
    """TVM's integers as Python's."""
    return tuple(int(v) for v in values)


class Sliding(NamedTuple):
    """How a window slides over an image. Pairs are (rows, columns); padding is (top, left, bottom, right)."""

    strides: tuple[int, int]
    dilation: tuple[int, int]
    padding: tuple[int, int, int, int]


def sliding_of(call: Any) -> Sliding:
    """How the window of a convolution or pooling of images slides."""
    top, left, bottom, right = ints(call.attrs.padding)
    return Sliding(pair(call.attrs.strides), pair(call.attrs.dilation), (top, left, bottom, right))


def pair(values: Sequence[Any]) -> tuple[int, int]:
    """A number for the rows, and one for the columns."""
    rows, columns = ints(values)
    return rows, columns
