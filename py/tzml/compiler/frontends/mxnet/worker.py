"""Turn an MXNet model into an ONNX file: the process that importer.py starts in MXNet's environment.

Reads a JSON object from standard input: symbol, params, shapes (by input) and output. What the user can do
something about is the last line of standard output, with exit code REFUSED. MXNet's exporter has faults: what it
exported is compared with MXNet before it is used.
"""

from __future__ import annotations

import json
import sys
from typing import Any

REFUSED = 2
# of mxnet/onnx/mx2onnx/_op_translations/_op_translations_opset13.py, the newest that MXNet 1.9.1 has
OPSET = 13
TOLERANCE = 1e-4  # of the largest number of an output
# a loss layer is a plain one in an inference, and its second input, the label, is gone
PLAIN = {
    "SoftmaxOutput": ("softmax", {"axis": "1"}),
    "LogisticRegressionOutput": ("sigmoid", {}),
    "LinearRegressionOutput": ("_copy", {}),
    "MAERegressionOutput": ("_copy", {}),
}


class _RefusedError(Exception):
    """What is wrong with the model, and what to do about it."""


def convert(symbol: str, params: str, shapes: dict[str, list[int]], output: str) -> None:
    """Write the ONNX file. Raises _RefusedError, and whatever MXNet raises."""
    import mxnet as mx
    import numpy as np
    import onnx

    with open(symbol) as file:  # noqa: PTH123 (a path of the caller's)
        text = file.read()
    network = mx.sym.load_json(_as_the_exporter_wants(text))
    weights = mx.nd.load(params)
    if not isinstance(weights, dict):
        raise _RefusedError(f"{params} has numbers without names; save the model again with its parameters' names")
    values = {name.partition(":")[2] or name: value for name, value in weights.items()}
    names = [name for name in network.list_inputs() if name not in values]
    for name in shapes:
        if name not in names:
            raise _RefusedError(f"the model has no input {name}; it has {', '.join(names) or 'none'}")
    for name in names:
        if name not in shapes:
            raise _RefusedError(
                f"input {name} has no shape in an MXNet file, or is a parameter that {params} lacks; "
                f"give --input {name}=1x3x224x224, for instance"
            )
    dimensions = [tuple(shapes[name]) for name in names]
    # MXNet says of whatever it writes that it is of the newest opset that the installed onnx knows
    onnx.defs.onnx_opset_version = lambda: OPSET
    onnx.checker.DEFAULT_CONTEXT.opset_imports = {"": OPSET}
    try:
        mx.onnx.export_model(network, values, dimensions, [np.float32] * len(names), output)
    except Exception as error:  # of many kinds, all with a sentence
        raise _RefusedError(f"MXNet cannot export it: {_line(error)}") from error
    model = onnx.load(output)
    model.opset_import[0].version = OPSET
    _drop_weights_of_inputs(model)
    _compare(mx.sym.load_json(text), values, dict(zip(names, dimensions, strict=True)), model)
    onnx.save(model, output)


def _as_the_exporter_wants(symbol: str) -> str:
    """The network with losses as what they compute in an inference, and with what is true by default."""
    network = json.loads(symbol)
    for node in network["nodes"]:
        if node["op"] in PLAIN:
            node["op"], node["attrs"] = PLAIN[node["op"]]
            node["inputs"] = node["inputs"][:1]
        elif node["op"] != "null":
            given = {
                **node.pop("param", {}),
                **node.pop("attr", {}),
                **node.get("attrs", {}),
            }  # names of old versions
            node["attrs"] = {**_true_by_default(node["op"]), **given}
    return json.dumps(network)


def _true_by_default(operator: str) -> dict[str, str]:
    """The operator's attributes that are true when a file does not say so; the exporter takes them for false."""
    import mxnet as mx

    known = mx.operator.get_operator_arguments(operator)
    return {
        name: "True"
        for name, kind in zip(known.names, known.types, strict=True)
        if kind.startswith("boolean") and kind.endswith("default=1")
    }


def _drop_weights_of_inputs(model: Any) -> None:
    """An ONNX file of before IR version 4 lists its weights among its inputs."""
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [port for port in model.graph.input if port.name not in weights]
    del model.graph.input[:]
    model.graph.input.extend(inputs)


def _compare(network: Any, values: dict[str, Any], shapes: dict[str, tuple[int, ...]], model: Any) -> None:
    """See that what was exported answers as MXNet does. Raises _RefusedError."""
    import mxnet as mx
    import numpy as np
    import onnxruntime

    random = np.random.RandomState(0)
    inputs = {name: random.uniform(-1, 1, shape).astype(np.float32) for name, shape in shapes.items()}
    given = {**values, **{name: mx.nd.array(value) for name, value in inputs.items()}}
    names, states = network.list_arguments(), network.list_auxiliary_states()
    found, _, _ = network.infer_shape(**{name: given[name].shape for name in names if name in given})
    # a loss asks for the shape of its label, and reads no number of it
    arguments = {name: given.get(name, mx.nd.zeros(shape)) for name, shape in zip(names, found, strict=True)}
    bound = network.bind(mx.cpu(), arguments, aux_states={name: given[name] for name in states})
    theirs = [value.asnumpy() for value in bound.forward(is_train=False)]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        ours = session.run(None, inputs)
    except Exception as error:  # it has a class for each code of its own, and no common one
        raise _RefusedError(f"MXNet's export is no sound ONNX model: {_line(error)}") from error
    if len(ours) != len(theirs):
        raise _RefusedError(f"MXNet exports {len(ours)} of the model's {len(theirs)} outputs")
    for port, a, b in zip(session.get_outputs(), ours, theirs, strict=True):
        if a.shape != b.shape:
            raise _RefusedError(
                f"MXNet's export gives output {port.name} the shape {a.shape}, MXNet itself {b.shape}"
            )
        difference = float(np.abs(a - b).max())
        if not difference <= TOLERANCE * float(np.abs(b).max()):
            raise _RefusedError(
                f"MXNet's export is wrong: output {port.name} differs by {difference:.3g} from MXNet's own; "
                "nothing can be done here but to replace the layer that MXNet exports wrongly"
            )


def _line(error: BaseException) -> str:
    """What an error says, without the name and the place that MXNet and ONNX Runtime put before it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip() and "Traceback" not in line]
    said = next((line for line in lines if "rror" in line), lines[0] if lines else type(error).__name__)
    return said.removeprefix("MXNetError: ")


if __name__ == "__main__":
    # the folder of this file comes first on Python's path, and its modules are nobody's to import
    sys.path.pop(0)
    try:
        convert(**json.load(sys.stdin))
    except _RefusedError as refused:
        print(refused)
        sys.exit(REFUSED)
