"""Frameworks that read their own model files, in processes of their own: they are large, print much, and crash.

A worker is a Python file that imports nothing of tzml. It reads a JSON object from standard input, and writes an
ONNX file to the path `output` of it. What the user can do something about is the last line of its standard output,
with exit code REFUSED.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx

from tzml.compiler.ir.errors import CompileError

REFUSED = 2
_TIMEOUT = 1800  # seconds


def convert(
    path: Path,
    framework: str,
    worker: str,
    request: Mapping[str, Any],
    *,
    python: Path = Path(sys.executable),
    variables: Mapping[str, str] | None = None,
) -> onnx.ModelProto:
    """The model at `path` as the ONNX model that the `framework` makes of it.

    `worker` is the path of the file that `python` runs, `request` what it is told, `variables` of its environment.
    Raises CompileError for what the worker refuses, for one that ends otherwise, and after half an hour.
    """
    with tempfile.TemporaryDirectory(prefix="tzml-") as folder:
        output = Path(folder) / "model.onnx"
        try:
            # -I would also leave out the user's own packages
            done = subprocess.run(
                [python, worker], input=json.dumps({**request, "output": str(output)}),
                env=os.environ | dict(variables or {}), capture_output=True, text=True, timeout=_TIMEOUT,
                errors="replace", check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            minutes = _TIMEOUT // 60
            raise CompileError(f"{path}: {framework} did not finish reading it in {minutes} minutes") from error
        if done.returncode == REFUSED:
            raise CompileError(f"{path}: {done.stdout.strip().splitlines()[-1]}")
        if done.returncode or not output.exists():
            said = [line for line in done.stderr.splitlines() if line.strip()] or ["nothing"]
            raise CompileError(
                f"{path}: {framework} ended with exit code {done.returncode} and said: {said[-1].strip()[:300]}",
                f"save the model again with the {framework} that is installed here",
            )
        return onnx.load(str(output))
