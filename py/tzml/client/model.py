"""An opened model."""

from __future__ import annotations

import enum
import os
import resource
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tzml.bundle.checkpoint import NOTE_SIZE, Checkpoint, file_size, read_checkpoint
from tzml.bundle.content import DType, OutputPolicy, Role
from tzml.client.declarations import ffi
from tzml.client.description import TensorInfo
from tzml.client.library import library, text
from tzml.errors import TzmlError, known_names
from tzml.files import read_file, write_kept

Array = NDArray[Any]


class World(enum.Enum):
    """Where a model runs; the values are libtzml's."""

    ree = 0  # the normal world: this process
    tee = 1  # the secure world: the TA under OP-TEE


class RunError(TzmlError):
    """A refusal by libtzml or the TA; `status` is its name in runtime/include/tzml/status.h."""

    def __init__(self, status: str, what: str, remedy: str = "") -> None:
        super().__init__(what, remedy)
        self.status = status


@dataclass(frozen=True)
class ProgramInfo:
    """A program of the bundle, the entry point that it is a part of, and the world that this session runs it in."""

    name: str
    role: Role
    entry: int
    world: World | None


@dataclass(frozen=True)
class ProgramUse:
    """How often a program ran so far, the wall seconds of all runs, and the bytes that one run takes and gives."""

    runs: int
    seconds: float
    input_size: int
    output_size: int


@dataclass(frozen=True)
class Usage:
    """What all runs of an opened model took: seconds of the processor, and of normal memory.

    What the secure world computes counts as the kernel's time, which waits for it. Linux samples how much was the
    kernel's in ticks of milliseconds: it means something for runs that took many together. `peak_memory` is the
    most that this process had so far, in bytes.
    """

    user_seconds: float
    kernel_seconds: float
    peak_memory: int


@dataclass(frozen=True)
class _CpuTime:
    """Seconds that this thread took of the processor; how much was user's and kernel's is sampled by Linux."""

    exact: float
    user: float
    kernel: float

    @classmethod
    def now(cls) -> _CpuTime:
        sampled = resource.getrusage(resource.RUSAGE_THREAD)
        return cls(time.thread_time(), sampled.ru_utime, sampled.ru_stime)

    def __add__(self, other: _CpuTime) -> _CpuTime:
        return _CpuTime(self.exact + other.exact, self.user + other.user, self.kernel + other.kernel)

    def __sub__(self, other: _CpuTime) -> _CpuTime:
        return _CpuTime(self.exact - other.exact, self.user - other.user, self.kernel - other.kernel)


@dataclass(frozen=True)
class Answer:
    """The outputs by name, and what the inference took on the device.

    Attributes:
        outputs: arrays with the shapes and dtypes of `Model.outputs`
        seconds: wall time
        cpu_seconds: of the processor, user's and kernel's

    """

    outputs: dict[str, Array]
    seconds: float
    cpu_seconds: float


@dataclass(frozen=True)
class MemoryUse:
    """Bytes that an opened model takes; `pool_*` is OP-TEE's memory for all TAs, `heap_*` its own; zero in the REE.

    host/include/tzml.h describes each.
    """

    arena: int
    weights: int
    state: int
    tables: int
    mapped: int
    mapped_peak: int
    pool_size: int
    pool_used: int
    pool_peak: int
    pool_before: int
    heap_size: int
    heap_used: int

    @property
    def secure_peak(self) -> int:
        """The most secure memory that opening and running this model took, the TA's own included."""
        return max(0, self.pool_peak - self.pool_before)


@dataclass(frozen=True)
class ChunkLoads:
    """How often a chunk of `size` bytes was loaded so far, and the wall seconds of all loads."""

    size: int
    loads: int
    seconds: float


