"""ONNX's recurrent layers, unrolled: LSTM, GRU and RNN, which TVM's importer does not know.

The formulas are those of the ONNX operators' documentation. All products with the input are one matrix
product for the whole sequence; each step then adds its own part of that to the product with the state. A
step finds its part by an index that is a constant, not a part of the code: so all steps share one kernel.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from tvm import relax

from tzml.compiler.frontends.onnx.heed import as_text
from tzml.compiler.ir.errors import CompileError
from tzml.compiler.ir.rewrite import Expr, concat, const, constant, dtype_of, shape_of

# from what the input gives, [N, gates·H], and the states [N, H] to the new states
Step = Callable[[Expr, list[Expr]], list[Expr]]

ACTIVATIONS = {"Sigmoid": relax.op.sigmoid, "Tanh": relax.op.tanh, "Relu": relax.op.nn.relu}


@dataclass(frozen=True)
class _Weights:
    """The weights of one direction, of which layers take rows; those that are computed are as good as constants.

    Attributes:
        bb: The block builder.
        recurrent: [directions, gates·H, H].
        bias: [directions, 2·gates·H], that of the input and that of the state; None is 0.
        peepholes: [directions, 3·H], of an LSTM; None if it has none.

    """

    bb: Any
    direction: int
    recurrent: Expr
    bias: Expr | None
    peepholes: Expr | None

    @property
    def size(self) -> int:
        """H, the numbers of a state."""
        return shape_of(self.recurrent)[2]

    @property
    def rows(self) -> int:
        """Of all gates."""
        return shape_of(self.recurrent)[1]

    def product(self, begin: int = 0, end: int | None = None) -> Expr:
        """The weights of these rows, for a product with the state."""
        return self._part(self.recurrent, begin, self.rows if end is None else end, transposed=True)

    def state_bias(self, begin: int = 0, end: int | None = None) -> Expr:
        """What is added to these rows of the product with the state."""
        if self.bias is None:
            return const(np.zeros((self.rows if end is None else end) - begin, dtype_of(self.recurrent)))
        return self._part(self.bias, self.rows + begin, self.rows + (self.rows if end is None else end))

    def input_bias(self, *, with_state: bool) -> Expr:
        """What is added to the product with the input, perhaps with what would be added to that with the state."""
        if self.bias is None:
            return const(np.zeros(self.rows, dtype_of(self.recurrent)))
        own, other = self._part(self.bias, 0, self.rows), self.state_bias()
        if not with_state:
            return own
        known = constant(own), constant(other)
        if known[0] is not None and known[1] is not None:
            return const(known[0] + known[1])
        return self.bb.emit(relax.op.add(own, other))

    def peephole(self, number: int) -> Expr:
        """The weights of the cell that a gate sees, in ONNX's order i, o, f."""
        return self._part(self.peepholes, number * self.size, (number + 1) * self.size)

    def _part(self, value: Expr, begin: int, end: int, *, transposed: bool = False) -> Expr:
        return _part(self.bb, value, self.direction, begin, end, transposed=transposed)


def _part(bb: Any, value: Expr, direction: int, begin: int, end: int, *, transposed: bool = False) -> Expr:
    known = constant(value)
    if known is not None:
        part = known[direction, begin:end]
        return const(np.ascontiguousarray(part.T) if transposed else part)
    part = bb.emit(relax.op.strided_slice(value, [0, 1], [direction, begin], [direction + 1, end]))
    part = bb.emit(relax.op.reshape(part, (end - begin, *shape_of(value)[2:])))
    return bb.emit(relax.op.permute_dims(part)) if transposed else part


def lstm(bb: Any, inputs: Sequence[Expr], attributes: dict[str, Any]) -> Expr:
    """Hochreiter and Schmidhuber (1997), perhaps with peepholes; gates in ONNX's order i, o, f, c."""
    _refuse(bool(attributes.get("input_forget")), "coupled input and forget gates are not supported")
    f, g, h = _activations(attributes, ("Sigmoid", "Tanh", "Tanh"))

    def step(weights: _Weights) -> Step:
        weight = weights.product()

        def seen(gate: Expr, number: int, cell: Expr) -> Expr:
            if weights.peepholes is None:
                return gate
            return bb.emit(relax.op.add(gate, relax.op.multiply(weights.peephole(number), cell)))

        def run(x: Expr, states: list[Expr]) -> list[Expr]:
            hidden, cell = states
            gates = relax.op.add(x, relax.op.matmul(hidden, weight))
            i, o, forget, c = _split(bb, gates, 4)
            i, forget = seen(i, 0, cell), seen(forget, 2, cell)
            cell = bb.emit(relax.op.add(relax.op.multiply(f(forget), cell), relax.op.multiply(f(i), g(c))))
            return [bb.emit(relax.op.multiply(f(seen(o, 1, cell)), h(cell))), cell]

        return run

    return _unroll(bb, inputs, attributes, 4, step, inputs[5:7], fold_bias=True)


def gru(bb: Any, inputs: Sequence[Expr], attributes: dict[str, Any]) -> Expr:
    """Cho et al. (2014), and with linear_before_reset cuDNN's variant; gates in ONNX's order z, r, h."""
    f, g = _activations(attributes, ("Sigmoid", "Tanh"))
    linear_before_reset = bool(attributes.get("linear_before_reset"))

    def step(weights: _Weights) -> Step:
        size = weights.size
        if linear_before_reset:
            weight, all_biases = weights.product(), weights.state_bias()
        else:
            to_zr, to_h = weights.product(0, 2 * size), weights.product(2 * size)
            zr_bias, h_bias = weights.state_bias(0, 2 * size), weights.state_bias(2 * size)
        one = const(np.ones((), dtype_of(weights.recurrent)))

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

    def step(weights: _Weights) -> Step:
        weight = weights.product()

        def run(x: Expr, states: list[Expr]) -> list[Expr]:
            return [bb.emit(f(relax.op.add(x, relax.op.matmul(states[0], weight))))]

        return run

    return _unroll(bb, inputs, attributes, 1, step, inputs[5:6], fold_bias=True)


