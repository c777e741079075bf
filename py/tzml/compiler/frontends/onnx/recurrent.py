"""ONNX's recurrent layers, unrolled: LSTM, GRU and RNN, which TVM's importer does not know.

The formulas are those of the ONNX operators' documentation. All products with the input are one matrix
product for the whole sequence; each step then adds its own part of that to the product with the state. A
step finds its part by an index that is a constant, not a part of the code: so all steps share one kernel.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tvm import relax

from tzml.compiler.ir.errors import CompileError
from tzml.compiler.ir.rewrite import Expr, concat, shape_of

Floats = NDArray[np.float32]
# from what the input gives, [N, gates·H], and the states [N, H] to the new states
Step = Callable[[Expr, list[Expr]], list[Expr]]

ACTIVATIONS = {"Sigmoid": relax.op.sigmoid, "Tanh": relax.op.tanh, "Relu": relax.op.nn.relu}


def lstm(bb: Any, inputs: Sequence[Expr], attributes: dict[str, Any]) -> Expr:
    """Hochreiter and Schmidhuber (1997); gates in ONNX's order i, o, f, c."""
    _refuse(len(inputs) > 7 and inputs[7] is not None, "peephole weights are not supported")
    _refuse(bool(attributes.get("input_forget")), "coupled input and forget gates are not supported")
    f, g, h = _activations(attributes, ("Sigmoid", "Tanh", "Tanh"))

    def step(direction: int, recurrent: Floats, _: Floats) -> Step:
        weight = relax.const(np.ascontiguousarray(recurrent.T))

        def run(x: Expr, states: list[Expr]) -> list[Expr]:
            hidden, cell = states
            gates = relax.op.add(x, relax.op.matmul(hidden, weight))
            i, o, forget, c = _split(bb, gates, 4)
            cell = bb.emit(relax.op.add(relax.op.multiply(f(forget), cell), relax.op.multiply(f(i), g(c))))
            return [bb.emit(relax.op.multiply(f(o), h(cell))), cell]

        return run

    return _unroll(bb, inputs, attributes, 4, step, inputs[5:7], fold_bias=True)


def gru(bb: Any, inputs: Sequence[Expr], attributes: dict[str, Any]) -> Expr:
    """Cho et al. (2014), and with linear_before_reset cuDNN's variant; gates in ONNX's order z, r, h."""
    f, g = _activations(attributes, ("Sigmoid", "Tanh"))
    linear_before_reset = bool(attributes.get("linear_before_reset"))

    def step(direction: int, recurrent: Floats, bias: Floats) -> Step:
        size = recurrent.shape[1]
        weight = relax.const(np.ascontiguousarray(recurrent.T))
        to_zr = relax.const(np.ascontiguousarray(recurrent[: 2 * size].T))
        to_h = relax.const(np.ascontiguousarray(recurrent[2 * size :].T))
        one = relax.const(np.float32(1))
        all_biases, zr_bias, h_bias = (relax.const(b) for b in (bias, bias[: 2 * size], bias[2 * size :]))

        def run(x: Expr, states: list[Expr]) -> list[Expr]:
            (hidden,) = states
            xz, xr, xh = _split(bb, x, 3)
            if linear_before_reset:
                product = bb.emit(relax.op.add(relax.op.matmul(hidden, weight), all_biases))
                hz, hr, hh = _split(bb, product, 3)
                reset = f(relax.op.add(xr, hr))
                candidate = g(relax.op.add(xh, relax.op.multiply(reset, hh)))
            else:
                product = bb.emit(relax.op.add(relax.op.matmul(hidden, to_zr), zr_bias))
                hz, hr = _split(bb, product, 2)
                reset = bb.emit(relax.op.multiply(f(relax.op.add(xr, hr)), hidden))
                candidate = g(relax.op.add(xh, relax.op.add(relax.op.matmul(reset, to_h), h_bias)))
            update = bb.emit(f(relax.op.add(xz, hz)))
            keep = relax.op.multiply(update, hidden)
            return [bb.emit(relax.op.add(relax.op.multiply(relax.op.subtract(one, update), candidate), keep))]

        return run

    return _unroll(bb, inputs, attributes, 3, step, inputs[5:6], fold_bias=False)


def rnn(bb: Any, inputs: Sequence[Expr], attributes: dict[str, Any]) -> Expr:
    """Elman's network (1990)."""
    (f,) = _activations(attributes, ("Tanh",))

    def step(direction: int, recurrent: Floats, _: Floats) -> Step:
        weight = relax.const(np.ascontiguousarray(recurrent.T))

        def run(x: Expr, states: list[Expr]) -> list[Expr]:
            return [bb.emit(f(relax.op.add(x, relax.op.matmul(states[0], weight))))]

        return run

    return _unroll(bb, inputs, attributes, 1, step, inputs[5:6], fold_bias=True)


