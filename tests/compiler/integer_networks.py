"""Small quantized networks as ONNX files: each layer between DequantizeLinear and QuantizeLinear."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

TYPES = {"int8": TensorProto.INT8, "uint8": TensorProto.UINT8}


@dataclass
class IntegerNetwork:
    """A network in the making, from `x`, integers of type `kind`; all values have the same steps."""

    shape: tuple[int, ...]
    kind: str = "int8"
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: dict[str, Any] = field(default_factory=dict)
    last: str = "x"

    def __post_init__(self) -> None:
        self.random = np.random.default_rng(1)
        self.constants |= {"s": np.float32(0.05), "z": np.asarray(128 if self.kind == "uint8" else -3, self.kind)}

    def layer(self, operator: str, *weights: NDArray[Any], relu: bool = False, **attributes: Any) -> IntegerNetwork:
        """Add a layer; weights are quantized, with a scale for each output, and a bias comes with them."""
        name = f"{operator}{len(self.nodes)}"
        inputs = [f"{name}_x", *(self._quantized(name, w) for w in weights)]
        if weights:
            inputs.append(self._bias(name, len(weights[0])))
        if operator == "Gemm":
            attributes |= {"transB": 1}
        self.nodes += [
            helper.make_node("DequantizeLinear", [self.last, "s", "z"], [inputs[0]]),
            helper.make_node(operator, inputs, [f"{name}_y"], **attributes),
            *([helper.make_node("Relu", [f"{name}_y"], [f"{name}_r"])] if relu else []),
            helper.make_node("QuantizeLinear", [f"{name}_r" if relu else f"{name}_y", "s", "z"], [name]),
        ]
        self.last = name
        return self

    def flatten(self) -> IntegerNetwork:
        self.nodes.append(helper.make_node("Flatten", [self.last], ["flat"]))
        self.last = "flat"
        return self

    def model(self) -> bytes:
        """The ONNX file."""
        graph = helper.make_graph(
            self.nodes,
            "integers",
            [helper.make_tensor_value_info("x", TYPES[self.kind], self.shape)],
            [helper.make_tensor_value_info(self.last, TYPES[self.kind], None)],
            [numpy_helper.from_array(np.asarray(value), name) for name, value in self.constants.items()],
        )
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
        return bytes(onnx.shape_inference.infer_shapes(made, strict_mode=True).SerializeToString())

    def sample(self) -> NDArray[Any]:
        """An input."""
        limits = np.iinfo(self.kind)
        return self.random.integers(limits.min, limits.max, self.shape, self.kind, endpoint=True)

    def _quantized(self, name: str, integers: NDArray[Any]) -> str:
        outputs, depth = len(integers), integers[0].size
        scales = (1 + np.arange(outputs) / outputs) / (120 * np.sqrt(depth))
        zeros = np.zeros(outputs, np.int8)
        return self._dequantized(f"{name}_w", integers, scales.astype(np.float32), zeros)

    def _bias(self, name: str, outputs: int) -> str:
        scales = self.constants[f"{name}_w_s"] * self.constants["s"]
        integers = self.random.integers(-2000, 2000, outputs).astype(np.int32)
        return self._dequantized(f"{name}_b", integers, scales, np.zeros(outputs, np.int32))

    def _dequantized(self, name: str, *constants: NDArray[Any]) -> str:
        names = [f"{name}_{suffix}" for suffix in "qsz"]
        self.constants |= zip(names, constants, strict=True)
        self.nodes.append(helper.make_node("DequantizeLinear", names, [name], axis=0))
        return name


def integers(*shape: int) -> NDArray[np.int8]:
    """Weights."""
    return np.random.default_rng(0).integers(-127, 128, shape).astype(np.int8)