RECURRENT = {"LSTM": lstm, "GRU": gru, "RNN": rnn}


def _unroll(
    bb: Any, inputs: Sequence[Expr], attributes: dict[str, Any], gates: int,
    make_step: Callable[[_Weights], Step], initial: Sequence[Expr], *, fold_bias: bool,
) -> Expr:  # fmt: skip
    """(Y, Y_h[, Y_c]) of a layer.

    With `fold_bias` the recurrent bias is added with the input's; otherwise `make_step` takes care of it.
    """
    batch_first = bool(attributes.get("layout"))
    x, w, r = inputs[0], inputs[1], inputs[2]
    b, lengths = (inputs[i] if len(inputs) > i else None for i in (3, 4))
    peepholes = inputs[7] if gates == 4 and len(inputs) > 7 else None
    if batch_first:
        x = bb.emit(relax.op.permute_dims(x, [1, 0, 2]))
    x = bb.normalize(x)
    time, n, features = shape_of(x)
    directions, rows, size = shape_of(r)
    _refuse(rows != gates * size or shape_of(w) != (directions, rows, features), "its weights have other shapes")
    active = _active(lengths, time)
    backward = {"forward": [False], "reverse": [True], "bidirectional": [False, True]}
    flat = bb.emit(relax.op.reshape(x, (time * n, features)))

    sequences, last = [], []
    for d, reverse in enumerate(backward[as_text(attributes.get("direction", "forward"))]):
        weights = _Weights(bb, d, r, b, peepholes)
        product = relax.op.matmul(flat, _part(bb, w, d, 0, rows, transposed=True))
        product = relax.op.add(product, weights.input_bias(with_state=fold_bias))
        product = bb.emit(relax.op.reshape(product, (time, n, rows)))
        step = make_step(weights)
        kind = dtype_of(x)
        states = [_initial(bb, initial, i, d, (n, size), kind, batch_first) for i in range(2 if gates == 4 else 1)]
        outputs = []
        for t in reversed(range(time)) if reverse else range(time):
            # the index is in range; "clip" keeps the kernel inside its argument whatever it is given
            part = relax.op.take(product, relax.const(np.array([t], np.int64)), axis=0, mode="clip")
            before, states = states, step(relax.op.reshape(part, (n, rows)), states)
            output = states[0]
            if active is not None:
                is_active = bb.emit(active(t, n))
                states = [bb.emit(relax.op.where(is_active, *pair)) for pair in zip(states, before, strict=True)]
                output = bb.emit(relax.op.where(is_active, output, const(np.zeros((), kind))))
            outputs.append(bb.emit(relax.op.reshape(output, (1, n, size))))
        sequences.append(concat(bb.emit, outputs[::-1] if reverse else outputs, axis=0))
        last.append(states)

    # Y is [time, directions, N, H], the last states are [directions, N, H]
    y = _stack(bb, sequences, 1)
    finals = [_stack(bb, [states[i] for states in last], 0) for i in range(len(last[0]))]
    if batch_first:
        y = relax.op.permute_dims(y, [2, 0, 1, 3])
        finals = [relax.op.permute_dims(state, [1, 0, 2]) for state in finals]
    return relax.Tuple([bb.emit(value) for value in (y, *finals)])


def _active(lengths: Expr | None, time: int) -> Callable[[int, int], Expr] | None:
    """Which of `n` sequences have a step `t`, as [n, 1]; None if all have all steps.

    Outside of its sequence a step leaves the state as it is, and gives 0.
    """
    if lengths is None:
        return None
    known = constant(lengths)
    if known is not None and (known == time).all():
        return None

    def active(t: int, n: int) -> Expr:
        return relax.op.reshape(relax.op.greater(lengths, const(np.array(t, dtype_of(lengths)))), (n, 1))

    return active


def _initial(
    bb: Any, initial: Sequence[Expr], index: int, direction: int, shape: tuple[int, int], kind: str,
    batch_first: bool,
) -> Expr:  # fmt: skip
    if index >= len(initial) or initial[index] is None:
        return const(np.zeros(shape, kind))
    axis, begin, end = [1 if batch_first else 0], [direction], [direction + 1]
    return bb.emit(relax.op.reshape(relax.op.strided_slice(initial[index], axis, begin, end), shape))


def _split(bb: Any, value: Expr, parts: int) -> list[Expr]:
    whole = bb.emit(relax.op.split(bb.emit(value), parts, axis=-1))
    return [bb.emit(relax.TupleGetItem(whole, i)) for i in range(parts)]


def _stack(bb: Any, values: list[Expr], axis: int) -> Expr:
    return concat(bb.emit, [bb.emit(relax.op.expand_dims(value, axis)) for value in values], axis)


def _activations(attributes: dict[str, Any], default: tuple[str, ...]) -> list[Callable[[Expr], Expr]]:
    names = [as_text(name) for name in attributes.get("activations", default)]
    count = len(default)
    _refuse(any(names[i : i + count] != names[:count] for i in range(0, len(names), count)),
            "each direction has activations of its own")  # fmt: skip
    for name in names:
        _refuse(name not in ACTIVATIONS, f"the activation {name} is not supported")
    _refuse("clip" in attributes, "clipping is not supported")
    return [ACTIVATIONS[name] for name in names[:count]]


def _refuse(condition: bool, what: str) -> None:
    if condition:
        raise CompileError(what)
