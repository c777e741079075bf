"""Turn a Keras or TensorFlow model into an ONNX file: the process that importer.py starts.

Reads a JSON object from standard input: path, kind (a name of recognise.Format), shapes (by input) and
output. What the user can do something about is the last line of standard output, with exit code REFUSED.
"""

from __future__ import annotations

import json
import sys
from typing import Any

REFUSED = 2
OPSET = 18
# nodes that hold constants or the graph together, and compute nothing
SILENT = {"Const", "NoOp", "Placeholder", "Assert"}


class RefusedError(Exception):
    """What is wrong with the model, and what to do about it."""


def convert(path: str, kind: str, shapes: dict[str, list[int]], output: str) -> None:
    """Write the ONNX file. Raises RefusedError, and whatever TensorFlow raises."""
    import onnx

    make = {"keras": _keras, "saved_model": _saved_model, "frozen_graph": _frozen_graph}[kind]
    model = make(path, shapes)
    _replace_erfc(model)
    onnx.save(model, output)


def _keras(path: str, shapes: dict[str, list[int]]) -> Any:
    import keras
    import tensorflow as tf
    import tf2onnx

    try:
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except (ValueError, TypeError, OSError, KeyError) as error:
        raise RefusedError(f"Keras cannot load it: {_line(error)}") from error
    for layer in model._flatten_layers():
        # the number of steps is fixed; a loop would be refused
        if hasattr(layer, "unroll"):
            layer.unroll = True
    signature = [
        tf.TensorSpec(_shape(tensor.name, tensor.shape, shapes), tensor.dtype, name=tensor.name)
        for tensor in model.inputs
    ]

    # a Sequential has one output, without a name
    names = getattr(model, "output_names", None) or ["output"]

    def run(*inputs: Any) -> Any:
        outputs = keras.tree.flatten(model(_as_keras_wants(model, inputs), training=False))
        return dict(zip(names, outputs, strict=True))

    return tf2onnx.convert.from_function(tf.function(run, signature), signature, opset=OPSET)[0]


def _as_keras_wants(model: Any, inputs: tuple[Any, ...]) -> Any:
    return inputs[0] if len(inputs) == 1 else dict(zip((t.name for t in model.inputs), inputs, strict=True))


def _saved_model(path: str, shapes: dict[str, list[int]]) -> Any:
    import tensorflow as tf
    import tf2onnx

    loaded = tf.saved_model.load(path)
    signatures = dict(loaded.signatures)
    if not signatures:
        raise RefusedError("the SavedModel has no signature; save it with model.export(folder)")
    name = "serving_default" if "serving_default" in signatures else next(iter(signatures))
    concrete = signatures[name]
    specs = concrete.structured_input_signature[1]
    signature = [
        tf.TensorSpec(_shape(key, spec.shape, shapes), spec.dtype, name=key) for key, spec in specs.items()
    ]

    def run(*inputs: Any) -> Any:
        return concrete(**{spec.name: value for spec, value in zip(signature, inputs, strict=True)})

    return tf2onnx.convert.from_function(tf.function(run, signature), signature, opset=OPSET)[0]


def _frozen_graph(path: str, shapes: dict[str, list[int]]) -> Any:
    import tensorflow as tf
    import tf2onnx

    graph = tf.compat.v1.GraphDef()
    with open(path, "rb") as file:  # noqa: PTH123 (TensorFlow's object has no from_path)
        graph.ParseFromString(file.read())
    variables = [node.name for node in graph.node if node.op in ("VariableV2", "VarHandleOp")]
    if variables:
        raise RefusedError(f"the graph is not frozen: {variables[0]} is a variable; save it as a SavedModel")
    inputs = [node.name for node in graph.node if node.op == "Placeholder"]
    read = {name.lstrip("^").partition(":")[0] for node in graph.node for name in node.input}
    outputs = [node.name for node in graph.node if node.name not in read and node.op not in SILENT]
    if not inputs or not outputs:
        raise RefusedError(f"the graph has {len(inputs)} inputs and {len(outputs)} outputs")
    given = {f"{name}:0": shapes[name] for name in inputs if name in shapes}
    model = tf2onnx.convert.from_graph_def(
        graph,
        input_names=[f"{name}:0" for name in inputs],
        output_names=[f"{name}:0" for name in outputs],
        shape_override=given or None,
        opset=OPSET,
    )[0]
    # people know the inputs by their nodes' names
    _rename(model, {f"{name}:0": name for name in (*inputs, *outputs)})
    return model


def _shape(name: str, declared: Any, shapes: dict[str, list[int]]) -> list[int | None]:
    """The user's shape where it fits; another is refused later, where all formats are."""
    dimensions = list(declared) if declared is not None else []
    given = shapes.get(name, [])
    if len(given) == len(dimensions) and all(d in (None, g) for d, g in zip(dimensions, given, strict=True)):
        return list(given)
    return dimensions


def _replace_erfc(model: Any) -> None:
    """erfc(x) = 1 - erf(x): TensorFlow's GELU has it, ONNX does not."""
    from onnx import helper, numpy_helper

    nodes = list(model.graph.node)
    if not any(node.op_type == "Erfc" for node in nodes):
        return
    import numpy as np

    model.graph.initializer.append(numpy_helper.from_array(np.float32(1), "tzml_one"))
    del model.graph.node[:]
    for node in nodes:
        if node.op_type != "Erfc":
            model.graph.node.append(node)
            continue
        erf = f"{node.output[0]}_erf"
        model.graph.node.append(helper.make_node("Erf", list(node.input), [erf], f"{node.name}_erf"))
        model.graph.node.append(helper.make_node("Sub", ["tzml_one", erf], list(node.output), node.name))


def _rename(model: Any, names: dict[str, str]) -> None:
    for node in model.graph.node:
        for values in (node.input, node.output):
            for i, value in enumerate(values):
                values[i] = names.get(value, value)
    for port in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        port.name = names.get(port.name, port.name)


def _line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


if __name__ == "__main__":
    # the folder of this file comes first on Python's path, and its modules are nobody's to import
    sys.path.pop(0)
    try:
        convert(**json.load(sys.stdin))
    except RefusedError as refused:
        print(refused)
        sys.exit(REFUSED)
