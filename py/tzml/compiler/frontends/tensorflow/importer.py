"""Keras and TensorFlow files, by way of ONNX.

TensorFlow is started in a process of its own (worker.py): it takes half a gigabyte, prints much,
and ends the process when an internal check of its fails.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import onnx

from tzml.compiler.frontends.checks import Warn
from tzml.compiler.frontends.inputs import Inputs
from tzml.compiler.frontends.onnx.importer import import_model
from tzml.compiler.frontends.recognise import recognise
from tzml.compiler.frontends.tensorflow import worker
from tzml.compiler.ir.errors import CompileError
from tzml.compiler.ir.imported import Imported

TIMEOUT = 1800


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
    with tempfile.TemporaryDirectory(prefix="tzml-") as folder:
        file = Path(folder) / "model.onnx"
        _convert(path, kind.name, inputs, file)
        model = onnx.load(str(file))
    return import_model(model, path, inputs, warn)


def _convert(path: Path, kind: str, inputs: Inputs, output: Path) -> None:
    shapes = {name: list(spec.shape) for name, spec in inputs.items()}
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", "KERAS_BACKEND": "tensorflow"}
    request = json.dumps({"path": str(path), "kind": kind, "shapes": shapes, "output": str(output)})
    # -I would also leave out the user's own packages; the worker is given as a file, and imports no tzml
    command = [sys.executable, worker.__file__]
    try:
        done = subprocess.run(
            command, input=request, env=os.environ | quiet, capture_output=True, text=True, timeout=TIMEOUT,
            errors="replace", check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise CompileError(f"{path}: TensorFlow did not finish reading it in {TIMEOUT // 60} minutes") from error
    if done.returncode == worker.REFUSED:
        raise CompileError(f"{path}: {done.stdout.strip().splitlines()[-1]}")
    if done.returncode or not output.exists():
        said = [line for line in done.stderr.splitlines() if line.strip()] or ["nothing"]
        raise CompileError(
            f"{path}: TensorFlow ended with exit code {done.returncode} and said: {said[-1].strip()[:300]}",
            "save the model again with the TensorFlow that is installed here",
        )
