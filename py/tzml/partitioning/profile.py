"""What the layers of a model cost on a machine: the file that `tzml profile` writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    ValidationError,
    model_validator,
)

from tzml.errors import TzmlError
from tzml.files import write_file

Unit = Literal["instructions", "seconds"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class MachineCosts(_Strict):
    """What a machine takes for going into the TEE, beside computing, in `unit`.

    Attributes:
        name: the environment or board that was measured
        unit: of the costs
        run: of a program in the normal world that takes, computes and gives next to nothing
        switch: of the same in the TEE
        transfer: of a byte that goes into the TEE or comes out of it
        load: of a byte of weights that the TEE loads during an inference
        tee_ratio: what computing costs in the TEE, of what it costs in the normal world

    """

    machine_costs: Literal[1] = 1
    name: str
    unit: Unit
    run: NonNegativeFloat
    switch: NonNegativeFloat
    transfer: NonNegativeFloat
    load: NonNegativeFloat
    tee_ratio: NonNegativeFloat = 1.0

    def entering(self, passed: int, streamed: int) -> float:
        """For going into the TEE and back with `passed` bytes, and loading `streamed` bytes of weights."""
        return self.switch + self.transfer * passed + self.load * streamed

    def write(self, path: Path) -> None:
        """Write the file. Raises TzmlError."""
        write_file(path, json.dumps(self.model_dump(), indent=1) + "\n")


class LayerRow(_Strict):
    """A layer as `tzml inspect --layers` lists it; `weights` in bytes."""

    number: int
    name: str
    operator: str
    weights: NonNegativeInt


class ValueRow(_Strict):
    """A tensor of `size` bytes, the index (from 0) of the layer that makes it (-1: the caller), and its users."""

    size: NonNegativeInt
    source: int
    users: list[int]
    is_output: bool


class PartCost(_Strict):
    """What a part of the model costs in each world, without what the machine takes to get there.

    `arena` are the bytes of activations that it needs, `weights` those of its constants as they are loaded.
    """

    ree: NonNegativeFloat
    tee: NonNegativeFloat
    arena: NonNegativeInt
    weights: NonNegativeInt


class Profile(_Strict):
    """The layers of a model with their costs.

    Attributes:
        model: name of the model file
        sha256: of the file, to recognise it
        target: what it was compiled for
        unit: of all costs
        whole: all layers as one part
        heads: `heads[i]` has the layers before the cut i + 1, so heads[0] is the first layer; None: not measured
        tails: `tails[i]` has the layers behind heads[i]; None where heads[i] is
        code_memory: bytes of secure memory for the TA and the kernels, at most
        machine: what going into the TEE takes; None: not measured

    """

    profile: Literal[1] = 1
    model: str
    sha256: str
    target: str
    unit: Unit
    layers: list[LayerRow] = Field(min_length=1)
    values: list[ValueRow]
    whole: PartCost
    heads: list[PartCost | None]
    tails: list[PartCost | None]
    code_memory: NonNegativeInt
    machine: MachineCosts | None = None

    @model_validator(mode="after")
    def _check(self) -> Profile:
        n = len(self.layers)
        if not len(self.heads) == len(self.tails) == n - 1:
            raise ValueError(
                f"{n} layers have {n - 1} heads and tails, not {len(self.heads)} and {len(self.tails)}"
            )
        if [head is None for head in self.heads] != [tail is None for tail in self.tails]:
            raise ValueError("a head was measured without its tail, or a tail without its head")
        known = range(-1, n)
        if any(v.source not in known or any(u not in known[1:] for u in v.users) for v in self.values):
            raise ValueError(f"a value is of a layer that does not exist: there are {n}")
        if self.machine and self.machine.unit != self.unit:
            raise ValueError(f"the machine's costs are in {self.machine.unit}, the layers' in {self.unit}")
        return self

    def write(self, path: Path) -> None:
        """Write the file. Raises TzmlError."""
        write_file(path, json.dumps(self.model_dump(), indent=1) + "\n")


_File = TypeVar("_File", bound=BaseModel)


def read_profile(path: Path) -> Profile:
    """Raises TzmlError for a file that is no profile."""
    return _read(path, Profile, "profile", "make it with tzml profile")


def read_machine_costs(path: Path) -> MachineCosts:
    """Raises TzmlError for a file without a machine's costs."""
    return _read(path, MachineCosts, "file of a machine's costs", "make it with tzml profile --machine")


def _read(path: Path, kind: type[_File], what: str, remedy: str) -> _File:
    try:
        return kind.model_validate_json(path.read_bytes())
    except OSError as error:
        raise TzmlError(f"cannot read {path}: {error.strerror}", "check the path") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise TzmlError(f"{path} is not a {what}: {where + ': ' if where else ''}{first['msg']}", remedy) from error
