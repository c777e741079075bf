"""The file of schedules that were found: by kernel, and for one target."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError
from tvm import s_tir

from tzml.compiler.codegen.kernel_key import canonical
from tzml.compiler.codegen.kernels import mark_tuned
from tzml.compiler.ir.errors import CompileError, explained
from tzml.files import write_file

Unit = Literal["instructions", "seconds"]


class TuningRecord(BaseModel):
    """The best schedule that was found for a kernel: MetaSchedule's trace, or none if ours is the best.

    `ours` and `best` are in the file's unit; `trials` is how many schedules were measured.
    """

    model_config = ConfigDict(extra="forbid")

    name: str
    ours: float
    best: float
    trials: int
    trace: list[Any] | None


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    tuning: Literal[1] = 1
    target: str
    unit: Unit
    kernels: dict[str, TuningRecord] = {}


@dataclass
class Tuning:
    """Schedules by kernel. `used` has, after a compile, the function that each kernel was made of, by symbol."""

    target: str
    unit: Unit
    records: dict[str, TuningRecord] = field(default_factory=dict)
    used: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path, target: str) -> Tuning:
        """Raises CompileError for a file that is not one, or is another target's."""
        try:
            file = _File.model_validate_json(path.read_bytes())
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise CompileError(
                f"{path} is not a tuning file: {where + ': ' if where else ''}{first['msg']}",
                "make it with tzml tune",
            ) from error
        if file.target != target:
            raise CompileError(
                f"{path} was tuned for {file.target}, not for {target}", f"give --target {file.target}"
            )
        return cls(file.target, file.unit, file.kernels)

    def write(self, path: Path) -> None:
        """Replace the file at once: who is interrupted keeps what was found before. Raises TzmlError."""
        file = _File(target=self.target, unit=self.unit, kernels=dict(sorted(self.records.items())))
        write_file(path, json.dumps(file.model_dump(), indent=1) + "\n")

    def apply(self, function: Any) -> Any:
        """The function scheduled as was found to be best for it; itself when nothing was found.

        Raises CompileError when its record is not one of this function.
        """
        record = self.records.get(kernel_of(function))
        if record is None or record.trace is None:
            return function
        with explained(f"the schedule of {record.name} in the tuning file cannot be applied", "tune again"):
            return scheduled(function, record.trace)


def kernel_of(function: Any) -> str:
    """What names a kernel in the file: what it computes, whatever it is called."""
    return hashlib.sha256(canonical(function).encode()).hexdigest()[:32]


def scheduled(function: Any, trace: Any) -> Any:
    """A function after what a trace of MetaSchedule does to it."""
    schedule = s_tir.Schedule(function)
    s_tir.schedule.Trace.apply_json_to_schedule(trace, schedule)
    return mark_tuned(schedule.mod["main"])
