"""What a bundle looks like does not depend on a model's numbers: code, plan and sizes follow from its structure."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from tzml.bundle import Bundle
from tzml.compiler import CompileOptions, compile_model, compile_structure, model_structure
from tzml.compiler.ir.errors import CompileError
from tzml.compiler.structure import Structure
from tzml.signing import SignedLibrary

OPTIONS = CompileOptions("qemu")
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)

Array = NDArray[Any]
Fill = Callable[[str, tuple[int, ...]], Array]
"""From a constant's name and shape to numbers for it."""


def _random(seed: int) -> Fill:
    generator = np.random.default_rng(seed)
    return lambda _, shape: generator.uniform(0.1, 3, shape)


def _dead(_: str, shape: tuple[int, ...]) -> Array:
    """Every other number is zero; so is every other channel of a bias or scale."""
    return np.arange(math.prod(shape)).reshape(shape) % 2.0


NUMBERS: dict[str, Fill] = {
    "random": _random(1),
    "other random": _random(2),
    "zeros": lambda _, shape: np.zeros(shape),
    "ones": lambda _, shape: np.ones(shape),
    "powers of two": lambda _, shape: 2.0 ** (np.arange(math.prod(shape)).reshape(shape) % 7 - 3),
    "dead channels": _dead,
    "not a number": lambda _, shape: np.full(shape, np.nan),
    "infinite": lambda _, shape: np.full(shape, -np.inf),
}


class Net:
    """An ONNX network in the making, from `x` of `shape`; its constants come from `fill`."""

    def __init__(self, shape: tuple[int, ...], fill: Fill) -> None:
        self.shape, self.fill, self.last = shape, fill, "x"
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def number(self, *shape: int) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(self.fill(name, shape), np.float32), name))
        return name

    def structure(self, values: Any) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def add(self, operator: str, *operands: str, outputs: tuple[str, ...] = (), **attributes: Any) -> Net:
        made = outputs or (f"v{len(self.nodes)}",)
        self.nodes.append(helper.make_node(operator, [self.last, *operands], made, **attributes))
        self.last = made[-1]
        return self

    def model(self) -> bytes:
        graph = helper.make_graph(
            self.nodes, "test",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, self.shape)],
            [helper.make_tensor_value_info(self.last, TensorProto.FLOAT, None)],
            self.constants,
        )  # fmt: skip
        opset = helper.make_opsetid("", 20)
        made = helper.make_model(graph, opset_imports=[opset], ir_version=10)
        return bytes(onnx.shape_inference.infer_shapes(made, strict_mode=True).SerializeToString())


def image_network(fill: Fill) -> bytes:
    """Convolutions of three kinds, normalisations, limits, activations with parameters, pooling, a dense layer."""
    net = Net((1, 3, 12, 12), fill)
    attribute = float(np.ravel(fill("attribute", (1,)))[0])
    net.add("Mul", net.number()).add("Sub", net.number(1, 3, 1, 1))
    net.add("Conv", net.number(16, 3, 3, 3), net.number(16), pads=[1, 1, 1, 1])
    net.add("BatchNormalization", *(net.number(16) for _ in range(4)), epsilon=abs(attribute) + 1e-6)
    net.add("Clip", net.number(), net.number())
    net.add("Conv", net.number(16, 1, 3, 3), group=16, pads=[1, 1, 1, 1]).add("LeakyRelu", alpha=attribute)
    net.add("Conv", net.number(16, 16, 1, 1)).add("PRelu", net.number(16, 1, 1)).add("Gelu")
    net.add("BatchNormalization", *(net.number(16) for _ in range(4)))
    net.add("MaxPool", kernel_shape=[2, 2], strides=[2, 2]).add("Add", net.number()).add("Relu")
    net.add("Flatten").add("Gemm", net.number(576, 8), net.number(8)).add("Div", net.number())
    net.add("Max", net.number()).add("Min", net.number()).add("Pow", net.number()).add("Softmax")
    return net.model()


def sequence_network(fill: Fill) -> bytes:
    """Recurrent layers, layer normalisation, products and scalars."""
    net = Net((4, 1, 8), fill)
    attribute = float(np.ravel(fill("attribute", (1,)))[0])
    net.add("LSTM", net.number(1, 32, 8), net.number(1, 32, 8), net.number(1, 64), hidden_size=8)
    net.add("Squeeze", net.structure(np.array([1], np.int64)))
    net.add("LayerNormalization", net.number(8), net.number(8), epsilon=abs(attribute) + 1e-6)
    net.add("GRU", net.number(1, 24, 8), net.number(1, 24, 8), net.number(1, 48), hidden_size=8)
    net.add("Squeeze", net.structure(np.array([1], np.int64)))
    net.add("Add", net.number(1, 8)).add("MatMul", net.number(8, 8)).add("Mul", net.number(1)).add("Tanh")
    return net.model()


