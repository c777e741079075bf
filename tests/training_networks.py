"""Networks that are trained in tests, and examples for them."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, helper
from training_reference import Conv, Dense, Flatten, Floats, Layer, Network, Nodes, Pool, Relu

MICRO_BATCH = 4
CLASSES = 5


def convolutions() -> Network:
    """Convolutions with and without stride and padding, both poolings, two dense layers."""
    return Network(
        (2, 11, 9),
        [
            Conv(2, 4, 3, seed=1, pad=1), Relu(), Pool("max", 2, 2),
            Conv(4, 6, 3, seed=2, stride=2, pad=1), Relu(), Pool("avg", 2, 1),
            Flatten(), Dense(12, 8, seed=3), Relu(), Dense(8, CLASSES, seed=4),
        ],
    )  # fmt: skip


erf = np.vectorize(math.erf)


def relu6() -> Layer:
    def make(given: str, output: str) -> list[NodeProto]:
        limits = [
            helper.make_node("Constant", [], [name], value_float=n) for name, n in (("low", 0.0), ("high", 6.0))
        ]
        return [*limits, helper.make_node("Clip", [given, "low", "high"], [output])]

    return Nodes(lambda x: np.clip(x, 0, 6), make)


def moved() -> Layer:
    """Softmax, mean, quotient and root of 16 numbers, which are moved and put together to 32."""

    def function(x: Floats) -> Floats:
        r = x.reshape(-1, 4, 4)
        t = r.transpose(0, 2, 1)
        powers = np.exp(t)
        quotient = np.exp(-t) / np.sqrt(r * r + 1)
        whole = np.concatenate([powers / powers.sum(2, keepdims=True), quotient - r.mean(2, keepdims=True)], 2)
        return whole.reshape(-1, 32)

    def make(given: str, output: str) -> list[NodeProto]:
        node = helper.make_node
        return [
            node("Constant", [], ["square"], value_ints=[1, 4, 4]),
            node("Constant", [], ["row"], value_ints=[1, 32]),
            node("Constant", [], ["axis"], value_ints=[2]), node("Constant", [], ["one"], value_float=1.0),
            node("Reshape", [given, "square"], ["r"]), node("Transpose", ["r"], ["t"], perm=[0, 2, 1]),
            node("Softmax", ["t"], ["s"], axis=2), node("Neg", ["t"], ["n"]), node("Exp", ["n"], ["e"]),
            node("Mul", ["r", "r"], ["rr"]), node("Add", ["rr", "one"], ["rr1"]), node("Sqrt", ["rr1"], ["root"]),
            node("Div", ["e", "root"], ["q"]), node("ReduceMean", ["r", "axis"], ["m"], keepdims=1),
            node("Sub", ["q", "m"], ["d"]), node("Concat", ["s", "d"], ["c"], axis=2),
            node("Reshape", ["c", "row"], [output]),
        ]  # fmt: skip

    return Nodes(function, make)


def global_pool() -> Network:
    """The mean of an image, as networks have it before their last layer."""

    def make(given: str, output: str) -> list[NodeProto]:
        return [helper.make_node("GlobalAveragePool", [given], [output])]

    mean = Pool("avg", 5, 1)
    mean.nodes = lambda inputs, output, name: make(inputs[0], output)  # type: ignore[method-assign]
    return Network((2, 5, 5), [Conv(2, 6, 3, 12, pad=1), Relu(), mean, Flatten(), Dense(6, CLASSES, seed=13)])


def dense(*between: Layer) -> Network:
    """Dense layers with something between them."""
    return Network((7,), [Dense(7, 16, seed=5), *between, Dense(16, CLASSES, seed=6)])


def examples(network: Network, count: int, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((count, *network.shape)).astype(np.float32)
    return x, rng.integers(0, CLASSES, count).astype(np.int32)


def lenet(seed: int) -> Network:
    """The network of models/digits with random numbers."""
    first = 10 * seed
    return Network(
        (1, 28, 28),
        [
            Conv(1, 6, 5, first, pad=2), Relu(), Pool("max", 2, 2),
            Conv(6, 16, 5, first + 1), Relu(), Pool("max", 2, 2), Flatten(),
            Dense(400, 120, first + 2), Relu(), Dense(120, 84, first + 3), Relu(), Dense(84, 10, first + 4),
        ],
    )  # fmt: skip
