"""What bundles cost in each world of a target, and what the target takes for going into the TEE: `tzml profile`."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from labgrid import Target

from tzml.bench.kernels import random_inputs
from tzml.bundle import Bundle
from tzml.compiler import CompileOptions, compile_model
from tzml.errors import TzmlError
from tzml.partitioning.measure import Meter
from tzml.partitioning.probes import ProbeTimes, machine_costs, probe_networks
from tzml.partitioning.profile import MachineCosts, Unit
from tzml.signing import SigningKey
from tzml_lab.booted import booted
from tzml_lab.environment import image_of
from tzml_lab.inference.answers import WITHOUT_OUTPUTS, report_of
from tzml_lab.inference.signing_key import signing_key
from tzml_lab.target import commands_of, files_of

_FOLDER = "/tmp/tzml-costs"
_REPEAT = 7  # runs in each world, the first of which does not count
_LIMIT = 600.0  # seconds for the runs of a bundle in one world, on a quiet machine
_PROBE_MEMORY = 6 << 20


@dataclass(frozen=True)
class CostsOnTarget:
    """Measures on a target that has booted with OP-TEE.

    Attributes:
        target: labgrid's
        name: of its environment
        machine: what it compiles for, such as "qemu"
        key: the one that its OP-TEE trusts
        unit: of all costs: instructions where the environment's QEMU counts them as time

    """

    target: Target
    name: str
    machine: str
    key: SigningKey
    unit: Unit

    @property
    def _per_second(self) -> float:
        nanoseconds = self.target.env.config.data.get("options", {}).get("instruction_nanoseconds")
        return 1e9 / float(nanoseconds) if nanoseconds else 1.0

    def run(self, bundle: Bundle, world: str) -> tuple[float, dict[str, Any]]:
        """The median cost of a run in that world, and the report of `tzml run --json`. Raises TargetError."""
        command, files = commands_of(self.target), files_of(self.target)
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            bundle.write(folder / "model.tzm")
            taken = bundle.inputs()
            arrays = {t.name: array for t, array in zip(taken, random_inputs(taken), strict=True)}
            np.savez(folder / "inputs.npz", allow_pickle=False, **arrays)
            command.run_check(f"rm -rf {_FOLDER} && mkdir {_FOLDER}")
            for file in ("model.tzm", "inputs.npz"):
                files.put(str(folder / file), f"{_FOLDER}/{file}")
        run = f"cd {_FOLDER} && tzml run model.tzm --input inputs.npz --world {world} --repeat {_REPEAT}"
        report = report_of(command, run, WITHOUT_OUTPUTS, _LIMIT)
        command.run_check(f"rm -rf {_FOLDER}; tzml libraries remove --all >/dev/null 2>&1; true")
        samples = report["seconds"]["samples"][1:]
        return statistics.median(samples) * self._per_second, report

    def probe(self) -> MachineCosts:
        """What going into the TEE takes. Raises TargetError, TzmlError."""
        times = {}
        with tempfile.TemporaryDirectory() as name:
            for probe, path in probe_networks(Path(name)).items():
                options = CompileOptions(self.machine, self.key, secure_memory=_PROBE_MEMORY)
                bundle = compile_model(path, options)
                (tee, report), (ree, _) = self.run(bundle, "tee"), self.run(bundle, "ree")
                loading = report["streaming"]["seconds"] * self._per_second
                times[probe] = ProbeTimes(ree, tee, loading, report["streaming"]["bytes"])
        return machine_costs(self.name, self.unit, times)

    def meter(self, machine: MachineCosts) -> Meter:
        """A function that measures a part in both worlds, of which the TEE's is without what `machine` takes."""

        def measure(bundle: Bundle) -> tuple[float, float]:
            ree, _ = self.run(bundle, "ree")
            tee, report = self.run(bundle, "tee")
            ports = (*bundle.program.inputs, *bundle.program.outputs)
            passed = sum(bundle.tensors[port.tensor].size for port in ports)
            loading = report["streaming"]["seconds"] * self._per_second
            return max(0.0, ree - machine.run), max(0.0, tee - loading - machine.entering(passed, 0))

        return measure


def costs_on(target: Target, name: str) -> CostsOnTarget:
    """Measures on a target that has booted with OP-TEE. Raises TzmlError if its signing key is not here."""
    image = image_of(target.env.config)
    key = signing_key(image)
    if key is None:
        raise TzmlError(
            f"the key that the image in {image.folder} trusts is not on this host", "build the image here"
        )
    counted = target.env.config.data.get("options", {}).get("instruction_nanoseconds")
    return CostsOnTarget(target, name, image.description.machine, key, "instructions" if counted else "seconds")


@contextmanager
def costs_of_environment(name: str) -> Iterator[CostsOnTarget]:
    """The same for an environment, whose target is booted. Raises TzmlError."""
    with booted(name, "tee") as target:
        yield costs_on(target, name)