def integer_network(fill: Fill) -> bytes:
    """Convolution, depthwise convolution, pooling, an addition and a dense layer, quantized.

    Numbers are taken as they may be there: integers of int8, positive finite scales, zero points.
    """

    net = Net((1, 4, 8, 8), fill)
    steps = "", ""

    def scale(*shape: int) -> str:
        given = np.abs(np.nan_to_num(fill("scale", shape), nan=1, posinf=1, neginf=1)) / 64 + 2.0**-9
        return net.structure(given.astype(np.float32))

    def integers(kind: str, *shape: int) -> str:
        given = np.nan_to_num(fill("integers", shape), nan=-127, posinf=1, neginf=-1) * 32
        return net.structure(np.clip(np.rint(given), -127, 127).astype(kind))

    def dequantized(kind: str, shape: tuple[int, ...], channels: int) -> str:
        scales = scale(channels)
        zero = net.structure(np.zeros(channels, kind))
        name = f"w{len(net.nodes)}"
        net.nodes.append(
            helper.make_node("DequantizeLinear", [integers(kind, *shape), scales, zero], [name], axis=0)
        )
        return name

    def quantize() -> None:
        nonlocal steps
        steps = scale(), integers("int8")
        net.add("QuantizeLinear", *steps).add("DequantizeLinear", *steps)

    quantize()
    net.add("Conv", dequantized("int8", (16, 4, 3, 3), 16), dequantized("int32", (16,), 16), pads=[1, 1, 1, 1])
    net.add("Relu")
    quantize()
    first = net.last
    net.add("Conv", dequantized("int8", (16, 1, 3, 3), 16), dequantized("int32", (16,), 16), group=16,
            pads=[1, 1, 1, 1])  # fmt: skip
    quantize()
    net.add("Add", first)
    quantize()
    net.add("MaxPool", kernel_shape=[2, 2], strides=[2, 2]).add("QuantizeLinear", *steps)
    net.add("DequantizeLinear", *steps).add("GlobalAveragePool")
    quantize()
    net.add("Flatten")
    net.add("Gemm", dequantized("int8", (6, 16), 6), dequantized("int32", (6,), 6), transB=1)
    quantize()
    return net.model()


def seen(bundle: Bundle) -> dict[str, Any]:
    """All that whoever has no key sees of a sealed bundle or may sign, and the plan."""
    return {
        "library": bundle.libraries[0].ree,
        "programs": bundle.programs,
        "memories": bundle.memories,
        "sizes": [(section.type, len(section.content)) for section in bundle.sections()],
    }


@pytest.mark.parametrize("network", [image_network, sequence_network, integer_network])
def test_models_that_differ_only_in_numbers_have_equal_code_plans_and_sizes(
    tmp_path: Path, network: Callable[[Fill], bytes]
) -> None:
    wanted: dict[str, Any] = {}
    models = set()
    for name, fill in NUMBERS.items():
        data = network(fill)
        models.add(data)
        (tmp_path / "model.onnx").write_bytes(data)
        found = seen(compile_model(tmp_path / "model.onnx", OPTIONS))
        found["structure"] = model_structure(tmp_path / "model.onnx", OPTIONS).write()
        wanted = wanted or found
        for what, value in found.items():
            assert value == wanted[what], f"{what} of the model with {name}"
    assert len(models) == len(NUMBERS)

    # who knows the structure only makes the same library, and the owner takes no other
    (tmp_path / "model.graph.json").write_text(wanted["structure"])
    signed = compile_structure(tmp_path / "model.graph.json", KEY)
    (tmp_path / "model.kernels").write_bytes(signed)
    kernels = SignedLibrary.read(tmp_path / "model.kernels")
    bundle = compile_model(tmp_path / "model.onnx", replace(OPTIONS, kernels=kernels))
    assert bundle.libraries[0].tee == signed
    assert seen(bundle)["programs"] == wanted["programs"]
    other = replace(kernels, elf=kernels.elf[:-1] + bytes([kernels.elf[-1] ^ 1]))
    with pytest.raises(CompileError, match="the signed kernels are not those of this model"):
        compile_model(tmp_path / "model.onnx", replace(OPTIONS, kernels=other))


CODE = {
    "an operator that calls code": ("calls", {"op": "relax.call_pure_packed", "args": []}),
    "an operator of another dialect": ("calls", {"op": "tirx.call_extern", "args": []}),
    "an unknown operator": ("calls", {"op": "relax.backdoor", "args": []}),
    "attributes of another kind": (
        "calls", {"op": "relax.nn.softmax", "args": [{"value": 0}], "kind": "tirx.IntImm", "attrs": {"value": 1}},
    ),
    "an operand that is not there": ("calls", {"op": "relax.exp", "args": [{"value": 99}]}),
    "an operand of no kind": ("calls", {"op": "relax.exp", "args": [{"code": "mov x0, #0"}]}),
    "a constant that is too large": ("constants", {"dtype": "float32", "shape": [1 << 50], "filled": 0}),
    "a dtype that is none": ("constants", {"dtype": "O", "shape": [1], "filled": 0}),
}  # fmt: skip


@pytest.mark.parametrize("what", CODE)
def test_a_signer_takes_no_code(tmp_path: Path, what: str) -> None:
    field, entry = CODE[what]
    path = tmp_path / "model.graph.json"
    (tmp_path / "model.onnx").write_bytes(Net((1, 4), NUMBERS["ones"]).add("Exp").add("Tanh").model())
    about = json.loads(model_structure(tmp_path / "model.onnx", OPTIONS).write())
    about[field].append(entry)
    path.write_text(json.dumps(about))
    with pytest.raises(CompileError, match="is not the structure of a model"):
        Structure.read(path)
