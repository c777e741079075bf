"""The plan: kernel calls with the places of their arguments. Data, not code."""

from __future__ import annotations

import enum
import itertools
import math
import struct
from dataclasses import dataclass

from tzml.bundle.format import ALIGNMENT, MAX_MEMORY, MAX_SECTIONS, require

MAGIC = b"PLAN"
VERSION = 1
MAX_SIZE = 1 << 20
MAX_TENSORS = 16
MAX_DIMENSIONS = 8
MAX_ARGUMENTS = 64

_HEADER = struct.Struct("<4s7IQQ32s16s")
_CHUNK = struct.Struct("<QQ")
_TENSOR = struct.Struct(f"<48sII{MAX_DIMENSIONS}IQQ24s")
_CALL = struct.Struct("<II8s")
_ARGUMENT = struct.Struct("<IIQQ")


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

    @property
    def itemsize(self) -> int:
        """Bytes of one element."""
        return {"float16": 2, "int16": 2, "float32": 4, "int32": 4, "int64": 8}.get(self.name, 1)


class Region(enum.IntEnum):
    """Where an argument lies."""

    arena = 1
    weights = 2


class Access(enum.IntFlag):
    """What a kernel does with an argument."""

    read = 1
    write = 2


@dataclass(frozen=True)
class Tensor:
    """An input or output of the model; `offset` in bytes from the start of the arena."""

    name: str
    dtype: DType
    shape: tuple[int, ...]
    offset: int

    @property
    def size(self) -> int:
        """Bytes."""
        return math.prod(self.shape) * self.dtype.itemsize


@dataclass(frozen=True)
class Chunk:
    """Weights that are loaded together: `size` bytes, to `offset` in the memory for weights.

    Chunks may share a place; one is then loaded over the other when a call takes it.
    """

    size: int
    offset: int

    def overlaps(self, other: Chunk) -> bool:
        """Whether the two share a byte of memory."""
        return self.offset < other.offset + other.size and other.offset < self.offset + self.size


@dataclass(frozen=True)
class Argument:
    """A pointer that a kernel gets: `size` bytes at `offset` of the arena or of a chunk of weights."""

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
    """One call of the kernel that has that index in the kernel library."""

    kernel: int
    arguments: tuple[Argument, ...]


@dataclass(frozen=True)
class Plan:
    """Everything that running a model takes besides kernels and weights.

    `arena_size` and `weights_size` are bytes of memory.
    """

    kernels_digest: bytes
    arena_size: int
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    weights_size: int = 0
    chunks: tuple[Chunk, ...] = ()
    calls: tuple[Call, ...] = ()

    def encode(self) -> bytes:
        """The bytes of the plan's section. Raises BundleError for a plan that no device would take."""
        arguments = [argument for call in self.calls for argument in call.arguments]
        tables = [_CHUNK.pack(chunk.size, chunk.offset) for chunk in self.chunks]
        tables += [_encode_tensor(tensor) for tensor in (*self.inputs, *self.outputs)]
        tables += [_CALL.pack(call.kernel, len(call.arguments), b"") for call in self.calls]
        tables += [_ARGUMENT.pack(a.region, a.chunk, a.offset, a.size) for a in arguments]
        body = b"".join(tables)
        counts = map(len, (self.inputs, self.outputs, self.chunks, self.calls, arguments))
        header = _HEADER.pack(
            MAGIC,
            VERSION,
            _HEADER.size + len(body),
            *counts,
            self.arena_size,
            self.weights_size,
            self.kernels_digest,
            b"",
        )
        data = header + body
        decode(data)
        return data


def decode(data: bytes) -> Plan:
    """Read a plan, with every check that runtime/plan.c makes without a kernel library."""
    _check(_HEADER.size <= len(data) <= MAX_SIZE, f"{len(data)} bytes")
    magic, version, size, *numbers, reserved = _HEADER.unpack_from(data)
    inputs, outputs, chunk_count, calls, arguments, arena_size, weights_size, kernels_digest = numbers
    _check(magic == MAGIC and version == VERSION, "not a plan of version 1")
    _check(size == len(data), f"{len(data)} bytes instead of {size}")
    _check(not any(reserved), "reserved bytes are not zero")
    _check_limits(inputs, outputs, chunk_count, calls, arguments, arena_size, weights_size)

    counts = (chunk_count, inputs + outputs, calls, arguments)
    places = _tables(counts)
    _check(places[-1].stop == len(data), "the tables do not fill the plan")
    _check(inputs > 0 and outputs > 0, "no inputs or no outputs")
    _check(arena_size > 0 and arena_size % ALIGNMENT == 0, f"arena of {arena_size} bytes")
    _check(weights_size % ALIGNMENT == 0, f"weights of {weights_size} bytes")

    chunks = tuple(Chunk(*_CHUNK.unpack_from(data, at)) for at in places[0])
    for number, chunk in enumerate(chunks):
        _check(_in_range(chunk.offset, chunk.size, weights_size), f"chunk {number} is out of range")
    tensors = [_decode_tensor(data, at, arena_size) for at in places[1]]
    _check_inputs(tensors[:inputs])
    everything = [_decode_argument(data, at, arena_size, chunks) for at in places[3]]
    return Plan(
        kernels_digest=kernels_digest,
        arena_size=arena_size,
        inputs=tuple(tensors[:inputs]),
        outputs=tuple(tensors[inputs:]),
        weights_size=weights_size,
        chunks=chunks,
        calls=_decode_calls(data, places[2], everything, chunks),
    )


