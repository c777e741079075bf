"""What frontends leave, in fewer operators: the first pass over a module.

Operators of constants are computed; batch normalisation becomes a scale and a shift, folded into the
convolution before it where there is one; ONNX's Clip, which TVM's frontend writes as calls of tensor
functions, becomes `relax.clip`; an explicit padding with zeros goes into the convolution behind it.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np
import tvm
import tvm_ffi
from tvm import relax, te, tirx

from tzml.compiler.ir.rewrite import Expr, Rewriter, const, constant, dtype_of, ints, op_name, shape_of
from tzml.compiler.passes.fold_constants import fold

_SQUARE = 2  # an exponent


def simplify(module: Any, *, train: bool = False) -> Any:
    """The module with the new `main`, which computes the same; what is not understood stays as it is.

    Results differ by rounding where a batch normalisation goes into a convolution's weights. With `train`, it stays
    an operator of its own.
    """
    return relax.transform.DeadCodeElimination(["main"])(_Simplify(module, train).run())


class _Simplify(Rewriter):
    def __init__(self, module: Any, train: bool) -> None:
        super().__init__(module)
        self.handlers = {name: h for name, h in HANDLERS.items() if not train or h is not _batch_norm}
        self.calls: dict[Any, Any] = {}  # new variable to the call it is bound to
        self.used_once: set[Any] = set()  # new variables whose only use is the one at hand

    def bind(self, variable: Any, value: Expr) -> Expr:
        if isinstance(value, relax.TupleGetItem):
            whole = self.translate(value.tuple_value)
            if isinstance(whole, relax.Tuple):
                return whole.fields[value.index]
        if isinstance(value, relax.Tuple):
            return self.translate(value)
        result = super().bind(variable, value)
        if self.uses[variable] == 1:
            self.used_once.add(result)
        return result

    def call(self, variable: Any, call: Any) -> Expr:
        arguments = [self.translate(argument) for argument in call.args]
        folded = fold(call, arguments)
        if folded is not None and folded.dtype == np.dtype(dtype_of(call)):
            return self.derived(*_origin(call, arguments), lambda: folded)
        handler = self.handlers.get(op_name(call))
        result = handler(self, call, arguments) if handler else None
        if result is None:
            result = relax.Call(call.op, arguments, call.attrs, call.ty_args)
        return self.emit(result)

    def output(self, body: Expr) -> Expr:
        """Outputs that are constants are copied from the weights, as long as another one depends on an input.

        If all others are inputs as they are, these are copied too: a program has one kernel at least.
        """
        result = super().output(body)
        fields = list(result.fields) if isinstance(result, relax.Tuple) else [result]
        known = [constant(field) is not None for field in fields]
        if all(known):
            return result
        inputs = [self.values[parameter] for parameter in self.module["main"].params]
        is_input = [any(field.same_as(value) for value in inputs) for field in fields]
        if all(a or b for a, b in zip(known, is_input, strict=True)):
            known = [True] * len(fields)
        if not any(known):
            return result
        copies = [
            self.bb.emit(self.bb.call_te(_copied, field, primfunc_name_hint="constant")) if is_copied else field
            for field, is_copied in zip(fields, known, strict=True)
        ]
        return relax.Tuple(copies) if isinstance(result, relax.Tuple) else copies[0]

    def emit(self, expression: Expr, like: Expr | None = None) -> Expr:
        if isinstance(expression, relax.Tuple):
            return relax.Tuple([self.emit(field, like) for field in expression.fields])
        result = super().emit(expression, like)
        if isinstance(expression, relax.Call):
            self.calls[result] = expression
        return result

    def producer(self, expression: Expr, name: str) -> Any:
        """The call that makes `expression`, if it is of that operator and nothing else uses it."""
        call = self.calls.get(expression) if isinstance(expression, relax.Var) else None
        return call if call is not None and op_name(call) == name and expression in self.used_once else None


def _copied(x: Any) -> Any:
    """A copy in two steps, for TVM takes one of one step to be another name of what it copies."""
    first = te.compute(x.shape, lambda *at: x(*at), name="constant")
    return te.compute(x.shape, lambda *at: first(*at), name="copy")


def _origin(call: Any, arguments: list[Expr]) -> tuple[Hashable, list[Expr]]:
    """What tells the result of an operator of constants from others: all but their numbers."""
    given = [a for argument in arguments for a in getattr(argument, "fields", [argument])]
    constants = [a for a in given if isinstance(a, tvm.ir.GenericConst)]
    others = [tvm_ffi.structural_hash(a) for a in given if not isinstance(a, tvm.ir.GenericConst)]
    attributes = None if call.attrs is None else tvm_ffi.structural_hash(call.attrs)
    return (op_name(call), attributes, *others), constants


def _batch_norm(rewriter: _Simplify, call: Any, arguments: list[Expr]) -> Expr | None:
    data, *parameters = arguments
    values = [constant(parameter) for parameter in parameters]
    attributes = call.attrs
    if any(value is None for value in values) or attributes.training:
        return None
    gamma, beta, mean, variance = (np.asarray(value, np.float64) for value in values)
    with np.errstate(all="ignore"):
        scale = 1 / np.sqrt(variance + float(attributes.epsilon))
        scale = scale * gamma if attributes.scale else scale
        shift = -mean * scale + (beta if attributes.center else 0)
    rank, axis = len(shape_of(data)), int(attributes.axis)
    per_channel = [-1 if i == axis % rank else 1 for i in range(rank)]
    kind = dtype_of(data)

    def operand(array: Any) -> Expr:
        return const(array.reshape(per_channel).astype(kind))

    scaled = _scale_weights(rewriter, data, scale, axis)
    if scaled is None:
        scaled = rewriter.emit(relax.op.multiply(data, operand(scale)))
    else:
        scaled = rewriter.emit(scaled, like=data)
    result = rewriter.emit(relax.op.add(scaled, operand(shift)))
    return relax.Tuple([result, parameters[2], parameters[3]])


def _scale_weights(rewriter: _Simplify, data: Expr, scale: Any, axis: int) -> Expr | None:
    """The convolution that makes `data`, with `scale` (one number an output channel) in its weights."""
    conv = rewriter.producer(data, "relax.nn.conv2d")
    if conv is None or str(conv.attrs.data_layout)[axis] != "C":
        return None
    weights = constant(conv.args[1])
    if weights is None:
        return None
    layout = str(conv.attrs.kernel_layout)
    shaped = scale.reshape([-1 if letter == "O" else 1 for letter in layout])
    if int(conv.attrs.groups) > 1 and layout != "OIHW":
        return None
    with np.errstate(all="ignore"):
        scaled = (weights * shaped).astype(weights.dtype)
    return relax.Call(conv.op, [conv.args[0], const(scaled)], conv.attrs)


def _call_tir(rewriter: _Simplify, call: Any, arguments: list[Expr]) -> Expr | None:
    """ONNX's Clip: a call of topi's maximum or minimum with a scalar."""
    operands = arguments[1].fields
    if len(operands) != 2 or shape_of(operands[1]) != () or constant(operands[1]) is None:
        return None
    name = _only_block(rewriter.module[arguments[0]])
    if name == "T_maximum":
        return _clip(rewriter, relax.op.maximum(*operands), operands)
    if name == "T_minimum":
        return _clip(rewriter, relax.op.minimum(*operands), operands)
    return None


def _minimum(rewriter: _Simplify, call: Any, arguments: list[Expr]) -> Expr | None:
    return _clip(rewriter, relax.op.minimum(*arguments), arguments)


def _clip(rewriter: _Simplify, otherwise: Expr, arguments: list[Expr]) -> Expr | None:
    """A minimum with a constant, of a maximum with a constant, as one operator."""
    bound = constant(arguments[1])
    if op_name(otherwise) == "relax.maximum" or bound is None or dtype_of(arguments[0]) != "float32":
        return otherwise
    inner = rewriter.producer(arguments[0], "relax.maximum")
    low = constant(inner.args[1]) if inner is not None else None
    if low is None or low.size != 1 or bound.size != 1:
        return otherwise
    low, bound = (tirx.FloatImm("float32", float(end)) for end in (low, bound))
    return relax.op.clip(inner.args[0], low, bound)


def _power(rewriter: _Simplify, call: Any, arguments: list[Expr]) -> Expr | None:
    """A square is an operator of its own; any other exponent is a number of the model."""
    exponent = constant(arguments[1])
    is_square = exponent is not None and exponent.shape == () and float(exponent) == _SQUARE
    return relax.op.square(arguments[0]) if is_square and "float" in dtype_of(call) else None


def _compared_with_itself(rewriter: _Simplify, call: Any, arguments: list[Expr]) -> Expr | None:
    """What tells NaN from numbers: TVM takes each number to be equal to itself."""
    a, b = arguments
    if not a.same_as(b) or "float" not in dtype_of(a):
        return None
    is_nan = rewriter.emit(relax.op.isnan(a))
    return is_nan if op_name(call) == "relax.not_equal" else relax.op.logical_not(is_nan)


def _only_block(function: Any) -> str:
    body = function.body.block.body
    while isinstance(body, tirx.For):
        body = body.body
    return str(body.block.name_hint) if hasattr(body, "block") else ""


def _padded_conv2d(rewriter: _Simplify, call: Any, arguments: list[Expr]) -> Expr | None:
    pad = rewriter.producer(arguments[0], "relax.nn.pad")
    if pad is None or str(pad.attrs.pad_mode) != "constant" or float(pad.attrs.pad_value):
        return None
    layout, width = str(call.attrs.data_layout), ints(pad.attrs.pad_width)
    if len(layout) != 4:
        return None
    before = {letter: width[2 * i] for i, letter in enumerate(layout)}
    after = {letter: width[2 * i + 1] for i, letter in enumerate(layout)}
    if any(before[c] or after[c] for c in "NC") or min(width) < 0:
        return None
    attributes = call.attrs
    top, left, bottom, right = ints(attributes.padding)
    return relax.op.nn.conv2d(
        pad.args[0],
        arguments[1],
        strides=ints(attributes.strides),
        padding=(top + before["H"], left + before["W"], bottom + after["H"], right + after["W"]),
        dilation=ints(attributes.dilation),
        groups=int(attributes.groups),
        data_layout=layout,
        kernel_layout=str(attributes.kernel_layout),
    )


def _take(rewriter: _Simplify, call: Any, arguments: list[Expr]) -> Expr | None:
    """One index that is known: a slice, which needs no index in memory."""
    index, axis = constant(arguments[1]), call.attrs.axis
    if index is None or index.size != 1 or axis is None:
        return None
    size = shape_of(arguments[0])[int(axis)]
    at = int(index.reshape(())) % size
    part = rewriter.emit(relax.op.strided_slice(arguments[0], [int(axis)], [at], [at + 1]))
    return relax.op.reshape(part, shape_of(call))


def _shape_to_tensor(rewriter: _Simplify, call: Any, arguments: list[Expr]) -> Expr | None:
    shape = arguments[0]
    if isinstance(shape, relax.ShapeExpr):
        return const(np.array(ints(shape.values), np.int64))
    return None


def _shape_of(rewriter: _Simplify, call: Any, arguments: list[Expr]) -> Expr | None:
    return relax.ShapeExpr(shape_of(arguments[0]))


HANDLERS = {
    "relax.equal": _compared_with_itself,
    "relax.not_equal": _compared_with_itself,
    "relax.less_equal": _compared_with_itself,
    "relax.greater_equal": _compared_with_itself,
    "relax.call_tir": _call_tir,
    "relax.minimum": _minimum,
    "relax.power": _power,
    "relax.nn.batch_norm": _batch_norm,
    "relax.nn.conv2d": _padded_conv2d,
    "relax.shape_of": _shape_of,
    "relax.take": _take,
    "relax.shape_to_tensor": _shape_to_tensor,
}