RECURRENT = {"LSTM": lstm, "GRU": gru, "RNN": rnn}


def _unroll(
    bb: Any, inputs: Sequence[Expr], attributes: dict[str, Any], gates: int,
    make_step: Callable[[int, Floats, Floats], Step], initial: Sequence[Expr], *, fold_bias: bool,
) -> Expr:  # fmt: skip
    """(Y, Y_h[, Y_c]) of a layer.

    With `fold_bias` the recurrent bias is added with the input's; otherwise `make_step` takes care of it.
    """
    batch_first = bool(attributes.get("layout"))
    x = inputs[0]
    if batch_first:
        x = bb.emit(relax.op.permute_dims(x, [1, 0, 2]))
    x = bb.normalize(x)
    time, n, features = shape_of(x)
    w, r = _constant(inputs[1]), _constant(inputs[2])
    directions, rows, size = r.shape
    _refuse(rows != gates * size or w.shape != (directions, rows, features), "its weights have other shapes")
    b = np.zeros((directions, 2 * rows), np.float32)
    if len(inputs) > 3 and inputs[3] is not None:
        b = _constant(inputs[3])
    if len(inputs) > 4 and inputs[4] is not None:
        _refuse(bool((_constant(inputs[4]) != time).any()), "sequences of several lengths are not supported")
    backward = {"forward": [False], "reverse": [True], "bidirectional": [False, True]}
    flat = bb.emit(relax.op.reshape(x, (time * n, features)))

    sequences, last = [], []
    for d, reverse in enumerate(backward[_text(attributes.get("direction", "forward"))]):
        bias, recurrent_bias = b[d, :rows], b[d, rows:]
        if fold_bias:
            bias = bias + recurrent_bias
        product = relax.op.matmul(flat, relax.const(np.ascontiguousarray(w[d].T)))
        product = bb.emit(relax.op.reshape(relax.op.add(product, relax.const(bias)), (time, n, rows)))
        step = make_step(d, r[d], recurrent_bias)
        states = [_initial(bb, initial, i, d, (n, size)) for i in range(2 if gates == 4 else 1)]
        outputs = []
        for t in reversed(range(time)) if reverse else range(time):
            # the index is in range; "clip" keeps the kernel inside its argument whatever it is given
            part = relax.op.take(product, relax.const(np.array([t], np.int64)), axis=0, mode="clip")
            states = step(relax.op.reshape(part, (n, rows)), states)
            outputs.append(bb.emit(relax.op.reshape(states[0], (1, n, size))))
        sequences.append(concat(bb.emit, outputs[::-1] if reverse else outputs, axis=0))
        last.append(states)

    # Y is [time, directions, N, H], the last states are [directions, N, H]
    y = _stack(bb, sequences, 1)
    finals = [_stack(bb, [states[i] for states in last], 0) for i in range(len(last[0]))]
    if batch_first:
        y = relax.op.permute_dims(y, [2, 0, 1, 3])
        finals = [relax.op.permute_dims(state, [1, 0, 2]) for state in finals]
    return relax.Tuple([bb.emit(value) for value in (y, *finals)])


def _initial(bb: Any, initial: Sequence[Expr], index: int, direction: int, shape: tuple[int, int]) -> Expr:
    if index >= len(initial) or initial[index] is None:
        return relax.const(np.zeros(shape, np.float32))
    begin, end = [direction], [direction + 1]
    return bb.emit(relax.op.reshape(relax.op.strided_slice(initial[index], [0], begin, end), shape))


def _split(bb: Any, value: Expr, parts: int) -> list[Expr]:
    whole = bb.emit(relax.op.split(bb.emit(value), parts, axis=-1))
    return [bb.emit(relax.TupleGetItem(whole, i)) for i in range(parts)]


def _stack(bb: Any, values: list[Expr], axis: int) -> Expr:
    return concat(bb.emit, [bb.emit(relax.op.expand_dims(value, axis)) for value in values], axis)


def _activations(attributes: dict[str, Any], default: tuple[str, ...]) -> list[Callable[[Expr], Expr]]:
    names = [_text(name) for name in attributes.get("activations", default)]
    count = len(default)
    _refuse(any(names[i : i + count] != names[:count] for i in range(0, len(names), count)),
            "each direction has activations of its own")  # fmt: skip
    for name in names:
        _refuse(name not in ACTIVATIONS, f"the activation {name} is not supported")
    _refuse("clip" in attributes, "clipping is not supported")
    return [ACTIVATIONS[name] for name in names[:count]]


def _constant(value: Expr) -> NDArray[Any]:
    _refuse(not hasattr(value, "value"), "its weights and lengths must be constants")
    array: NDArray[Any] = value.value.numpy()
    return array


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _refuse(condition: bool, what: str) -> None:
    if condition:
        raise CompileError(what)
