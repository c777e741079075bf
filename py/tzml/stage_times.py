"""How long it takes to import a model file, to build a bundle of it, and to run that: `tzml times`."""

from __future__ import annotations

import os
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tzml.client import Model, TensorInfo, World, open_model
from tzml.compiler import CompileOptions, compile_model
from tzml.compiler.ir.progress import Progress as Progress

STAGES = ("import", "build", "run")


@dataclass(frozen=True)
class Took:
    """Seconds: of the clock, and of all processors, those of programs that were started included."""

    wall: float
    cpu: float


Times = dict[str, list[Took]]
"""What each of STAGES took, each time; `run` is one inference."""


def mean(took: Sequence[Took]) -> Took | None:
    """The mean, of the clock and of the processors; None of nothing."""
    if not took:
        return None
    return Took(statistics.fmean(t.wall for t in took), statistics.fmean(t.cpu for t in took))


def measure(path: Path, options: CompileOptions, runs: int, tell: Callable[[str], None] = lambda _: None) -> Times:
    """Import and build the model at `path` for this host, and run it `runs` times.

    Each kernel is compiled, whatever the cache has. A run before those that count is not measured. Inputs are
    random numbers, or zeros where they are integers, which may be indices. Raises CompileError, RunError.
    """
    times: Times = {stage: [] for stage in STAGES}
    with tempfile.TemporaryDirectory(prefix="tzml-") as folder, _cache_in(folder):
        bundle = Path(folder) / "model.tzm"
        last = _now()

        def mark(stage: str) -> None:
            nonlocal last
            now = _now()
            times[stage].append(Took(now.wall - last.wall, now.cpu - last.cpu))
            last = now

        def progress(step: str, done: int = 0, total: int = 0) -> None:
            tell(step)
            if step == "simplifying" and not times["import"]:
                mark("import")

        compile_model(path, options, progress).write(bundle)
        mark("build")
        if runs:
            tell("running")
            with open_model(bundle, World.ree) as model:
                times["run"] += _runs(model, runs)
    return times


def _now() -> Took:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return Took(time.monotonic(), sum(u.ru_utime + u.ru_stime for u in used))


def _runs(model: Model, count: int) -> list[Took]:
    random = np.random.default_rng(1)
    inputs = {info.name: _input(info, random) for info in model.inputs}
    model.run(inputs)
    answers = [model.run(inputs) for _ in range(count)]
    return [Took(answer.seconds, answer.cpu_seconds) for answer in answers]


def _input(info: TensorInfo, random: np.random.Generator) -> NDArray[Any]:
    if info.dtype.kind == "f":
        return random.standard_normal(info.shape).astype(info.dtype)
    return np.zeros(info.shape, info.dtype)


@contextmanager
def _cache_in(folder: str) -> Iterator[None]:
    before = os.environ.get("TZML_CACHE")
    os.environ["TZML_CACHE"] = folder
    try:
        yield
    finally:
        if before is None:
            del os.environ["TZML_CACHE"]
        else:
            os.environ["TZML_CACHE"] = before
