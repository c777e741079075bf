"""Private slices behind a public backbone: a model of which little is secret, and all that is secret is inside.

TEESlice (Zhang et al., "No Privacy Left Outside", S&P 2024) keeps a pretrained backbone outside of the TEE and puts
small slices inside, which alone are trained on private data. Its slices give their results back to the backbone,
under one-time pads that have to be made in the TEE, layer by layer. Here they do not: as in a ladder (Sung et al.,
"LST: Ladder Side-Tuning", NeurIPS 2022), each slice takes what the backbone computes at some layer, and what the
slice before it gives. The backbone so computes the same for everybody. All that is private is one range of layers
at the model's end, which no number leaves but the outputs, and which is trained without going into the backbone.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tzml.compiler.ir.errors import CompileError
from tzml.compiler.passes.layers import SourceLayer

PRIVATE = "slice_1..softmax"
"""The layers of the slices, as `--tee` takes them."""
_TAPS = 3


def default_taps(layers: Sequence[SourceLayer]) -> list[SourceLayer]:
    """The last layer of each of the three smallest sizes that the backbone's images have. Raises CompileError."""
    last = {layer.shape[2:]: layer for layer in layers if len(layer.shape) == 4 and layer.shape[2] > 1}
    if not last:
        raise CompileError(
            "no layer of the backbone gives images", "give a convolutional network of one example, [1][C][H][W]"
        )
    return sorted(last.values(), key=lambda layer: layer.number)[-_TAPS:]


def add_slices(
    model: onnx.ModelProto, taps: Sequence[SourceLayer], classes: int, width: int, side: int, seed: int
) -> onnx.ModelProto:
    """The backbone up to the last of the layers `taps`, with a slice for each of them, and random weights in these.

    What the taps give is made `side` pixels wide by means, outside. A slice is a convolution to `width` channels,
    to whose result the slice before is added through a convolution of 3x3. The head sees the last slice,
    and the means of the last tap. Raises CompileError.
    """
    return _Slices(model, classes, width, seed).made(taps, side)


class _Slices:
    def __init__(self, model: onnx.ModelProto, classes: int, width: int, seed: int) -> None:
        self.model, self.classes, self.width = model, classes, width
        self.random = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.kept: list[onnx.NodeProto] = []
        self.taken: set[str] = set()

    def made(self, taps: Sequence[SourceLayer], side: int) -> onnx.ModelProto:
        results = [self.result_of(layer) for layer in taps]
        self.kept = list(_needed(self.model.graph, results))
        self.taken = {name for node in self.kept for name in (node.name, *node.input, *node.output)}
        shapes = [tap.shape for tap in taps]
        pooled = [
            self.pooled(i, name, shape, side)
            for i, (name, shape) in enumerate(zip(results, shapes, strict=True), 1)
        ]
        before = ""
        for i, (name, shape) in enumerate(zip(pooled, shapes, strict=True), 1):
            before = self.slice(i, name, shape[1], before)
        mean = self.node("GlobalAveragePool", [pooled[-1]], "mean")
        rows = [self.node("Flatten", [name], f"rows_{i}") for i, name in enumerate((before, mean))]
        both = self.node("Concat", rows, "rows", axis=1)
        count = self.width * side**2 + shapes[-1][1]
        kernel = self.weight("head.weight", (self.classes, count), count)
        scores = self.node("Gemm", [both, kernel, self.bias("head.bias", self.classes)], "head", transB=1)
        self.node("Softmax", [scores], "softmax", output="probabilities", axis=1)
        return self.joined()

    def slice(self, number: int, tap: str, channels: int, before: str) -> str:
        name, width = f"slice_{number}", self.width
        kernel = self.weight(f"{name}.weight", (width, channels, 1, 1), channels)
        found = self.node("Conv", [tap, kernel, self.bias(f"{name}.bias", width)], name)
        if before:
            step = f"slice_{number}_step"
            kernel = self.weight(f"{step}.weight", (width, width, 3, 3), 9 * width)
            inputs = [before, kernel, self.bias(f"{step}.bias", width)]
            found = self.node("Add", [found, self.node("Conv", inputs, step, pads=[1] * 4)], f"{name}_sum")
        return self.node("Relu", [found], f"{name}_relu")

    def pooled(self, number: int, name: str, shape: Sequence[int], side: int) -> str:
        _, _, height, width = shape
        if min(height, width) < side:
            raise CompileError(
                f"the layer gives images of {height}x{width}, and slices would take {side}x{side}",
                f"give --side {min(height, width)}, or an earlier layer to --after",
            )
        if (height, width) == (side, side):
            return name
        steps = [height // side, width // side]
        window = [size - (side - 1) * step for size, step in zip((height, width), steps, strict=True)]
        return self.node("AveragePool", [name], f"tap_{number}", kernel_shape=window, strides=steps)

    def result_of(self, layer: SourceLayer) -> str:
        """The tensor that a layer gives, behind its bias and activation."""
        by_name = {node.name: node.output[0] for node in self.model.graph.node if node.name}
        if layer.names[-1] not in by_name:
            raise CompileError(
                f"layer {layer.number} ({layer.name}) ends with {layer.names[-1]}, which is no node of the file",
                "give the nodes of the ONNX file names",
            )
        result: str = by_name[layer.names[-1]]
        return result

    def node(
        self, operator: str, inputs: Sequence[str], name: str, *, output: str = "", **attributes: object
    ) -> str:
        result = output or f"{name}_result"
        if taken := {name, result} & self.taken:
            raise CompileError(
                f"the backbone has the name {sorted(taken)[0]!r}, which a slice would have", "rename it"
            )
        self.nodes.append(helper.make_node(operator, inputs, [result], name, **attributes))
        return result

    def weight(self, name: str, shape: tuple[int, ...], fan_in: int) -> str:
        """He's random numbers."""
        values = self.random.standard_normal(shape) * np.sqrt(2 / fan_in)
        return self.constant(name, values)

    def bias(self, name: str, count: int) -> str:
        return self.constant(name, np.zeros(count))

    def constant(self, name: str, values: np.ndarray) -> str:
        self.weights.append(numpy_helper.from_array(values.astype(np.float32), name))
        return name

    def joined(self) -> onnx.ModelProto:
        """The backbone's nodes, then the slices."""
        graph = self.model.graph
        used = {name for node in self.kept for name in node.input}
        own = [weight for weight in graph.initializer if weight.name in used]
        output = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [1, self.classes])
        inputs = [value for value in graph.input if value.name in used and value.name not in {w.name for w in own}]
        made = helper.make_graph(
            [*self.kept, *self.nodes], f"{graph.name}_slices", inputs, [output], [*own, *self.weights]
        )
        return helper.make_model(made, opset_imports=self.model.opset_import, ir_version=self.model.ir_version)


def _needed(graph: onnx.GraphProto, results: Sequence[str]) -> list[onnx.NodeProto]:
    """The nodes that go into `results`, in the order of the file."""
    wanted = set(results)
    found = []
    for node in reversed(graph.node):
        if wanted & set(node.output):
            wanted |= set(node.input)
            found.append(node)
    return found[::-1]
