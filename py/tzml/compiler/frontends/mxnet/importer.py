"""MXNet files, by way of ONNX.

MXNet 1.9.1 is its last release. It needs a NumPy from before tzml's, so it is started in an environment of its own.
"""

from __future__ import annotations

import glob
from pathlib import Path

from tzml.compiler.frontends.checks import Warn
from tzml.compiler.frontends.inputs import Inputs
from tzml.compiler.frontends.mxnet import worker
from tzml.compiler.frontends.onnx.importer import import_model
from tzml.compiler.frontends.workers import convert
from tzml.compiler.ir.errors import CompileError
from tzml.compiler.ir.imported import Imported
from tzml.environments import ENVIRONMENTS

SYMBOL = "-symbol.json"


def import_mxnet(path: Path, inputs: Inputs, warn: Warn) -> Imported:
    """Read a `NAME-symbol.json`, whose parameters are in `NAME-0000.params` beside it, as MXNet saves them.

    MXNet's own parsers read them, and must be given files from someone you trust. An input has no shape in them, so
    `inputs` must have all. What MXNet exports is compared with MXNet on random numbers. Raises CompileError, and
    TzmlError if MXNet's environment is not made yet.
    """
    params = params_of(path)
    request = {
        "symbol": str(path),
        "params": str(params),
        "shapes": {name: list(spec.shape) for name, spec in inputs.items()},
    }
    python = ENVIRONMENTS["mxnet"].interpreter()
    # without a tuned convolution or a second thread, the same file gives the same model
    quiet = {"MXNET_CUDNN_AUTOTUNE_DEFAULT": "0", "OMP_NUM_THREADS": "1", "DMLC_LOG_STACK_TRACE_DEPTH": "0"}
    model = convert(path, "MXNet", worker.__file__, request, python=python, variables=quiet)
    return import_model(model, path, inputs, warn)


def params_of(path: Path) -> Path:
    """The file of parameters that belongs to a symbol. Raises CompileError."""
    name = path.name.removesuffix(SYMBOL) if path.name.endswith(SYMBOL) else path.stem
    found = sorted(path.parent.glob(f"{glob.escape(name)}-[0-9][0-9][0-9][0-9].params"))
    if not found:
        raise CompileError(
            f"{path}: its parameters are missing: there is no {name}-0000.params beside it, for any number",
            "copy the .params file to the folder of the symbol, under that name",
        )
    if len(found) > 1:
        raise CompileError(
            f"{path}: {len(found)} files of parameters are beside it: {', '.join(file.name for file in found[:4])}",
            "copy the symbol and the parameters of the epoch you want to a folder of their own",
        )
    return found[0]
