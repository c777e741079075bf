"""The runtimes that tzml is compared with, each in a process of its own."""

from __future__ import annotations

import functools
import importlib.util
import os
import sys
from pathlib import Path

import onnx

from tzml.bench.aarch64_python import Aarch64Python
from tzml.bench.programs import Cost, run, run_emulated, source


def onnxruntime(model: Path, folder: Path, emulated: bool, repeat: int) -> Cost:
    """Measure ONNX Runtime on an ONNX file and `folder`/input.npy. It writes output.npy."""
    return _run("run_onnxruntime.py", model, folder, emulated, repeat)


def litert(model: Path, folder: Path, emulated: bool, repeat: int) -> Cost | None:
    """Measure LiteRT on a TFLite file. It writes litert.npy if the file accepts input.npy.

    Returns None if LiteRT is not installed.
    """
    if not emulated and importlib.util.find_spec("ai_edge_litert") is None:
        return None
    return _run("run_litert.py", model, folder, emulated, repeat, "litert.npy")


def pytorch(model: Path, folder: Path, repeat: int) -> Cost | None:
    """Measure PyTorch on an ONNX file of the zoo, on this machine.

    Returns None if PyTorch is not installed, or if the network is quantized.
    """
    if importlib.util.find_spec("torch") is None or _is_quantized(model):
        return None
    command: list[str | Path] = [sys.executable, source("run_pytorch.py"), model, "input.npy", str(repeat)]
    return run(command, folder, dict(os.environ))


@functools.cache
def _is_quantized(model: Path) -> bool:
    return any(node.op_type == "QuantizeLinear" for node in onnx.load(model, load_external_data=False).graph.node)


def _run(program: str, model: Path, folder: Path, emulated: bool, repeat: int, output: str = "output.npy") -> Cost:
    arguments: list[str | Path] = [source(program), model, "input.npy", output]
    if not emulated:
        return run([sys.executable, *arguments, str(repeat)], folder, dict(os.environ))
    environment = Aarch64Python()
    variables = {"PYTHONPATH": str(environment.site)}
    return run_emulated([environment.python, "-S", *arguments, "1"], folder, environment.root, variables)
