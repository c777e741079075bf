"""One model, measured beside ONNX Runtime."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tzml.bench.aarch64_python import Aarch64Python
from tzml.bench.kernels import Kernels
from tzml.bench.programs import Cost, run, run_emulated, source
from tzml.bundle import Target
from tzml.compiler import TARGETS, CompileOptions, compile_model
from tzml.errors import TzmlError

ROUNDS = 3
"""How often both are measured in turn: what else the machine does then meets both."""

_NO_LIMIT = 1 << 40


@dataclass(frozen=True)
class Result:
    """What was measured of a model; sizes in bytes.

    `ours` and `onnxruntime` are seconds of CPU time of one inference with one thread, or AArch64 instructions.
    `difference` is the largest of the two's outputs, `magnitude` the largest absolute output.
    """

    name: str
    macs: int
    weights: int
    arena: int
    ours: float
    onnxruntime: float | None
    compile_seconds: float
    difference: float | None
    magnitude: float

    @property
    def ratio(self) -> float | None:
        """Ours to ONNX Runtime's."""
        return self.ours / self.onnxruntime if self.onnxruntime else None


def measure(model: Path, name: str, target: str, repeat: int, macs: int = 0) -> Result:
    """Compile `model` for `target` and run it; for this machine `repeat` times a round. Raises TzmlError."""
    begin = time.process_time()
    bundle = compile_model(model, CompileOptions(target, secure_memory=_NO_LIMIT))
    compile_seconds = time.process_time() - begin
    if len(bundle.plan.inputs) != 1:
        raise TzmlError(f"{model} has {len(bundle.plan.inputs)} inputs", "only models with one can be measured")
    port = bundle.plan.inputs[0]
    data = np.random.default_rng(0).standard_normal(port.shape).astype(port.dtype.name)
    with tempfile.TemporaryDirectory() as name_of_folder:
        folder = Path(name_of_folder)
        kernels = Kernels(bundle, TARGETS[target].cc, folder, data)
        emulated = bundle.target == Target.aarch64
        theirs: list[Cost] = []
        ours: list[Cost] = []
        np.save(folder / "input.npy", data)
        for _ in range(1 if emulated else ROUNDS):
            ours.append(kernels.measure(repeat))
            if model.suffix == ".onnx":
                theirs.append(_onnxruntime(model.resolve(), folder, emulated, repeat))
        result = kernels.result()
        difference = None
        if theirs:
            difference = float(np.abs(result - np.load(folder / "output.npy")).max())
    return Result(
        name=name,
        macs=macs,
        weights=sum(map(len, bundle.chunks)),
        arena=bundle.plan.arena_size,
        ours=min(cost.value for cost in ours),
        onnxruntime=min((cost.value for cost in theirs), default=None),
        compile_seconds=compile_seconds,
        difference=difference,
        magnitude=float(np.abs(result).max()),
    )


def _onnxruntime(model: Path, folder: Path, emulated: bool, repeat: int) -> Cost:
    arguments: list[str | Path] = [source("run_onnxruntime.py"), model, "input.npy", "output.npy"]
    if not emulated:
        return run([sys.executable, *arguments, str(repeat)], folder, dict(os.environ))
    environment = Aarch64Python()
    variables = {"PYTHONPATH": str(environment.site)}
    return run_emulated([environment.python, "-S", *arguments, "1"], folder, environment.root, variables)
