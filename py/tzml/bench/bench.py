"""Measurement of one model, compared with other runtimes."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tzml.bench import runtimes
from tzml.bench.kernels import Kernels, random_inputs
from tzml.bench.programs import Cost
from tzml.bench.runtimes import How
from tzml.bundle import Target
from tzml.compiler import TARGETS, CompileOptions, compile_model
from tzml.compiler.ir.progress import Progress, no_progress
from tzml.errors import TzmlError

ROUNDS = 3
"""How often the runtimes take turns, so that other load on the machine affects all of them."""

_NO_LIMIT = 1 << 40


@dataclass(frozen=True)
class Result:
    """Measurements of a model. Sizes are in bytes.

    `ours`, `onnxruntime`, `pytorch` and `litert` are the cost of one inference with one thread: CPU seconds, or
    AArch64 instructions. They are None if a runtime is not installed or cannot read the network. `difference` is
    the largest absolute difference between our output and that of the runtime that reads the same file;
    `litert_difference` is that to LiteRT, which reads the TFLite file of the same network. `magnitude` is the
    largest absolute output. `cycles` and `dram_bytes` are estimates for a Cortex-A53, by the names of these
    runtimes; they are empty unless they were asked for.
    """

    name: str
    macs: int
    weights: int
    arena: int
    ours: float
    onnxruntime: float | None
    pytorch: float | None
    litert: float | None
    compile_seconds: float
    difference: float | None
    litert_difference: float | None
    magnitude: float
    cycles: dict[str, float] = field(default_factory=dict)
    dram_bytes: dict[str, int] = field(default_factory=dict)

    @property
    def ratio(self) -> float | None:
        """Our cost divided by ONNX Runtime's, or None if that was not measured."""
        return self.ours / self.onnxruntime if self.onnxruntime else None


def measure(
    model: Path,
    name: str,
    target: str,
    repeat: int,
    macs: int = 0,
    tflite: Path | None = None,
    progress: Progress = no_progress,
    estimated: bool = False,
) -> Result:
    """Compile `model` for `target` and measure it, on this machine `repeat` times per round. Raises TzmlError.

    `tflite` is a TFLite file of the same network for LiteRT, if the model is not a TFLite file itself. `macs` is
    known for networks of the zoo, which are also measured in PyTorch. With `estimated`, of an AArch64 target,
    cycles and DRAM are estimated.
    """
    begin = time.process_time()
    bundle = compile_model(model, CompileOptions(target, secure_memory=_NO_LIMIT), progress)
    compile_seconds = time.process_time() - begin
    if len(bundle.inputs()) != 1:
        raise TzmlError(f"{model} has {len(bundle.inputs())} inputs", "only models with one can be measured")
    (data,) = random_inputs(bundle.inputs())
    tflite = model.resolve() if model.suffix == ".tflite" else tflite
    with tempfile.TemporaryDirectory() as name_of_folder:
        folder = Path(name_of_folder)
        kernels = Kernels(bundle, TARGETS[target].cc, folder, [data])
        how = How(repeat, bundle.target == Target.aarch64, estimated)
        costs: dict[str, list[Cost | None]] = {"ours": [], "onnxruntime": [], "pytorch": [], "litert": []}
        np.save(folder / "input.npy", data)
        progress("measuring")
        for _ in range(1 if how.emulated else ROUNDS):
            costs["ours"].append(kernels.measure(repeat, estimated=estimated))
            if model.suffix == ".onnx":
                costs["onnxruntime"].append(runtimes.onnxruntime(model.resolve(), folder, how))
                if macs and not how.emulated:
                    costs["pytorch"].append(runtimes.pytorch(model.resolve(), folder, repeat))
            if tflite:
                costs["litert"].append(runtimes.litert(tflite, folder, how))
        result = kernels.result()
        litert_difference = _difference(result, folder / "litert.npy")
        difference = litert_difference if model.suffix == ".tflite" else _difference(result, folder / "output.npy")
    least = {who: min((c.value for c in found if c), default=None) for who, found in costs.items()}
    return Result(
        name=name,
        macs=macs,
        weights=sum(map(len, bundle.chunks)),
        arena=bundle.memory.arena_size,
        ours=least["ours"] or 0.0,
        onnxruntime=least["onnxruntime"],
        pytorch=least["pytorch"],
        litert=least["litert"],
        compile_seconds=compile_seconds,
        difference=difference,
        litert_difference=litert_difference,
        magnitude=float(np.abs(result.astype(np.float64)).max()),
        cycles={who: c.cycles for who, found in costs.items() for c in found if c and c.cycles is not None},
        dram_bytes={
            who: c.dram_bytes for who, found in costs.items() for c in found if c and c.dram_bytes is not None
        },
    )


def _difference(ours: NDArray[Any], theirs: Path) -> float | None:
    """The largest difference between two outputs of as many values, or None if the file is missing."""
    if not theirs.exists():
        return None
    return float(np.abs(ours.astype(np.float64).ravel() - np.load(theirs).ravel()).max())
