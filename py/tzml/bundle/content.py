"""What a bundle is made of: tensors, programs and the memory they work on. docs/bundle.md explains the terms."""

from __future__ import annotations

import enum
import math
import re
from dataclasses import dataclass

Buffer = bytes | bytearray | memoryview


@dataclass(frozen=True, eq=False)
class Content:
    """Bytes in several parts, none of which is copied: a model's weights are large."""

    parts: tuple[Buffer, ...]

    def __len__(self) -> int:
        return sum(len(part) for part in self.parts)

    def tobytes(self) -> bytes:
        """All of it, copied."""
        return b"".join(self.parts)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Content) and self.tobytes() == other.tobytes()

    def __hash__(self) -> int:
        return hash(self.tobytes())


class Target(enum.IntEnum):
    """Processors that kernels are compiled for."""

    aarch64 = 1
    x86_64 = 2


class Worlds(enum.IntFlag):
    """Which worlds may run a program or read a section: the TEE, the normal world (REE), or either."""

    tee = 1
    ree = 2


BOTH = Worlds.tee | Worlds.ree


class OutputPolicy(enum.IntEnum):
    """What of its outputs a device gives to the caller: docs/bundle.md, "Grant (.tzg)"."""

    full = 0
    top_k = 1
    top_1 = 2
    ranks = 3
    rounded = 4
    sealed = 5

    @property
    def gives_indices(self) -> bool:
        """Whether the caller gets indices in the place of numbers."""
        return self in (OutputPolicy.top_k, OutputPolicy.top_1, OutputPolicy.ranks)


class Role(enum.IntEnum):
    """What a program is for."""

    infer = 1
    accumulate = 2
    update = 3
    evaluate = 4


class DType(enum.IntEnum):
    """Element types, named as NumPy names them."""

    float32 = 1
    float16 = 2
    int8 = 3
    uint8 = 4
    int16 = 5
    int32 = 6
    int64 = 7
    bool = 8
    uint16 = 9
    uint32 = 10
    uint64 = 11
    float64 = 12

    @property
    def itemsize(self) -> int:
        """Bytes of one element."""
        return 1 if self.name == "bool" else int(re.sub(r"\D+", "", self.name)) // 8


class Region(enum.IntEnum):
    """The kinds of memory that an argument can lie in."""

    arena = 1
    weights = 2
    state = 3


class Access(enum.IntFlag):
    """What a kernel does with an argument. Scratch memory is only written: its old content does not matter."""

    read = 1
    write = 2


class Direction(enum.IntEnum):
    """Who gives or takes a tensor: the caller, another program, or the world that runs it, with random bytes."""

    between = 0
    input = 1
    output = 2
    random = 4


@dataclass(frozen=True)
class Tensor:
    """A value that enters or leaves a program."""

    name: str
    dtype: DType
    shape: tuple[int, ...]
    direction: Direction = Direction.between

    @property
    def size(self) -> int:
        """Bytes."""
        return math.prod(self.shape) * self.dtype.itemsize


@dataclass(frozen=True)
class Port:
    """An input or output of a program: the tensor with that number, at `offset` bytes of the arena or state."""

    tensor: int
    offset: int
    region: Region = Region.arena


@dataclass(frozen=True)
class Argument:
    """A pointer that a kernel gets: `size` bytes at `offset` of the arena, a chunk of weights, or the state."""

    region: Region
    offset: int
    size: int
    chunk: int = 0

    def overlaps(self, other: Argument) -> bool:
        """Whether the two share a byte."""
        return (
            (self.region, self.chunk) == (other.region, other.chunk)
            and self.offset < other.offset + other.size
            and other.offset < self.offset + self.size
        )


@dataclass(frozen=True)
class Call:
    """One call of the kernel that has that index in the program's kernel library."""

    kernel: int
    arguments: tuple[Argument, ...]


@dataclass(frozen=True)
class Program:
    """A list of kernel calls with inputs and outputs of its own.

    `library` is the number of the kernel library that the calls are made in, and `kernels_digest` names its
    content. Programs with the same number `entry` follow each other when the caller runs that entry point.
    """

    name: str
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    calls: tuple[Call, ...]
    kernels_digest: bytes
    library: int = 0
    role: Role = Role.infer
    worlds: Worlds = BOTH
    entry: int = 0


@dataclass(frozen=True)
class Chunk:
    """Weights that are loaded together: `size` bytes, to `offset` of the memory for weights.

    Chunks may share a place; one is then loaded over the other when a call takes it. A piece of state has the
    same form: `size` bytes of initial content, at `offset` of the state.
    """

    size: int
    offset: int

    def overlaps(self, other: Chunk) -> bool:
        """Whether the two share a byte of memory."""
        return self.offset < other.offset + other.size and other.offset < self.offset + self.size


@dataclass(frozen=True)
class UpdateNoise:
    """The noise of a private model: what a device adds to sums in the state before each update.

    `sums` is where they begin, `count` how many there are, int32 each; `deviation` is that of a discrete Gaussian.
    What lies before the sums is all that leaves the model.
    """

    sums: int
    count: int
    deviation: int

    @property
    def multiplier(self) -> float:
        """The deviation in clips, as `tzml compile --noise` takes it: a clip has 65,536 units."""
        return self.deviation / 65536


@dataclass(frozen=True)
class Memory:
    """The memory that the programs of some worlds work on; sizes in bytes.

    `weights_size` is the memory that `chunks` are loaded into. `pieces` are the initial content of the state;
    the rest of the state begins as zeros. A private model has `noise`.
    """

    arena_size: int
    weights_size: int = 0
    state_size: int = 0
    chunks: tuple[Chunk, ...] = ()
    pieces: tuple[Chunk, ...] = ()
    worlds: Worlds = BOTH
    noise: UpdateNoise | None = None


@dataclass(frozen=True)
class Library:
    """A kernel library for each world: a signed OP-TEE image, and an ELF shared object for Linux.

    One that is missing is empty: its programs then do not run in that world.
    """

    tee: bytes = b""
    ree: bytes = b""
