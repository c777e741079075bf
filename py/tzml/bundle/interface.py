"""The interface section: programs and the tensors that they take and give (docs/bundle.md, "Interface")."""

from __future__ import annotations

import struct
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tzml.bundle.content import Direction, DType, Port, Program, Role, Tensor, Worlds
from tzml.bundle.format import (
    MAX_DIMENSIONS,
    MAX_INTERFACE_SIZE,
    MAX_MEMORY,
    MAX_NAME_SIZE,
    MAX_PORTS,
    MAX_PROGRAMS,
    MAX_TENSORS,
    require,
)

_MAGIC = b"INTF"
_GIVEN = (Direction.input, Direction.random)
"""What comes from outside of all programs."""

_HEADER = struct.Struct("<4s5I8s")
_PROGRAM = struct.Struct("<8I")
_TENSOR = struct.Struct(f"<4I{MAX_DIMENSIONS}IQII")
_PORT = struct.Struct("<I")


@dataclass(frozen=True)
class ProgramInterface:
    """What a caller knows of a program; `inputs` and `outputs` are numbers of tensors."""

    name: str
    role: Role
    worlds: Worlds
    entry: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True)
class Interface:
    """The content of the section."""

    programs: tuple[ProgramInterface, ...]
    tensors: tuple[Tensor, ...]


def interface_of(programs: Iterable[Program], tensors: tuple[Tensor, ...]) -> Interface:
    """What callers know of some programs."""

    def numbers(ports: tuple[Port, ...]) -> tuple[int, ...]:
        return tuple(port.tensor for port in ports)

    known = (
        ProgramInterface(p.name, p.role, p.worlds, p.entry, numbers(p.inputs), numbers(p.outputs)) for p in programs
    )
    return Interface(tuple(known), tensors)


def encode_interface(interface: Interface) -> bytes:
    """The bytes of the section. Raises BundleError for an interface that no device would take."""
    strings, names = bytearray(), []
    for name in (*(p.name for p in interface.programs), *(t.name for t in interface.tensors)):
        encoded = name.encode(errors="surrogatepass")
        names.append((len(strings), len(encoded)))
        strings += encoded + b"\0"
    place = iter(names)
    tables = [
        _PROGRAM.pack(*next(place), p.role, p.worlds, p.entry, len(p.inputs), len(p.outputs), 0)
        for p in interface.programs
    ]
    for t in interface.tensors:
        _check(len(t.shape) <= MAX_DIMENSIONS, f"{t.name} has more than {MAX_DIMENSIONS} dimensions")
        shape = t.shape + (0,) * (MAX_DIMENSIONS - len(t.shape))
        _check(t.size <= MAX_MEMORY, f"{t.name} has {t.size} bytes")
        tables.append(_TENSOR.pack(*next(place), t.dtype, len(t.shape), *shape, t.size, t.direction, 0))
    ports = [port for p in interface.programs for port in (*p.inputs, *p.outputs)]
    tables += [_PORT.pack(port) for port in ports]
    body = b"".join(tables) + strings
    counts = (len(interface.programs), len(interface.tensors), len(ports), len(strings))
    data = _HEADER.pack(_MAGIC, _HEADER.size + len(body), *counts, b"") + body
    decode_interface(data)
    return data


def decode_interface(data: bytes) -> Interface:
    """Read the section, with every check that runtime/interface.c makes. Raises BundleError."""
    _check(_HEADER.size <= len(data), f"only {len(data)} bytes")
    magic, size, programs, tensors, ports, strings_size, reserved = _HEADER.unpack_from(data)
    _check(magic == _MAGIC and size == len(data) and not any(reserved), "not an interface")
    for what, number, limit in (
        ("programs", programs, MAX_PROGRAMS),
        ("tensors", tensors, MAX_TENSORS),
        ("ports", ports, 2 * MAX_PORTS * MAX_PROGRAMS),
        ("bytes of strings", strings_size, MAX_INTERFACE_SIZE),
    ):
        require(number <= limit, "LIMIT", f"the interface has {number} {what}; at most {limit}")
    sizes = (programs * _PROGRAM.size, tensors * _TENSOR.size, ports * _PORT.size, strings_size)
    _check(_HEADER.size + sum(sizes) == size, "the tables do not fill the interface")
    _check(programs >= 1 and tensors >= 2, f"{programs} programs and {tensors} tensors")

    starts = [_HEADER.size + sum(sizes[:i]) for i in range(len(sizes))]
    names = _Names(data[starts[3] :])
    numbers = [number for (number,) in _PORT.iter_unpack(data[starts[2] : starts[3]])]
    _check(all(number < tensors for number in numbers), "a port has no tensor")
    found = Interface(
        tuple(_decode_programs(data[starts[0] : starts[1]], numbers, names)),
        tuple(_decode_tensor(fields, names) for fields in _TENSOR.iter_unpack(data[starts[1] : starts[2]])),
    )
    names.check_end()
    _check_unique("programs", [p.name for p in found.programs])
    _check_unique("tensors", [t.name for t in found.tensors])
    _check_flow(found)
    return found


