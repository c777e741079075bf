"""Keras and TensorFlow files, by way of ONNX.

TensorFlow is started in a process of its own (worker.py): it takes half a gigabyte, prints much,
and ends the process when an internal check of its fails.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

from tzml.compiler.frontends.checks import Warn
from tzml.compiler.frontends.inputs import Inputs
from tzml.compiler.frontends.onnx.importer import import_model
from tzml.compiler.frontends.recognise import recognise
from tzml.compiler.frontends.tensorflow import worker
from tzml.compiler.frontends.workers import convert
from tzml.compiler.ir.errors import CompileError
from tzml.compiler.ir.imported import Imported


def import_tensorflow(path: Path, inputs: Inputs, warn: Warn) -> Imported:
    """Read a .keras file, a SavedModel's folder or a frozen graph.

    TensorFlow's own parsers read them, and like everything it loads they must come from someone you trust;
    Keras is told not to run code that a file brings. Raises CompileError.
    """
    kind = recognise(path)
    for package in ("tensorflow", "tf2onnx", "keras"):
        if importlib.util.find_spec(package) is None:
            raise CompileError(
                f"reading {kind.value} files needs the Python package {package}, which is not installed",
                "pip install 'tzml[tensorflow]'",
            )
    shapes = {name: list(spec.shape) for name, spec in inputs.items()}
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", "KERAS_BACKEND": "tensorflow"}
    request = {"path": str(path), "kind": kind.name, "shapes": shapes}
    return import_model(convert(path, "TensorFlow", worker.__file__, request, variables=quiet), path, inputs, warn)
