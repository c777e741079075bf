"""A plan section: a program's kernel calls with the places of their arguments. Data, not code."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterator

from tzml.bundle.content import Argument, Call, Chunk, Memory, Port, Program, Region, Tensor
from tzml.bundle.format import (
    ALIGNMENT,
    DIGEST_SIZE,
    MAX_ARGUMENTS,
    MAX_LIBRARIES,
    MAX_PLAN_SIZE,
    require,
)
from tzml.bundle.interface import ProgramInterface

_MAGIC = b"PLAN"
_HEADER = struct.Struct(f"<4s5I8s{DIGEST_SIZE}s")
_PLACE = struct.Struct("<IIQ")
_CALL = struct.Struct("<II")
_ARGUMENT = struct.Struct("<IIQQ")


def encode_plan(program: Program) -> bytes:
    """The bytes of the section. `decode_plan` has the checks, which take the rest of the bundle."""
    ports = (*program.inputs, *program.outputs)
    arguments = [argument for call in program.calls for argument in call.arguments]
    tables = [_PLACE.pack(port.region, 0, port.offset) for port in ports]
    tables += [_CALL.pack(call.kernel, len(call.arguments)) for call in program.calls]
    tables += [_ARGUMENT.pack(a.region, a.chunk, a.offset, a.size) for a in arguments]
    body = b"".join(tables)
    counts = (len(ports), len(program.calls), len(arguments))
    size = _HEADER.size + len(body)
    return _HEADER.pack(_MAGIC, size, program.library, *counts, b"", program.kernels_digest) + body


def decode_plan(data: bytes, program: ProgramInterface, tensors: tuple[Tensor, ...], memory: Memory) -> Program:
    """Read a program's plan, with every check that runtime/plan.c makes without a kernel library.

    Raises BundleError.
    """
    _check(_HEADER.size <= len(data), f"only {len(data)} bytes")
    magic, size, library, ports, calls, arguments, reserved, digest = _HEADER.unpack_from(data)
    _check(magic == _MAGIC and size == len(data), "not a plan")
    _check(not any(reserved), "reserved bytes are not zero")
    for what, number, limit in (
        ("libraries", library + 1, MAX_LIBRARIES),
        ("calls", calls, MAX_PLAN_SIZE),
        ("arguments", arguments, MAX_PLAN_SIZE),
    ):
        require(number <= limit, "LIMIT", f"plan: {number} {what}; at most {limit}")
    _check(ports == len(program.inputs) + len(program.outputs), f"{ports} places for the ports of {program.name}")
    starts = list(
        itertools.accumulate(
            (ports * _PLACE.size, calls * _CALL.size, arguments * _ARGUMENT.size), initial=_HEADER.size
        )
    )
    _check(starts[-1] == size <= MAX_PLAN_SIZE, "the tables do not fill the plan")

    numbers = (*program.inputs, *program.outputs)
    places = [
        _decode_place(fields, number, tensors[number], memory)
        for fields, number in zip(_PLACE.iter_unpack(data[starts[0] : starts[1]]), numbers, strict=True)
    ]
    inputs, outputs = places[: len(program.inputs)], places[len(program.inputs) :]
    _check_inputs(inputs, tensors)
    everything = [_decode_argument(fields, memory) for fields in _ARGUMENT.iter_unpack(data[starts[2] :])]
    return Program(
        name=program.name,
        inputs=tuple(inputs),
        outputs=tuple(outputs),
        calls=tuple(_decode_calls(data[starts[1] : starts[2]], everything, memory.chunks)),
        kernels_digest=digest,
        library=library,
        role=program.role,
        worlds=program.worlds,
        entry=program.entry,
    )


def _decode_place(fields: tuple[int, ...], number: int, tensor: Tensor, memory: Memory) -> Port:
    region, reserved, offset = fields
    _check(region in (Region.arena, Region.state) and reserved == 0, f"{tensor.name} lies in region {region}")
    limit = memory.arena_size if region == Region.arena else memory.state_size
    _check(_in_range(offset, tensor.size, limit), f"{tensor.name} does not lie in the {Region(region).name}")
    return Port(number, offset, Region(region))


def _check_inputs(inputs: list[Port], tensors: tuple[Tensor, ...]) -> None:
    places = [Argument(port.region, port.offset, tensors[port.tensor].size) for port in inputs]
    for i, place in enumerate(places):
        _check(place.region == Region.arena, "an input lies in the state")
        _check(not any(map(place.overlaps, places[:i])), "two inputs overlap")


def _decode_argument(fields: tuple[int, ...], memory: Memory) -> Argument:
    region, chunk, offset, size = fields
    _check(region in Region._value2member_map_, f"unknown region {region}")
    if region == Region.weights:
        _check(chunk < len(memory.chunks), f"no chunk {chunk}")
        limit = memory.chunks[chunk].size
    else:
        _check(chunk == 0, f"chunk {chunk} outside of the weights")
        limit = memory.arena_size if region == Region.arena else memory.state_size
    _check(_in_range(offset, size, limit), f"an argument at {offset} with {size} bytes is out of range")
    return Argument(Region(region), offset, size, chunk)


def _in_range(offset: int, size: int, limit: int) -> bool:
    return size > 0 and offset + size <= limit and offset % ALIGNMENT == 0


def _decode_calls(table: bytes, arguments: list[Argument], chunks: tuple[Chunk, ...]) -> Iterator[Call]:
    used = 0
    for kernel, count in _CALL.iter_unpack(table):
        _check(count <= MAX_ARGUMENTS, f"a call has {count} arguments")
        own = tuple(arguments[used : used + count])
        used += count
        _check(len(own) == count, "the calls take more arguments than there are")
        _check_chunks_can_meet({a.chunk for a in own if a.region == Region.weights}, chunks)
        yield Call(kernel, own)
    _check(used == len(arguments), "the calls do not use all arguments")


def _check_chunks_can_meet(taken: set[int], chunks: tuple[Chunk, ...]) -> None:
    """Two chunks that one call takes cannot lie in the same place."""
    for a, b in itertools.combinations(sorted(taken), 2):
        _check(not chunks[a].overlaps(chunks[b]), f"a call takes chunks {a} and {b}, which share a place")


def _check(condition: bool, what: str) -> None:
    require(condition, "PLAN_MALFORMED", f"plan: {what}")


assert _HEADER.size == 64
assert _CALL.size == 8