class _Names:
    """The strings, which names take one after another."""

    def __init__(self, strings: bytes) -> None:
        self.strings, self.end = strings, 0

    def take(self, offset: int, size: int) -> str:
        require(size <= MAX_NAME_SIZE, "LIMIT", f"a name has {size} bytes; at most {MAX_NAME_SIZE}")
        in_place = offset == self.end and size > 0 and offset + size < len(self.strings)
        _check(in_place and self.strings[offset + size] == 0, "a name is not where it belongs")
        self.end = offset + size + 1
        try:
            name = self.strings[offset : offset + size].decode()
        except UnicodeDecodeError:
            name = "\0"
        _check(is_printable(name), "a name has bytes that cannot be shown")
        return name

    def check_end(self) -> None:
        _check(self.end == len(self.strings), "the names do not use up the strings")


def is_printable(name: str) -> bool:
    """Whether a name has no control character (U+0000 to U+001F, U+007F to U+009F)."""
    return not any(unicodedata.category(character) == "Cc" for character in name)


def _decode_programs(table: bytes, ports: list[int], names: _Names) -> Iterator[ProgramInterface]:
    used = 0
    for offset, size, role, worlds, entry, inputs, outputs, reserved in _PROGRAM.iter_unpack(table):
        name = names.take(offset, size)
        require(role in Role._value2member_map_, "UNSUPPORTED", f"{name} has the role {role}")
        require(max(inputs, outputs) <= MAX_PORTS, "LIMIT", f"{name} has {inputs} inputs and {outputs} outputs")
        _check(1 <= worlds <= 3 and reserved == 0, f"the worlds of {name} are {worlds}")
        _check(inputs > 0 and outputs > 0, f"{name} has {inputs} inputs and {outputs} outputs")
        own = ports[used : used + inputs + outputs]
        used += inputs + outputs
        _check(len(own) == inputs + outputs, "there are too few ports")
        yield ProgramInterface(name, Role(role), Worlds(worlds), entry, tuple(own[:inputs]), tuple(own[inputs:]))
    _check(used == len(ports), "there are too many ports")


def _decode_tensor(fields: tuple[int, ...], names: _Names) -> Tensor:
    offset, size_of_name, dtype, count, *dimensions, size, flags, reserved = fields
    name = names.take(offset, size_of_name)
    require(dtype in DType._value2member_map_, "UNSUPPORTED", f"{name} has the dtype {dtype}")
    _check(count <= MAX_DIMENSIONS and not any(dimensions[count:]), f"{name} has {count} dimensions")
    _check(flags in Direction._value2member_map_ and reserved == 0, f"{name} has the flags {flags}")
    tensor = Tensor(name, DType(dtype), tuple(dimensions[:count]), Direction(flags))
    _check(tensor.size == size and 0 < size <= MAX_MEMORY, f"{name} has {size} bytes instead of {tensor.size}")
    return tensor


def _check_unique(what: str, names: list[str]) -> None:
    _check(len(set(names)) == len(names), f"two {what} have the same name")


def _check_flow(interface: Interface) -> None:
    """Entry points are in order, and what a program takes was given by the caller or an earlier program."""
    directions = [tensor.direction for tensor in interface.tensors]
    given_by_program: set[int] = set()
    taken: set[int] = set()
    previous: ProgramInterface | None = None
    made: set[int] = set()  # by the programs of this entry point
    waiting: set[int] = set()  # for a later program of it
    for program in interface.programs:
        if previous is None or program.entry != previous.entry:
            _check(program.entry == (previous.entry + 1 if previous else 0), "the entry points are out of order")
            _check(not waiting, "a tensor leaves a program, and no later one takes it")
            made = set()
        else:
            _check(program.role == previous.role, f"{program.name} has another role than the one before it")
        for ports in (program.inputs, program.outputs):
            _check(len(set(ports)) == len(ports), f"{program.name} has a port twice")
        for number in program.inputs:
            _check(directions[number] in _GIVEN or number in made, f"nothing gives input {number}")
        waiting -= set(program.inputs)
        taken |= set(program.inputs)
        for number in program.outputs:
            _check(directions[number] not in _GIVEN and number not in made, f"output {number} has two sources")
            if directions[number] == Direction.between:
                waiting.add(number)
        made |= set(program.outputs)
        given_by_program |= made
        previous = program
    _check(not waiting, "a tensor leaves a program, and no later one takes it")
    for number, direction in enumerate(directions):
        used = taken if direction in _GIVEN else given_by_program
        _check(number in used, f"tensor {number} is no port of a program")


def _check(condition: bool, what: str) -> None:
    require(condition, "INTERFACE_MALFORMED", f"interface: {what}")


assert _HEADER.size == 32
assert _PROGRAM.size == 32
assert _TENSOR.size == 64
