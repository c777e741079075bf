"""What a pipeline is (.tzp), the keys of an epoch (.tzy), and what clients get (.tzi). docs/pipelines.md."""

from __future__ import annotations

import hashlib
import itertools
import json
import uuid
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from tzml.bundle import BundleError, Direction, OutputPolicy, Tensor, Worlds, read_public
from tzml.bundle.content import DType
from tzml.bundle.protection import verify_owner
from tzml.device import read_json
from tzml.errors import TzmlError
from tzml.files import write_file, write_secret
from tzml.owner.keys import Signer
from tzml.pipeline.release import MAX_STAGES, EpochKeys

_PIPELINE, _KEYS, _INVITATION = "tzml pipeline 1", "tzml epoch 1", "tzml invitation 1"
T = TypeVar("T")


@dataclass(frozen=True)
class TensorSpec:
    """An input or output: its name, dtype as NumPy names it, and shape."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Bytes."""
        return Tensor(self.name, DType[self.dtype], self.shape).size


@dataclass(frozen=True)
class StageSpec:
    """A stage: its bundle's file and digest, the program that it runs, and what that takes and gives."""

    file: str
    bundle_digest: bytes
    program: int
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


@dataclass(frozen=True)
class Pipeline:
    """Stages that follow each other; nothing in it is secret."""

    id: bytes
    stages: tuple[StageSpec, ...]

    @staticmethod
    def of(bundles: Sequence[Path], policy: OutputPolicy = OutputPolicy.sealed, argument: int = 0) -> Pipeline:
        """The pipeline of these bundles.

        `policy` is that of the last stage's grant, if it has one, and `argument` is k. Raises TzmlError, and
        BundleError, unless each takes what the one before gives.
        """
        if not 1 <= len(bundles) <= MAX_STAGES:
            raise TzmlError(f"a pipeline has 1 to {MAX_STAGES} stages, not {len(bundles)}")
        stages = tuple(map(_stage, bundles))
        for before, stage in itertools.pairwise(stages):
            given, taken = ([(t.dtype, t.shape) for t in tensors] for tensors in (before.outputs, stage.inputs))
            if given != taken:
                raise TzmlError(
                    f"{stage.file} takes {_words(stage.inputs)}, but {before.file} gives {_words(before.outputs)}",
                    "give the bundles of one model's stages in their order (tzml compile --stages)",
                )
        last = stages[-1]
        left = tuple(_left(tensor, policy, argument) for tensor in last.outputs)
        return Pipeline(uuid.uuid4().bytes, (*stages[:-1], replace(last, outputs=left)))

    def write(self, path: Path) -> None:
        """Raises TzmlError."""
        about = {"format": _PIPELINE, "id": self.id.hex(), "stages": [_stage_to_json(s) for s in self.stages]}
        write_file(path, json.dumps(about, indent=1) + "\n")

    @staticmethod
    def read(path: Path) -> Pipeline:
        """Read what `write` wrote. Raises TzmlError."""

        def parse(about: Any) -> Pipeline:
            stages = tuple(_stage_from_json(stage) for stage in about["stages"])
            if not 1 <= len(stages) <= MAX_STAGES:
                raise ValueError(f"{len(stages)} stages")
            return Pipeline(_bytes(about["id"], 16), stages)

        return _parsed(path, _PIPELINE, "a pipeline", "give the .tzp file that `tzml pipeline new` wrote", parse)


@dataclass(frozen=True)
class Invitation:
    """What a client must know of a pipeline in one epoch; signed by the models' owner."""

    pipeline: bytes
    epoch: int
    client_public: bytes
    stage_count: int
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    @staticmethod
    def of(pipeline: Pipeline, keys: EpochKeys) -> Invitation:
        """The invitation to an epoch."""
        first, last = pipeline.stages[0], pipeline.stages[-1]
        return Invitation(
            pipeline.id, keys.epoch, keys.client_public, len(pipeline.stages), first.inputs, last.outputs
        )

    def write(self, path: Path, owner: Signer) -> None:
        """Sign and write it. Raises TzmlError."""
        about = asdict(self) | {"pipeline": self.pipeline.hex(), "client_public": self.client_public.hex()}
        text = json.dumps(about | {"owner": owner.public.hex()}, sort_keys=True)
        signature = owner.sign(hashlib.sha256(text.encode()).digest()).hex()
        write_file(
            path, json.dumps({"format": _INVITATION, "about": text, "signature": signature}, indent=1) + "\n"
        )

    @staticmethod
    def read(path: Path, owner: bytes) -> Invitation:
        """Read what `owner`, a public key of X and Y, has signed. Raises TzmlError, BundleError (SIGNATURE)."""

        def parse(outer: Any) -> Invitation:
            text = str(outer["about"])
            verify_owner(owner, hashlib.sha256(text.encode()).digest(), _bytes(outer["signature"], 64))
            about = json.loads(text)
            if _bytes(about["owner"], 64) != owner:
                raise ValueError("it is another owner's")
            inputs, outputs = (tuple(map(_tensor_from_json, about[name])) for name in ("inputs", "outputs"))
            return Invitation(
                _bytes(about["pipeline"], 16), int(about["epoch"]), _bytes(about["client_public"], 64),
                int(about["stage_count"]), inputs, outputs,
            )  # fmt: skip

        remedy = "give the .tzi file that `tzml pipeline epoch` wrote"
        return _parsed(path, _INVITATION, "an invitation", remedy, parse)


