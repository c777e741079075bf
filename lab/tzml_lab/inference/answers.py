"""Run a model on the target, in one of the worlds."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from labgrid import Target
from numpy.typing import NDArray

from tzml_lab.target import Commands, commands_of, files_of
from tzml_lab.time_limits import scaled

# Outputs come back as a file: as JSON they would take half a minute on a serial line.
_WITHOUT_OUTPUTS = "{name: told[name] for name in told if name != 'outputs'}"
_MEMORY_ONLY = "{name: told[name] for name in told if name.endswith('_memory')}"


@dataclass(frozen=True)
class TargetRun:
    """The report of `tzml run` without its outputs, and the first output for each sample."""

    report: dict[str, Any]
    outputs: NDArray[Any]

    @property
    def seconds(self) -> list[float]:
        """Seconds of each inference."""
        samples: list[float] = self.report["seconds"]["samples"]
        return samples

    @property
    def memory(self) -> dict[str, int]:
        """Bytes of memory, by kind."""
        memory: dict[str, int] = self.report["memory"]
        return memory


def ask(
    target: Target, bundle: str, inputs: str, world: str, folder: Path, *options: str, timeout: float
) -> TargetRun:
    """Run a bundle on the target.

    Args:
        target: labgrid's target, which has booted
        bundle: its path there
        inputs: the path there of the input as .npy; what is written lies beside it
        world: one of WORLDS
        folder: on this host, for the output
        options: more of `tzml run`'s
        timeout: seconds on a quiet machine

    """
    command, files = commands_of(target), files_of(target)
    output = Path(inputs).parent / f"outputs-{world}.npy"
    run = f"tzml run {bundle} --input {inputs} --world {world} --output {output} {' '.join(options)}"
    report = _told(command, run, _WITHOUT_OUTPUTS, timeout)
    files.get(str(output), str(folder))
    return TargetRun(report, np.load(folder / output.name))


def promised(command: Commands, bundle: str) -> dict[str, int]:
    """The memory that a bundle on the target promises: secure_memory, mapped_memory, code_memory, in bytes."""
    return _told(command, f"tzml inspect {bundle}", _MEMORY_ONLY, 60)


def _told(command: Commands, run: str, wanted: str, timeout: float) -> dict[str, Any]:
    """The JSON that a command prints, cut down on the target by `wanted`, a Python expression of `told`."""
    program = f"import json, sys; told = json.load(sys.stdin); print(json.dumps({wanted}))"
    lines = command.run_check(f'{run} --json | python3 -c "{program}"', timeout=scaled(timeout))
    told: dict[str, Any] = json.loads("".join(lines))
    return told
