"""TFLite's recurrent operators of real numbers, unrolled over their steps.

Their states are inputs and outputs of the network (model.py): what a run leaves is given to the next run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from tvm import relax

from tzml.compiler.frontends.tflite.operators import OwnOperators
from tzml.compiler.frontends.tflite.options import option
from tzml.compiler.ir.errors import CompileError
from tzml.compiler.ir.rewrite import Expr, const, shape_of
from tzml.compiler.ir.tvm_internals import tflite_tensor_name

_LSTM_OPERANDS = 17
"""Weights and biases of a direction, from those of the input on."""
_NORMAL = 1e-8
"""What is added to a variance before layers are normalised by it."""


@dataclass(frozen=True)
class LstmOptions:
    """Of a step: the activation of the cell, and what cell and output are limited to, 0 if not."""

    activation: int
    cell: float
    projection: float


class RecurrentOperators(OwnOperators):
    """Functions of a converter, each of an operator."""

    def _operands(self, op: Any) -> list[Expr | None]:
        """In the operator's order, None where one is left out."""
        return [
            None if tensor.tensor_idx < 0 else self.get_tensor_expr(tensor) for tensor in self.get_input_tensors(op)
        ]

    def _leave(self, op: Any, position: int, value: Expr) -> None:
        """A state, for the next run."""
        tensor = self.get_input_tensors(op)[position]
        if not tensor.tensor.IsVariable():
            raise CompileError(f"its operand {position} is no variable, as a state must be")
        name = tflite_tensor_name(self.subgraph, tensor.tensor_idx)
        self.exp_tab.set_expr(name, self.bb.emit(value), force_override=True)

    def _activation(self, value: Expr, activation: int) -> Expr:
        return self.bb.emit(self.convert_fused_activation_function(value, activation))

    def _sum(self, *values: Expr | None) -> Expr:
        first, *others = [value for value in values if value is not None]
        for value in others:
            first = self.bb.emit(relax.op.add(first, value))
        return first

    def _product(self, x: Expr, weights: Expr) -> Expr:
        """Of rows with weights that have a row for each unit."""
        return self.bb.emit(relax.op.matmul(x, self.bb.emit(relax.op.permute_dims(weights, [1, 0]))))

    def _steps(self, x: Expr, time: int) -> list[Expr]:
        """A sequence, step by step."""
        count = shape_of(x)[time]
        parts = [self.bb.emit(relax.op.strided_slice(x, [time], [i], [i + 1])) for i in range(count)]
        return [self.bb.emit(relax.op.squeeze(part, [time])) for part in parts]

    def _joined(self, steps: Sequence[Expr], time: int) -> Expr:
        return relax.op.concat([self.bb.emit(relax.op.expand_dims(step, time)) for step in steps], time)

    def convert_svdf(self, op: Any) -> Expr:
        """A filter over what was seen before, which is the state."""
        x, features, times, bias, state = self._operands(op)
        rank = option(op, "SVDFOptions", "Rank")
        (batch, _), (filters, memory) = shape_of(x), shape_of(times)
        seen = self.bb.emit(relax.op.reshape(state, (batch, filters, memory)))
        new = self.bb.emit(relax.op.expand_dims(self._product(x, features), 2))
        rest = self.bb.emit(relax.op.strided_slice(seen, [2], [1], [memory]))
        seen = self.bb.emit(relax.op.concat([rest, new], 2))
        self._leave(op, 4, relax.op.reshape(seen, (batch, filters * memory)))
        filtered = self.bb.emit(relax.op.sum(self.bb.emit(relax.op.multiply(seen, times)), 2))
        units = self.bb.emit(relax.op.reshape(filtered, (batch, filters // rank, rank)))
        result = self._sum(self.bb.emit(relax.op.sum(units, 2)), bias)
        return self._activation(result, option(op, "SVDFOptions", "FusedActivationFunction"))

    def _rnn(self, steps: Sequence[Expr], weights: Sequence[Expr | None], activation: int) -> list[Expr]:
        """What a layer of such cells answers at each step; the last one is its state."""
        inner, outer, bias, state = weights
        answers = []
        for x in steps:
            state = self._activation(
                self._sum(self._product(x, inner), self._product(state, outer), bias), activation
            )
            answers.append(state)
        return answers

    def convert_rnn(self, op: Any) -> Expr:
        """A step."""
        x, *weights = self._operands(op)
        (state,) = self._rnn([x], weights, option(op, "RNNOptions", "FusedActivationFunction"))
        self._leave(op, 4, state)
        return state

    def convert_unidirectional_sequence_rnn(self, op: Any) -> Expr:
        """A sequence."""
        x, *weights = self._operands(op)
        time = 0 if option(op, "SequenceRNNOptions", "TimeMajor") else 1
        answers = self._rnn(
            self._steps(x, time), weights, option(op, "SequenceRNNOptions", "FusedActivationFunction")
        )
        self._leave(op, 4, answers[-1])
        return self._joined(answers, time)

    def convert_bidirectional_sequence_rnn(self, op: Any) -> Expr:
        """The sequence forwards and backwards."""
        x, *weights = self._operands(op)
        if any(weight is not None for weight in weights[8:]):
            raise CompileError("its auxiliary input is not understood")
        about = "BidirectionalSequenceRNNOptions"
        time, activation = 0 if option(op, about, "TimeMajor") else 1, option(op, about, "FusedActivationFunction")
        steps = self._steps(x, time)
        forth, back = self._rnn(steps, weights[:4], activation), self._rnn(steps[::-1], weights[4:8], activation)
        self._leave(op, 4, forth[-1])
        self._leave(op, 8, back[-1])
        return self._both(forth, back[::-1], time, merged=option(op, about, "MergeOutputs"))

    def _both(self, forth: Sequence[Expr], back: Sequence[Expr], time: int, *, merged: bool) -> Expr:
        results = [self.bb.emit(self._joined(steps, time)) for steps in (forth, back)]
        return relax.op.concat(results, 2) if merged else relax.Tuple(results)

    def convert_lstm(self, op: Any) -> Expr:
        """A step."""
        x, *weights = self._operands(op)
        answers, cell = self._lstm([x], weights, _options(op, "LSTMOptions"))
        self._leave(op, 18, answers[-1])
        self._leave(op, 19, cell)
        return answers[-1]

    def convert_unidirectional_sequence_lstm(self, op: Any) -> Expr:
        """A sequence."""
        x, *weights = self._operands(op)
        about = "UnidirectionalSequenceLSTMOptions"
        time = 0 if option(op, about, "TimeMajor") else 1
        answers, cell = self._lstm(self._steps(x, time), weights, _options(op, about))
        self._leave(op, 18, answers[-1])
        self._leave(op, 19, cell)
        return self._joined(answers, time)

    def convert_bidirectional_sequence_lstm(self, op: Any) -> Expr:
        """The sequence forwards and backwards."""
        x, *weights = self._operands(op)
        count = _LSTM_OPERANDS
        states, more = weights[2 * count : 2 * count + 4], weights[2 * count + 4 :]
        if any(operand is not None for operand in more):
            raise CompileError("its auxiliary input is not understood")
        about = "BidirectionalSequenceLSTMOptions"
        time, options = 0 if option(op, about, "TimeMajor") else 1, _options(op, about)
        steps = self._steps(x, time)
        forth, cell = self._lstm(steps, [*weights[:count], *states[:2]], options)
        back, other = self._lstm(steps[::-1], [*weights[count : 2 * count], *states[2:]], options)
        for i, state in enumerate((forth[-1], cell, back[-1], other)):
            self._leave(op, 2 * count + 1 + i, state)
        return self._both(forth, back[::-1], time, merged=option(op, about, "MergeOutputs"))

    def _lstm(
        self, steps: Sequence[Expr], weights: Sequence[Expr | None], options: LstmOptions
    ) -> tuple[list[Expr], Expr]:
        """What a layer of such cells answers at each step, and its cells after the last one."""
        answer, cell = weights[17:19]
        answers = []
        for x in steps:
            answer, cell = self._lstm_step(x, answer, cell, weights, options)
            answers.append(answer)
        return answers, cell

    def _lstm_step(
        self, x: Expr, answer: Expr, cell: Expr, weights: Sequence[Expr | None], options: LstmOptions
    ) -> tuple[Expr, Expr]:
        inner, outer, peepholes, biases = weights[:4], weights[4:8], weights[8:11], weights[11:15]
        projection, projection_bias = weights[15:17]
        norms = [*weights[19:23], None, None, None, None]

        def gate(number: int, cells: Expr, peephole: Expr | None) -> Expr:
            seen = self.bb.emit(relax.op.multiply(cells, peephole)) if peephole is not None else None
            total = self._sum(self._product(x, inner[number]), self._product(answer, outer[number]), seen)
            if norms[number] is not None:
                total = self.bb.emit(relax.op.multiply(self._normalised(total), norms[number]))
            return self._sum(total, biases[number])

        def sigmoid(value: Expr) -> Expr:
            return self.bb.emit(relax.op.sigmoid(value))

        forget = sigmoid(gate(1, cell, peepholes[1]))
        if inner[0] is None:
            add = self.bb.emit(relax.op.subtract(const(np.ones((), np.float32)), forget))
        else:
            add = sigmoid(gate(0, cell, peepholes[0]))
        new = self._activation(gate(2, cell, None), options.activation)
        kept = self.bb.emit(relax.op.multiply(forget, cell))
        cell = self._limited(self._sum(kept, self.bb.emit(relax.op.multiply(add, new))), options.cell)
        shown = self._activation(cell, options.activation)
        answer = self.bb.emit(relax.op.multiply(sigmoid(gate(3, cell, peepholes[2])), shown))
        if projection is not None:
            answer = self._sum(self._product(answer, projection), projection_bias)
            answer = self._limited(answer, options.projection)
        return answer, cell

    def _limited(self, value: Expr, limit: float) -> Expr:
        return self.bb.emit(relax.op.clip(value, -limit, limit)) if limit > 0 else value

    def _normalised(self, value: Expr) -> Expr:
        mean = self.bb.emit(relax.op.mean(value, -1, keepdims=True))
        apart = self.bb.emit(relax.op.subtract(value, mean))
        variance = self.bb.emit(relax.op.mean(self.bb.emit(relax.op.multiply(apart, apart)), -1, keepdims=True))
        deviation = self.bb.emit(
            relax.op.sqrt(self.bb.emit(relax.op.add(variance, const(np.array(_NORMAL, np.float32)))))
        )
        return self.bb.emit(relax.op.divide(apart, deviation))


def _options(op: Any, table: str) -> LstmOptions:
    return LstmOptions(*(option(op, table, name) for name in ("FusedActivationFunction", "CellClip", "ProjClip")))