class Model:
    """A model that was opened in one of the worlds; a context manager that closes it.

    `programs` are the bundle's. `inputs` and `outputs` are those of the entry point that `run` runs: the first,
    until another is selected.
    """

    def __init__(self, session: Any, keep: object = None) -> None:
        self._session = session
        self._keep = keep  # the bytes of a bundle in memory
        self._entry = 0
        self._cpu = _CpuTime(0.0, 0.0, 0.0)
        lib = library()
        self.programs = [self._program(i) for i in range(lib.tzml_program_count(session))]
        self._describe()

    def _describe(self) -> None:
        lib, session = library(), self._session
        self.inputs = [self._info(lib.tzml_input, i) for i in range(lib.tzml_input_count(session))]
        self.outputs = [self._info(lib.tzml_output, i) for i in range(lib.tzml_output_count(session))]

    @property
    def output_policy(self) -> OutputPolicy:
        """What the grant leaves of the outputs."""
        return OutputPolicy(library().tzml_output_policy(self._open_session()))

    @property
    def takes_clear(self) -> bool:
        """Whether the TA also runs models that nobody sealed, as a development image's does."""
        return bool(library().tzml_takes_clear(self._open_session()))

    def _program(self, index: int) -> ProgramInfo:
        info: Any = ffi.new("struct tzml_program_info *")
        library().tzml_program(self._session, index, info)
        world = World(info.world) if info.world in World._value2member_map_ else None
        return ProgramInfo(text(info.name), Role(info.role), info.entry, world)

    def _info(self, describe: Any, index: int) -> TensorInfo:
        info: Any = ffi.new("struct tzml_tensor_info *")
        describe(self._session, index, info)
        shape = tuple(info.dimensions[i] for i in range(info.dimension_count))
        return TensorInfo(text(info.name), np.dtype(DType(info.dtype).name), shape)

    def select(self, entry: int) -> None:
        """Make an entry point, by its number, the one that `run` runs. Raises RunError if there is no such."""
        check(library().tzml_select(self._open_session(), entry))
        self._entry = entry
        self._describe()

    def _select_program(self, name: str) -> None:
        known = {program.name: program.entry for program in self.programs}
        if name not in known:
            raise RunError("PROGRAM", f"the model has no program {name!r}", known_names(name, list(known)))
        if known[name] != self._entry:
            self.select(known[name])

    def reset(self) -> None:
        """Give the model's state its initial content again. Raises RunError."""
        check(library().tzml_reset(self._open_session()))

    def save(self, path: Path, *, note: bytes = b"", export: bool = False, give_up: bool = False) -> None:
        """Write a checkpoint of the state: docs/training.md, "Checkpoints".

        The file is there whole, and stays there after a power cut, before the device refuses older ones.

        Args:
            path: the file, which is replaced
            note: at most 64 bytes that come back with it, and that anybody can read
            export: for the export key of the grant, instead of for this device
            give_up: a checkpoint of this device that the session does not continue

        Raises RunError, and TzmlError if the file cannot be written.

        """
        size = library().tzml_checkpoint_size(self._open_session())
        data = np.empty(size, np.uint8)
        flags = (library().TZML_SAVE_EXPORT if export else 0) | (library().TZML_SAVE_GIVE_UP if give_up else 0)
        padded = note.ljust(NOTE_SIZE, b"\0")
        if len(padded) != NOTE_SIZE:
            raise ValueError(f"a note has at most {NOTE_SIZE} bytes, not {len(note)}")
        check(library().tzml_save(self._session, flags, padded, ffi.from_buffer(data.data), size))
        whole = data.tobytes()
        write_kept(path, whole[: file_size(whole)])
        if not export:
            check(library().tzml_confirm(self._session))

    def restore(self, path: Path) -> Checkpoint:
        """Give the state the content of a checkpoint, and say what can be read of that.

        One that is refused changes nothing, unless it is damaged behind its beginning: `reset` or another `restore`
        are needed then. Raises RunError, BundleError for a file that is no checkpoint, and TzmlError if the file
        cannot be read.
        """
        data = read_file(path)
        found = read_checkpoint(data)
        check(library().tzml_restore(self._open_session(), data, len(data)))
        return found

    def run(self, inputs: Array | Mapping[str, Array], program: str = "", request: str = "") -> Answer:
        """One run of the entry point that is selected, or of that with `program`, which is selected then.

        `request` is an id. Where the session has answered it with the same inputs, the run costs nothing of the
        grant's budget (docs/sealing.md, "A request that is sent again").

        `inputs` has an array for each input's name, or is the array itself when there is but one.
        Anything with `__dlpack__` counts as an array. Shapes and dtypes must be the model's: nothing
        is converted silently. Raises RunError.
        """
        if program:
            self._select_program(program)
        packed = self._packed(inputs)
        size = sum(info.size for info in self.outputs)
        outputs = np.empty(size, np.uint8)
        nanoseconds = ffi.new("uint64_t *")
        session, buffer = self._open_session(), ffi.from_buffer(outputs.data)
        before = _CpuTime.now()
        if request:
            name = request.encode()
            status = library().tzml_run_request(
                session, name, len(name), packed, len(packed), buffer, size, nanoseconds
            )
        else:
            status = library().tzml_run(session, packed, len(packed), buffer, size, nanoseconds)
        took = _CpuTime.now() - before
        check(status)
        self._cpu += took
        return Answer(self._unpack(outputs), nanoseconds[0] / 1e9, took.exact)

    def run_samples(self, samples: Sequence[Array | Mapping[str, Array]]) -> list[Answer]:
        """Run the entry point that is selected on several samples: what `run` gives for each.

        The world runs as many at once as it has memory for: weights that every run loads are loaded once for them.
        `seconds` and `cpu_seconds` are equal shares of what all took. Raises RunError, and then no sample counts.
        """
        packed = b"".join(self._packed(inputs) for inputs in samples)
        size = sum(info.size for info in self.outputs)
        outputs = np.empty((len(samples), size), np.uint8)
        nanoseconds = ffi.new("uint64_t *")
        session, buffer = self._open_session(), ffi.from_buffer(outputs.data)
        before = _CpuTime.now()
        status = library().tzml_run_samples(
            session, len(samples), packed, len(packed), buffer, outputs.nbytes, nanoseconds
        )
        took = _CpuTime.now() - before
        check(status)
        self._cpu += took
        count = max(1, len(samples))
        seconds, cpu_seconds = nanoseconds[0] / 1e9 / count, took.exact / count
        return [Answer(self._unpack(output), seconds, cpu_seconds) for output in outputs]

    def usage(self) -> Usage:
        """What the runs since the model was opened took."""
        cpu, sampled = self._cpu, self._cpu.user + self._cpu.kernel
        kernel = cpu.exact * cpu.kernel / sampled if sampled else 0.0
        return Usage(cpu.exact - kernel, kernel, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10)

    def _packed(self, inputs: Array | Mapping[str, Array]) -> bytes:
        if not isinstance(inputs, Mapping):
            inputs = {self.inputs[0].name: inputs}
        self._check_names(inputs)
        return b"".join(self._pack(info, inputs) for info in self.inputs)

    def _check_names(self, inputs: Mapping[str, Array]) -> None:
        known = [info.name for info in self.inputs]
        missing = [f"no array was given for the input {info}" for info in self.inputs if info.name not in inputs]
        extra = [name for name in inputs if name not in known]
        if missing or extra:
            what = [*missing[:1], *(f"the model has no input {name}" for name in extra[:1])]
            raise RunError("INPUT_NAME", ", and ".join(what), known_names(extra[0], known) if extra else "")

    def _pack(self, info: TensorInfo, inputs: Mapping[str, Array]) -> bytes:
        given = inputs[info.name]
        array = np.asarray(given) if isinstance(given, np.ndarray | np.generic) else np.from_dlpack(given)
        if array.dtype != info.dtype:
            raise RunError(
                "INPUT_TYPE",
                f"the model takes {info}, not {array.dtype}; convert it: x.astype(numpy.{info.dtype})",
            )
        if array.shape != info.shape:
            raise RunError("INPUT_SIZE", f"the model takes {info}, not shape {list(array.shape)}")
        return array.tobytes()

    def _unpack(self, outputs: NDArray[np.uint8]) -> dict[str, Array]:
        arrays, start = {}, 0
        for info in self.outputs:
            part = outputs[start : start + info.size]
            arrays[info.name] = part.view(info.dtype).reshape(info.shape)
            start += info.size
        return arrays

    def memory(self) -> MemoryUse:
        """What the model takes now, and took at most."""
        memory = ffi.new("struct tzml_memory *")
        check(library().tzml_memory(self._open_session(), memory))
        return MemoryUse(**{name: getattr(memory, name) for name in MemoryUse.__dataclass_fields__})

    def chunks(self) -> list[ChunkLoads]:
        """What loading the weights took since the model was opened, by chunk."""
        session = self._open_session()
        info: Any = ffi.new("struct tzml_chunk_info *")
        chunks = []
        for index in range(library().tzml_chunk_count(session)):
            library().tzml_chunk(session, index, info)
            chunks.append(ChunkLoads(info.size, info.loads, info.nanoseconds / 1e9))
        return chunks

    def program_use(self) -> list[ProgramUse]:
        """What the runs of each program took since the model was opened, in the order of `programs`."""
        session = self._open_session()
        use: Any = ffi.new("struct tzml_program_use *")
        found = []
        for index in range(len(self.programs)):
            library().tzml_program_use(session, index, use)
            found.append(ProgramUse(use.runs, use.nanoseconds / 1e9, use.input_size, use.output_size))
        return found

    def _open_session(self) -> Any:
        if self._session is None:
            raise TzmlError("the model is closed", "open it again")
        return self._session

    def close(self) -> None:
        """Wipe and give back the model's memory. A closed model may be closed again."""
        if self._session is not None:
            library().tzml_close(self._session)
            self._session = self._keep = None

    def __enter__(self) -> Model:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_model(
    bundle: str | os.PathLike[str] | int | bytes,
    world: World = World.tee,
    grant: bytes | None = None,
    *,
    wait: float = 0,
) -> Model:
    """Open a bundle: a file by its path or by a descriptor that is open for reading, or its bytes.

    The caller may close the descriptor afterwards. `grant` is for a sealed bundle at a path; without it, a grant
    that is appended to the bundle is taken. When OP-TEE has no room for another session, try again for `wait`
    seconds. Raises RunError when the world refuses the bundle or the grant.
    """
    deadline, pause = time.monotonic() + wait, 0.1
    while True:
        try:
            return _open_model(bundle, world, grant)
        except RunError as error:
            left = deadline - time.monotonic()
            if error.status != "BUSY" or left <= 0:
                raise
            time.sleep(min(pause, left))
            pause = min(2 * pause, 2)


def _open_model(bundle: str | os.PathLike[str] | int | bytes, world: World, grant: bytes | None) -> Model:
    lib, session, keep = library(), ffi.new("struct tzml_session **"), None
    if grant is not None:
        if isinstance(bundle, bytes | int):
            raise ValueError("a grant is given for a bundle at a path")
        path = os.fsencode(Path(bundle))
        status = lib.tzml_open_granted(path, ffi.from_buffer(grant), len(grant), world.value, session)
    elif isinstance(bundle, bytes):
        keep = ffi.from_buffer(bundle)
        status = lib.tzml_open_memory(keep, len(bundle), b"the bundle in memory", world.value, session)
    elif isinstance(bundle, int):
        status = lib.tzml_open_fd(bundle, b"the bundle", world.value, session)
    else:
        status = lib.tzml_open(os.fsencode(Path(bundle)), world.value, session)
    check(status)
    return Model(session[0], keep)


def check(status: int) -> None:
    """Raise RunError for a status that libtzml returned."""
    if status:
        lib = library()
        raise RunError(text(lib.tzml_status_name(status)), text(lib.tzml_error()))
