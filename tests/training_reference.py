"""Networks in NumPy, float64, with their gradients, and the same as ONNX files: what training is compared with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

Floats = NDArray[np.float64]


@dataclass
class Layer:
    """A layer with its parameters; `forward` keeps what `backward` needs."""

    parameters: list[Floats] = field(default_factory=list)
    gradients: list[Floats] = field(default_factory=list)

    def forward(self, x: Floats) -> Floats:
        raise NotImplementedError

    def backward(self, g: Floats) -> Floats:
        raise NotImplementedError

    def onnx(self) -> tuple[str, dict[str, Any]]:
        """The operator and its attributes."""
        raise NotImplementedError

    def nodes(self, inputs: list[str], output: str, name: str) -> list[NodeProto]:
        """The nodes, of the value that goes in and the names of the parameters."""
        operator, attributes = self.onnx()
        return [helper.make_node(operator, inputs, [output], name, **attributes)]


class Dense(Layer):
    """x @ weight + bias."""

    def __init__(self, inputs: int, outputs: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        super().__init__([rng.standard_normal((inputs, outputs)) / inputs**0.5, rng.standard_normal(outputs) / 8])

    def forward(self, x: Floats) -> Floats:
        self.x = x
        return x @ self.parameters[0] + self.parameters[1]

    def backward(self, g: Floats) -> Floats:
        self.gradients = [self.x.T @ g, g.sum(0)]
        return g @ self.parameters[0].T

    def onnx(self) -> tuple[str, dict[str, Any]]:
        return "Gemm", {}


class Conv(Layer):
    """A convolution of images [N][C][H][W]."""

    def __init__(self, inputs: int, outputs: int, kernel: int, seed: int, stride: int = 1, pad: int = 0) -> None:
        rng = np.random.default_rng(seed)
        shape = (outputs, inputs, kernel, kernel)
        weight = rng.standard_normal(shape) / (inputs * kernel * kernel) ** 0.5
        super().__init__([weight, rng.standard_normal(outputs) / 8])
        self.stride, self.pad = stride, pad

    def forward(self, x: Floats) -> Floats:
        self.x = np.pad(x, ((0, 0), (0, 0), (self.pad, self.pad), (self.pad, self.pad)))
        weight, bias = self.parameters
        windows = sliding_window_view(self.x, weight.shape[2:], (2, 3))[:, :, :: self.stride, :: self.stride]
        self.windows: Floats = windows
        result: Floats = np.einsum("ncyxij,ocij->noyx", windows, weight) + bias[:, None, None]
        return result

    def backward(self, g: Floats) -> Floats:
        weight = self.parameters[0]
        self.gradients = [np.einsum("ncyxij,noyx->ocij", self.windows, g), g.sum((0, 2, 3))]
        back = np.zeros_like(self.x)
        for i, j in np.ndindex(weight.shape[2:]):
            rows, columns = (
                slice(at, at + self.stride * n, self.stride) for at, n in zip((i, j), g.shape[2:], strict=True)
            )
            back[:, :, rows, columns] += np.einsum("noyx,oc->ncyx", g, weight[:, :, i, j])
        end = None if not self.pad else -self.pad
        return back[:, :, self.pad : end, self.pad : end]

    def onnx(self) -> tuple[str, dict[str, Any]]:
        return "Conv", {"strides": [self.stride] * 2, "pads": [self.pad] * 4}


class Pool(Layer):
    """A maximum or mean over windows; padding counts as the smallest number, and does not count in a mean."""

    def __init__(self, kind: str, size: int, stride: int, pad: int = 0) -> None:
        super().__init__()
        self.kind, self.size, self.stride, self.pad = kind, size, stride, pad

    def forward(self, x: Floats) -> Floats:
        filling = -np.inf if self.kind == "max" else 0.0
        widths = ((0, 0), (0, 0), (self.pad, self.pad), (self.pad, self.pad))
        self.x = np.pad(x, widths, constant_values=filling)
        windows = sliding_window_view(self.x, (self.size, self.size), (2, 3))[:, :, :: self.stride, :: self.stride]
        flat = windows.reshape(*windows.shape[:4], -1)
        self.best = flat.argmax(-1)
        result: Floats = flat.max(-1) if self.kind == "max" else flat.mean(-1)
        return result

    def backward(self, g: Floats) -> Floats:
        back = np.zeros_like(self.x)
        n, c, y, x = np.indices(g.shape)
        for tap in range(self.size**2):
            share = self.best == tap if self.kind == "max" else 1 / self.size**2
            i, j = divmod(tap, self.size)
            np.add.at(back, (n, c, y * self.stride + i, x * self.stride + j), g * share)
        end = None if not self.pad else -self.pad
        return back[:, :, self.pad : end, self.pad : end]

    def onnx(self) -> tuple[str, dict[str, Any]]:
        about = {"kernel_shape": [self.size] * 2, "strides": [self.stride] * 2, "pads": [self.pad] * 4}
        return ("MaxPool" if self.kind == "max" else "AveragePool"), about


class Flatten(Layer):
    """[N][…] to [N][all of it]."""

    def forward(self, x: Floats) -> Floats:
        self.shape = x.shape
        return x.reshape(len(x), -1)

    def backward(self, g: Floats) -> Floats:
        return g.reshape(self.shape)

    def onnx(self) -> tuple[str, dict[str, Any]]:
        return "Flatten", {}


class Relu(Layer):
    """The larger of x and 0; its gradient is 0 at 0."""

    def forward(self, x: Floats) -> Floats:
        self.x = x
        return np.maximum(x, 0)

    def backward(self, g: Floats) -> Floats:
        return g * (self.x > 0)

    def onnx(self) -> tuple[str, dict[str, Any]]:
        return "Relu", {}


class GroupedConv(Conv):
    """A convolution whose channels go in groups."""

    def __init__(self, channels: int, groups: int, kernel: int, seed: int, pad: int) -> None:
        super().__init__(channels, channels, kernel, seed, pad=pad)
        self.groups, self.size = groups, channels // groups
        self.parameters[0] = self.parameters[0][:, : self.size]

    def _whole(self) -> list[Floats]:
        """The parameters of the convolution without groups that does the same."""
        own, bias = self.parameters
        weight = np.zeros((len(own), len(own), *own.shape[2:]))
        for channel in range(len(own)):
            first = channel // self.size * self.size
            weight[channel, first : first + self.size] = own[channel]
        return [weight, bias]

    def forward(self, x: Floats) -> Floats:
        own, self.parameters = self.parameters, self._whole()
        result = super().forward(x)
        self.parameters = own
        return result

    def backward(self, g: Floats) -> Floats:
        own, self.parameters = self.parameters, self._whole()
        back = super().backward(g)
        self.parameters = own
        weight, bias = self.gradients
        starts = [channel // self.size * self.size for channel in range(len(own[0]))]
        self.gradients = [np.stack([weight[o, s : s + self.size] for o, s in enumerate(starts)]), bias]
        return back

    def onnx(self) -> tuple[str, dict[str, Any]]:
        operator, attributes = super().onnx()
        return operator, attributes | {"group": self.groups}


class BatchNorm(Layer):
    """Each channel by mean and variance of the examples, which the running ones follow; else by those."""

    def __init__(self, channels: int, seed: int, momentum: float = 0.1, epsilon: float = 1e-5) -> None:
        rng = np.random.default_rng(seed)
        super().__init__([rng.uniform(0.5, 1.5, channels), rng.standard_normal(channels) / 4])
        self.mean, self.variance = rng.standard_normal(channels) / 4, rng.uniform(0.5, 1.5, channels)
        self.momentum, self.epsilon, self.trains = momentum, epsilon, True

    def forward(self, x: Floats) -> Floats:
        self.axes = tuple(i for i in range(x.ndim) if i != 1)
        self.count = x.size / x.shape[1]
        mean, variance = self.mean, self.variance
        if self.trains:
            mean, variance = x.mean(self.axes), x.var(self.axes)
            self.mean = self.mean + self.momentum * (mean - self.mean)
            unbiased = variance * self.count / (self.count - 1)
            self.variance = self.variance + self.momentum * (unbiased - self.variance)
        self.scale = 1 / np.sqrt(variance + self.epsilon)
        self.centred = (x - self._along(mean, x)) * self._along(self.scale, x)
        result: Floats = self.centred * self._along(self.parameters[0], x) + self._along(self.parameters[1], x)
        return result

    def backward(self, g: Floats) -> Floats:
        gamma = self._along(self.parameters[0] * self.scale, g)
        self.gradients = [(g * self.centred).sum(self.axes), g.sum(self.axes)]
        product, total = (self._along(numbers / self.count, g) for numbers in self.gradients)
        result: Floats = gamma * (g - total - self.centred * product)
        return result

    @staticmethod
    def _along(numbers: Floats, like: Floats) -> Floats:
        return numbers.reshape([1, -1] + [1] * (like.ndim - 2))

    def nodes(self, inputs: list[str], output: str, name: str) -> list[NodeProto]:
        running = {f"{name}_mean": self.mean, f"{name}_variance": self.variance}
        constants = [
            helper.make_node("Constant", [], [key], value=numpy_helper.from_array(array.astype(np.float32), key))
            for key, array in running.items()
        ]
        return [*constants, helper.make_node("BatchNormalization", [*inputs, *running], [output], name)]


class Nodes(Layer):
    """ONNX nodes that do what `function` does, of a row of numbers for each example; by central differences."""

    def __init__(self, function: Callable[[Floats], Floats], make: Callable[[str, str], list[NodeProto]]) -> None:
        super().__init__()
        self.function, self.make = function, make

    def forward(self, x: Floats) -> Floats:
        self.x = x
        return self.function(x)

    def backward(self, g: Floats) -> Floats:
        step, back = 1e-5, np.zeros_like(self.x)
        for i in range(self.x.shape[1]):
            moved = np.zeros_like(self.x)
            moved[:, i] = step
            back[:, i] = (g * (self.function(self.x + moved) - self.function(self.x - moved))).sum(1) / (2 * step)
        return back

    def nodes(self, inputs: list[str], output: str, name: str) -> list[NodeProto]:
        return self.make(inputs[0], output)


class Smooth(Layer):
    """An operator of each number, whose gradient is taken by central differences: 1e-9 is what they miss."""

    def __init__(self, operator: str, function: Any, **attributes: Any) -> None:
        super().__init__()
        self.operator, self.function, self.attributes = operator, function, attributes

    def forward(self, x: Floats) -> Floats:
        self.x = x
        result: Floats = self.function(x)
        return result

    def backward(self, g: Floats) -> Floats:
        step = 1e-5
        difference: Floats = (self.function(self.x + step) - self.function(self.x - step)) / (2 * step)
        return g * difference

    def onnx(self) -> tuple[str, dict[str, Any]]:
        return self.operator, self.attributes


class Network:
    """Layers one after another."""

    def __init__(self, shape: Sequence[int], layers: Sequence[Layer]) -> None:
        self.shape, self.layers = tuple(shape), list(layers)

    @property
    def trained(self) -> list[Layer]:
        """The layers with parameters."""
        return [layer for layer in self.layers if layer.parameters]

    def forward(self, x: NDArray[Any]) -> Floats:
        value = x.astype(np.float64)
        for layer in self.layers:
            value = layer.forward(value)
        return value

    def gradients(self, x: NDArray[Any], labels: NDArray[Any]) -> tuple[float, int, list[Floats]]:
        """The sum of the cross-entropies, the right answers, and the gradient of the sum by each parameter."""
        scores = self.forward(x)
        powers = np.exp(scores - scores.max(1, keepdims=True))
        shares = powers / powers.sum(1, keepdims=True)
        rows = np.arange(len(labels))
        loss = -np.log(shares[rows, labels]).sum()
        self.backward(shares - np.eye(scores.shape[1])[labels])
        right = int((scores.argmax(1) == labels).sum())
        return float(loss), right, [g for layer in self.trained for g in layer.gradients]

    def backward(self, g: Floats) -> None:
        for layer in reversed(self.layers):
            g = layer.backward(g)

    def onnx(self, *after: NodeProto, result: str = "scores", batch: int = 1) -> bytes:
        """An ONNX file of it, from `x` to `result`; `after` are nodes behind `scores`."""
        nodes, constants, last = [], [], "x"
        for number, layer in enumerate(self.layers):
            names = [f"parameter_{number}_{i}" for i in range(len(layer.parameters))]
            constants += [
                numpy_helper.from_array(array.astype(np.float32), name)
                for name, array in zip(names, layer.parameters, strict=True)
            ]
            output = "scores" if layer is self.layers[-1] else f"value_{number}"
            nodes += layer.nodes([last, *names], output, f"layer{number}")
            last = output
        graph = helper.make_graph(
            [*nodes, *after],
            "test",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, (batch, *self.shape))],
            [helper.make_tensor_value_info(result, TensorProto.FLOAT, [None, None])],
            constants,
        )
        opset = helper.make_opsetid("", 20)
        return bytes(helper.make_model(graph, opset_imports=[opset], ir_version=10).SerializeToString())