def write_keys(keys: EpochKeys, path: Path) -> None:
    """Write a new file that only its owner may read. Raises TzmlError."""
    about = {
        "format": _KEYS,
        "pipeline": keys.pipeline.hex(),
        "epoch": keys.epoch,
        "client_key": keys.client_key.hex(),
        "edges": [edge.hex() for edge in keys.edges],
    }
    write_secret(path, json.dumps(about, indent=1).encode() + b"\n")


def read_keys(path: Path, pipeline: Pipeline) -> EpochKeys:
    """Read what `write_keys` wrote for this pipeline. Raises TzmlError."""

    def parse(about: Any) -> EpochKeys:
        edges = tuple(_bytes(edge, 32) for edge in about["edges"])
        keys = EpochKeys(_bytes(about["pipeline"], 16), int(about["epoch"]), _bytes(about["client_key"], 32), edges)
        if keys.pipeline != pipeline.id or keys.stage_count != len(pipeline.stages):
            raise ValueError("it is of another pipeline")
        return keys

    remedy = "give the .tzy file that `tzml pipeline epoch` wrote for this pipeline"
    return _parsed(path, _KEYS, "an epoch's keys", remedy, parse)


def _stage(path: Path) -> StageSpec:
    """The first program of a bundle as a stage."""
    public = read_public(path)
    interface = public.interface
    program = interface.programs[0]
    if Worlds.tee not in program.worlds or any(p.entry == 0 for p in interface.programs[1:]):
        raise BundleError(
            "PROGRAM", f"{path}: the model does not run in the TEE as a whole, so it cannot be a stage",
            "compile it with --sign-key or --kernels, and without --tee",
        )  # fmt: skip

    def specs(numbers: Sequence[int]) -> tuple[TensorSpec, ...]:
        tensors = [interface.tensors[number] for number in numbers]
        assert all(tensor.direction != Direction.between for tensor in tensors)
        return tuple(TensorSpec(t.name, t.dtype.name, tuple(t.shape)) for t in tensors)

    return StageSpec(path.name, public.table.header.digest, 0, specs(program.inputs), specs(program.outputs))


def _left(tensor: TensorSpec, policy: OutputPolicy, argument: int) -> TensorSpec:
    """What a policy leaves of an output."""
    if not policy.gives_indices:
        return tensor
    last = tensor.shape[-1] if tensor.shape else 1
    count = {OutputPolicy.top_1: 1, OutputPolicy.ranks: last}.get(policy, argument)
    return TensorSpec(tensor.name, "int32", (*tensor.shape[:-1], count))


def _words(tensors: Sequence[TensorSpec]) -> str:
    return ", ".join(f"{t.name} {t.dtype}[{', '.join(map(str, t.shape))}]" for t in tensors)


def _stage_to_json(stage: StageSpec) -> dict[str, Any]:
    return asdict(stage) | {"bundle_digest": stage.bundle_digest.hex()}


def _stage_from_json(about: Any) -> StageSpec:
    inputs, outputs = (tuple(map(_tensor_from_json, about[name])) for name in ("inputs", "outputs"))
    return StageSpec(str(about["file"]), _bytes(about["bundle_digest"], 32), int(about["program"]), inputs, outputs)


def _tensor_from_json(about: Any) -> TensorSpec:
    DType[about["dtype"]]
    return TensorSpec(str(about["name"]), str(about["dtype"]), tuple(map(int, about["shape"])))


def _bytes(text: Any, size: int) -> bytes:
    data = bytes.fromhex(text)
    if len(data) != size:
        raise ValueError(f"{len(data)} bytes, not {size}")
    return data


def _parsed(path: Path, form: str, kind: str, remedy: str, parse: Callable[[Any], T]) -> T:
    about = read_json(path, kind, remedy)
    try:
        if about["format"] != form:
            raise ValueError(f"its format is not {form!r}")
        return parse(about)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise TzmlError(f"{path} is not {kind}: {error}", remedy) from error