def _check(condition: bool, what: str) -> None:
    require(condition, "PLAN_MALFORMED", f"plan: {what}")


def _check_limits(
    inputs: int, outputs: int, chunks: int, calls: int, arguments: int, arena_size: int, weights_size: int
) -> None:
    for what, number, limit in (
        ("inputs", inputs, MAX_TENSORS),
        ("outputs", outputs, MAX_TENSORS),
        ("chunks", chunks, MAX_SECTIONS),
        ("calls", calls, MAX_SIZE),
        ("arguments", arguments, MAX_SIZE),
        ("arena bytes", arena_size, MAX_MEMORY),
        ("weights bytes", weights_size, MAX_MEMORY),
    ):
        require(number <= limit, "LIMIT", f"plan: {number} {what}; at most {limit}")


def _tables(counts: tuple[int, int, int, int]) -> list[range]:
    """Where each table's entries start: chunks, tensors, calls, arguments."""
    places, start = [], _HEADER.size
    for count, entry in zip(counts, (_CHUNK, _TENSOR, _CALL, _ARGUMENT), strict=True):
        places.append(range(start, start + count * entry.size, entry.size))
        start = places[-1].stop
    return places


def _in_range(offset: int, size: int, limit: int) -> bool:
    return size > 0 and offset + size <= limit and offset % ALIGNMENT == 0


def _encode_tensor(tensor: Tensor) -> bytes:
    name = tensor.name.encode()
    _check(0 < len(name) < 48, f"tensor name {tensor.name!r} must have 1 to 47 bytes")
    _check(len(tensor.shape) <= MAX_DIMENSIONS, f"{tensor.name} has over {MAX_DIMENSIONS} dimensions")
    shape = tensor.shape + (0,) * (MAX_DIMENSIONS - len(tensor.shape))
    return _TENSOR.pack(name, tensor.dtype, len(tensor.shape), *shape, tensor.offset, tensor.size, b"")


def _decode_tensor(data: bytes, at: int, arena_size: int) -> Tensor:
    name, dtype, count, *numbers, reserved = _TENSOR.unpack_from(data, at)
    shape, (offset, size) = tuple(numbers[:MAX_DIMENSIONS]), numbers[MAX_DIMENSIONS:]
    _check(name[0] != 0 and name[-1] == 0, "a tensor's name is empty or not terminated")
    _check(dtype in DType._value2member_map_, f"unknown dtype {dtype}")
    _check(count <= MAX_DIMENSIONS and not any(shape[count:]), f"{count} dimensions")
    _check(not any(reserved), "reserved bytes are not zero")
    text = name.split(b"\0")[0].decode(errors="replace")
    tensor = Tensor(text, DType(dtype), shape[:count], offset)
    _check(tensor.size == size, f"{text} has {size} bytes instead of {tensor.size}")
    _check(_in_range(offset, size, arena_size), f"{text} does not lie in the arena")
    return tensor


def _check_inputs(inputs: list[Tensor]) -> None:
    places = [Argument(Region.arena, tensor.offset, tensor.size) for tensor in inputs]
    for i, place in enumerate(places):
        _check(not any(map(place.overlaps, places[:i])), "two inputs overlap")


def _decode_argument(data: bytes, at: int, arena_size: int, chunks: tuple[Chunk, ...]) -> Argument:
    region, chunk, offset, size = _ARGUMENT.unpack_from(data, at)
    _check(region in Region._value2member_map_, f"unknown region {region}")
    in_arena = region == Region.arena
    _check(chunk == 0 if in_arena else chunk < len(chunks), f"no chunk {chunk}")
    limit = arena_size if in_arena else chunks[chunk].size
    _check(_in_range(offset, size, limit), f"an argument at {offset} with {size} bytes is out of range")
    return Argument(Region(region), offset, size, chunk)


def _decode_calls(
    data: bytes, places: range, arguments: list[Argument], chunks: tuple[Chunk, ...]
) -> tuple[Call, ...]:
    entries = [_CALL.unpack_from(data, at) for at in places]
    _check(not any(any(reserved) for _, _, reserved in entries), "reserved bytes are not zero")
    _check(all(count <= MAX_ARGUMENTS for _, count, _ in entries), "a call has too many arguments")
    _check(sum(count for _, count, _ in entries) == len(arguments), "the calls do not use all arguments")
    remaining = iter(arguments)
    calls = tuple(Call(kernel, tuple(next(remaining) for _ in range(count))) for kernel, count, _ in entries)
    for call in calls:
        _check_chunks_can_meet({a.chunk for a in call.arguments if a.region == Region.weights}, chunks)
    return calls


def _check_chunks_can_meet(taken: set[int], chunks: tuple[Chunk, ...]) -> None:
    """Two chunks that one call takes cannot lie in the same place."""
    for a, b in itertools.combinations(sorted(taken), 2):
        _check(not chunks[a].overlaps(chunks[b]), f"a call takes chunks {a} and {b}, which share a place")


assert _HEADER.size == 96
assert _TENSOR.size == 128
assert _CALL.size == 16
