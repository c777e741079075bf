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

WITHOUT_OUTPUTS = "{name: told[name] for name in told if name != 'outputs'}"
"""Of a report: outputs come back as a file, since as JSON they would take half a minute on a serial line."""
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
    report = report_of(command, run, WITHOUT_OUTPUTS, timeout)
    files.get(str(output), str(folder))
    return TargetRun(report, np.load(folder / output.name))


def ask_in_c(
    target: Target, bundle: str, inputs: NDArray[Any], like: NDArray[Any], world: str, folder: Path
) -> TargetRun:
    """Run a bundle on a target without Python, with tzml-run: one process for each sample.

    Args:
        target: labgrid's target, which has booted
        bundle: its path there
        inputs: samples, stacked along the first axis
        like: an array of outputs, of which this takes dtype and the shape of one
        world: one of WORLDS
        folder: on this host, for the files that travel

    """
    command, files = commands_of(target), files_of(target)
    there = f"/tmp/{folder.name}-{world}"
    given, taken = folder / f"given-{world}", folder / f"taken-{world}"
    given.mkdir()
    for number, sample in enumerate(inputs):
        (given / f"{number}.in").write_bytes(sample.tobytes())
    command.run_check(f"rm -rf {there}")
    files.put(str(given), there)
    # a console shows warnings between the times
    run = f"tzml-run -w {world} {bundle} $n.in $n.out 2>said || {{ cat said; exit 1; }}"
    loop = f"cd {there} && n=0; while [ -e $n.in ]; do {run}; n=$((n + 1)); done"
    said = command.run_check(loop, timeout=scaled(300))
    files.get(there, str(taken))
    outputs = [np.fromfile(taken / f"{number}.out", like.dtype) for number in range(len(inputs))]
    report = {"seconds": {"samples": [float(line) / 1e6 for line in said]}}
    return TargetRun(report, np.stack(outputs).reshape(-1, *like.shape[1:]))


def promised(command: Commands, bundle: str) -> dict[str, int]:
    """The memory that a bundle on the target promises: secure_memory, mapped_memory, code_memory, in bytes."""
    return report_of(command, f"tzml inspect {bundle}", _MEMORY_ONLY, 60)


def report_of(command: Commands, run: str, wanted: str, timeout: float) -> dict[str, Any]:
    """The JSON that a command prints, cut down on the target by `wanted`, a Python expression of `told`."""
    program = f"import json, sys; told = json.load(sys.stdin); print(json.dumps({wanted}))"
    lines = command.run_check(f'{run} --json | python3 -c "{program}"', timeout=scaled(timeout))
    told: dict[str, Any] = json.loads("".join(lines))
    return told
