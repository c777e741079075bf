"""A network in PyTorch, for attacks that follow gradients of its inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional
from tvm import relax

from tzml.compiler.ir.errors import CompileError
from tzml.compiler.ir.imported import Imported
from tzml.compiler.ir.rewrite import bindings_of, constant, ints, is_tensor, op_name, shape_of, sliding_of
from tzml.compiler.passes.training.dropout import NAME as DROPOUT
from tzml.compiler.passes.training.parameters import find_parameters, trained_layers
from tzml.errors import TzmlError

Array = NDArray[Any]
Tensor = Any
_TOLERANCE = 1e-3
_CHECKED = 8


class TorchNetwork(torch.nn.Module):
    """A simplified model of one input, for one example.

    `values` are its last parameters, as training has changed them; the others are the file's own. Raises
    CompileError for operators that it does not know.
    """

    def __init__(self, imported: Imported, values: Sequence[Array] = ()) -> None:
        super().__init__()
        main = imported.module["main"]
        self.bindings, self._result = bindings_of(main), main.body.body
        self._input = main.params[0]
        found = find_parameters(trained_layers(imported, ()))
        own = [parameter.value for parameter in found]
        own[len(own) - len(values) :] = values
        self.values = tuple(
            torch.tensor(np.asarray(value, np.float32).reshape(parameter.value.shape))
            for parameter, value in zip(found, own, strict=True)
        )
        self._uses = {use: index for index, parameter in enumerate(found) for use in parameter.uses}
        self._constants = {
            (binding.var, position): torch.tensor(value)
            for binding in self.bindings
            if isinstance(binding.value, relax.Call)
            for position, value in enumerate(map(constant, binding.value.args))
            if value is not None and (binding.var, position) not in self._uses
        }
        self._softmax = self._last_softmax()
        for binding in self.bindings:
            name = op_name(binding.value) if isinstance(binding.value, relax.Call) else ""
            if name and name not in _OPERATORS:
                raise CompileError(
                    f"attacks by gradients do not know the operator {name.removeprefix('relax.')} of this model",
                    "leave out --epsilon",
                )

    def logits(self, x: Tensor) -> Tensor:
        """What the model gives for one example, a row; without a softmax at its end."""
        found: dict[Any, Tensor] = {self._input: x}
        for binding in self.bindings:
            if binding.var == self._softmax:
                return found[binding.value.args[0]]
            value = binding.value
            is_call = isinstance(value, relax.Call)
            found[binding.var] = self._call(binding.var, value, found) if is_call else self._read(value, found)
        return self._read(self._result, found)

    def forward(self, x: Tensor) -> Tensor:
        """The same for examples, stacked along the first axis."""
        return torch.vmap(lambda one: self.logits(one[None])[0])(x)

    def check(self, inputs: Array, scores: Array) -> None:
        """Raise TzmlError unless the network gives the scores that the compiled model gives."""
        with torch.no_grad():
            found = self(torch.tensor(inputs[:_CHECKED]))
        found = (found.softmax(-1) if self._softmax is not None else found).numpy()
        expected = scores[:_CHECKED]
        if np.abs(found - expected).max() > _TOLERANCE * max(1.0, float(np.abs(expected).max())):
            raise TzmlError(
                f"PyTorch computes something else than the compiled model: {found.ravel()[:3]}, not "
                f"{expected.ravel()[:3]}",
                "report it as a bug of tzml, and leave out --epsilon",
            )

    def _last_softmax(self) -> Any:
        last = self.bindings[-1]
        is_result = isinstance(self._result, relax.Var) and last.var == self._result
        return last.var if is_result and op_name(last.value) == "relax.nn.softmax" else None

    def _call(self, variable: Any, call: Any, found: Mapping[Any, Tensor]) -> Tensor:
        operands: list[Any] = []
        for position, argument in enumerate(call.args):
            if (variable, position) in self._uses:
                operands.append(self.values[self._uses[variable, position]])
            elif (variable, position) in self._constants:
                operands.append(self._constants[variable, position])
            elif is_tensor(argument) or isinstance(argument, (relax.Tuple, relax.Var)):
                operands.append(self._read(argument, found))
        return _OPERATORS[op_name(call)](call, *operands)

    def _read(self, expression: Any, found: Mapping[Any, Tensor]) -> Any:
        if isinstance(expression, relax.Tuple):
            return [self._read(field, found) for field in expression.fields]
        if isinstance(expression, relax.TupleGetItem):
            return self._read(expression.tuple_value, found)[expression.index]
        value = constant(expression)
        return found[expression] if value is None else torch.tensor(value)


def _sliding(call: Any, x: Tensor, fill: float, layout: str) -> tuple[Tensor, dict[str, Any]]:
    """An image of channels first with its padding, and how the window slides over it."""
    strides, dilation, (top, left, bottom, right) = sliding_of(call)
    x = x.permute([layout.index(axis) for axis in "NCHW"])
    if top or left or bottom or right:
        x = functional.pad(x, (left, right, top, bottom), value=fill)
    return x, {"stride": strides, "dilation": dilation}


def _back(x: Tensor, layout: str) -> Tensor:
    return x.permute(["NCHW".index(axis) for axis in layout])


def _convolution(call: Any, x: Tensor, weights: Tensor) -> Tensor:
    layout = str(call.attrs.data_layout)
    x, how = _sliding(call, x, 0, layout)
    weights = weights.permute([str(call.attrs.kernel_layout).index(axis) for axis in "OIHW"])
    return _back(functional.conv2d(x, weights, groups=int(call.attrs.groups), **how), layout)


def _max_pool(call: Any, x: Tensor) -> Tensor:
    layout = str(call.attrs.layout)
    x, how = _sliding(call, x, -torch.inf, layout)
    found = functional.max_pool2d(x, ints(call.attrs.pool_size), ceil_mode=bool(call.attrs.ceil_mode), **how)
    return _back(found, layout)


def _average_pool(call: Any, x: Tensor) -> Tensor:
    layout, window = str(call.attrs.layout), ints(call.attrs.pool_size)

    def pooled(image: Tensor) -> Tensor:
        image, how = _sliding(call, image, 0, layout)
        found = functional.avg_pool2d(image, window, how["stride"], ceil_mode=bool(call.attrs.ceil_mode))
        return _back(found, layout)

    found = pooled(x)
    return found if call.attrs.count_include_pad else found / pooled(torch.ones_like(x))


def _global_pool(call: Any, x: Tensor) -> Tensor:
    layout = str(call.attrs.layout)
    x = x.permute([layout.index(axis) for axis in "NCHW"])
    return _back(functional.adaptive_avg_pool2d(x, ints(call.attrs.output_size)), layout)


def _layer_norm(call: Any, x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    axes = [axis % x.ndim for axis in ints(call.attrs.axes)]
    centred = x - x.mean(axes, keepdim=True)
    found = centred * torch.rsqrt((centred**2).mean(axes, keepdim=True) + float(call.attrs.epsilon))
    found = found * gamma if call.attrs.scale else found
    return found + beta if call.attrs.center else found


def _over(reduce: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def reduced(call: Any, x: Tensor) -> Tensor:
        axes = list(range(x.ndim)) if call.attrs.axis is None else list(ints(call.attrs.axis))
        return reduce(x, axes, keepdim=bool(call.attrs.keepdims))

    return reduced


def _permuted(call: Any, x: Tensor) -> Tensor:
    return x.permute(ints(call.attrs.axes) if call.attrs.axes is not None else tuple(reversed(range(x.ndim))))


def _plain(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    return lambda _, *operands: function(*operands)


_SHAPED = ("expand_dims", "reshape", "squeeze")

_OPERATORS: dict[str, Callable[..., Any]] = {
    **{
        f"relax.{name}": _plain(function)
        for name, function in {
            "abs": torch.abs, "add": torch.add, "divide": torch.divide, "exp": torch.exp, "log": torch.log,
            "matmul": torch.matmul, "maximum": torch.maximum, "minimum": torch.minimum,
            "multiply": torch.multiply, "negative": torch.negative, "nn.gelu": functional.gelu,
            "nn.relu": torch.relu, "nn.silu": functional.silu, "power": torch.pow, "rsqrt": torch.rsqrt,
            "sigmoid": torch.sigmoid, "sqrt": torch.sqrt, "square": torch.square, "subtract": torch.subtract,
            "tanh": torch.tanh,
        }.items()
    },
    **{f"relax.{name}": lambda call, x: x.reshape(shape_of(call)) for name in _SHAPED},
    DROPOUT: lambda _, x: [x, torch.ones_like(x)],
    "relax.clip": lambda call, x: x.clamp(*(float(bound.value) for bound in call.args[1:])),
    "relax.concat": lambda call, fields: torch.cat(fields, int(call.attrs.axis)),
    "relax.mean": _over(torch.mean),
    "relax.nn.adaptive_avg_pool2d": _global_pool,
    "relax.nn.avg_pool2d": _average_pool,
    "relax.nn.conv2d": _convolution,
    "relax.nn.layer_norm": _layer_norm,
    "relax.nn.leakyrelu": lambda call, x: functional.leaky_relu(x, float(call.attrs.alpha)),
    "relax.nn.log_softmax": lambda call, x: x.log_softmax(int(call.attrs.axis)),
    "relax.nn.max_pool2d": _max_pool,
    "relax.nn.softmax": lambda call, x: x.softmax(int(call.attrs.axis)),
    "relax.permute_dims": _permuted,
    "relax.sum": _over(torch.sum),
}  # fmt: skip
