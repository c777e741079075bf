"""The runtimes that tzml is compared with, each in a process of its own."""

from __future__ import annotations

import functools
import importlib.util
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import onnx

from tzml.bench.aarch64_python import Aarch64Python
from tzml.bench.programs import Cost, run, run_emulated, source


@dataclass(frozen=True)
class How:
    """`repeat` times on this machine, or once under QEMU if it is `emulated`; then perhaps with estimates."""

    repeat: int
    emulated: bool = False
    estimated: bool = False


def onnxruntime(model: Path, folder: Path, how: How) -> Cost:
    """Measure ONNX Runtime on an ONNX file and `folder`/input.npy. It writes output.npy."""
    return _run("run_onnxruntime.py", model, folder, how)


def litert(model: Path, folder: Path, how: How) -> Cost | None:
    """Measure LiteRT on a TFLite file. It writes litert.npy if the file accepts input.npy.

    Returns None if LiteRT is not installed.
    """
    if not how.emulated and importlib.util.find_spec("ai_edge_litert") is None:
        return None
    return _run("run_litert.py", model, folder, how, "litert.npy")


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


def _run(program: str, model: Path, folder: Path, how: How, output: str = "output.npy") -> Cost:
    arguments: list[str | Path] = [source(program), model, "input.npy", output]
    if not how.emulated:
        return run([sys.executable, *arguments, str(how.repeat)], folder, dict(os.environ))
    environment = Aarch64Python()
    variables = {"PYTHONPATH": str(environment.site)}
    command = [environment.python, "-S", *arguments, "1"]
    # XNNPACK has other kernels for a Cortex-A53 than for a Cortex-A57
    root = environment.shown_as_cortex_a53(folder) if how.estimated else environment.root
    return run_emulated(command, folder, root, variables, estimated=how.estimated)
