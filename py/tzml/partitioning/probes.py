"""Networks that show what a machine takes for going into the TEE, and how that follows from their times.

Each is a network of random weights with much of one thing: nothing but a switch between the worlds, bytes that
cross, weights that are loaded, or arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tzml.partitioning.profile import MachineCosts, Unit

WIDE = 1 << 16
"""Numbers that go into the network "wide", and come out of it."""
_DENSE, _DENSE_LAYERS = 1024, 3  # 12 MB of weights
_CHANNELS, _PIXELS, _CONVOLUTIONS = 64, 28, 4  # 116 million multiply-accumulates


@dataclass(frozen=True)
class ProbeTimes:
    """The cost of a run in each world, and of the bytes of weights that the TEE loads during one."""

    ree: float
    tee: float
    loading: float = 0.0
    loaded: int = 0


def probe_networks(folder: Path) -> dict[str, Path]:
    """Write the networks, by name."""
    made = {"switch": _relu(64), "wide": _relu(WIDE), "load": _dense(), "compute": _convolutions()}
    for name, model in made.items():
        onnx.save(model, folder / f"{name}.onnx")
    return {name: folder / f"{name}.onnx" for name in made}


def machine_costs(name: str, unit: Unit, times: Mapping[str, ProbeTimes]) -> MachineCosts:
    """The costs of a machine from those of the networks; differences that noise makes negative count as zero."""
    run, switch = times["switch"].ree, times["switch"].tee
    crossing = times["wide"].tee - switch - (times["wide"].ree - run)
    transfer = max(0.0, crossing / (2 * 4 * WIDE))
    passed = 2 * 4 * _CHANNELS * _PIXELS**2
    ratio = (times["compute"].tee - switch - transfer * passed) / (times["compute"].ree - run)
    return MachineCosts(
        name=name, unit=unit, run=run, switch=switch, transfer=transfer,
        load=times["load"].loading / times["load"].loaded, tee_ratio=max(0.0, ratio),
    )  # fmt: skip


def _relu(count: int) -> onnx.ModelProto:
    return _model([helper.make_node("Relu", ["x"], ["y"])], {}, [1, count], [1, count])


def _dense() -> onnx.ModelProto:
    random = np.random.default_rng(0)
    weights = {f"w{i}": random.standard_normal((_DENSE, _DENSE)) / 32 for i in range(_DENSE_LAYERS)}
    nodes = _chain(lambda i, x, y: [helper.make_node("MatMul", [x, f"w{i}"], [y])], _DENSE_LAYERS)
    return _model(nodes, weights, [1, _DENSE], [1, _DENSE])


def _convolutions() -> onnx.ModelProto:
    random = np.random.default_rng(0)
    shape = (_CHANNELS, _CHANNELS, 3, 3)
    weights = {f"w{i}": random.standard_normal(shape) / 24 for i in range(_CONVOLUTIONS)}
    nodes = _chain(
        lambda i, x, y: [
            helper.make_node("Conv", [x, f"w{i}"], [f"c{i}"], pads=[1, 1, 1, 1]),
            helper.make_node("Relu", [f"c{i}"], [y]),
        ],
        _CONVOLUTIONS,
    )
    size = [1, _CHANNELS, _PIXELS, _PIXELS]
    return _model(nodes, weights, size, size)


def _chain(layer: Callable[[int, str, str], list[onnx.NodeProto]], count: int) -> list[onnx.NodeProto]:
    names = ["x", *(f"v{i}" for i in range(1, count)), "y"]
    return [node for i in range(count) for node in layer(i, names[i], names[i + 1])]


def _model(
    nodes: list[onnx.NodeProto], weights: Mapping[str, np.ndarray], taken: list[int], given: list[int]
) -> onnx.ModelProto:
    tensors = [numpy_helper.from_array(w.astype(np.float32), name) for name, w in weights.items()]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, taken)
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, given)
    graph = helper.make_graph(nodes, "probe", [x], [y], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
