"""Bundle files: write them, and read them with every check that the device makes too."""

from __future__ import annotations

import mmap
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from tzml.bundle import container
from tzml.bundle.container import Header, Row, Section, SectionTable, SectionType, rows_of
from tzml.bundle.content import (
    BOTH,
    Buffer,
    Chunk,
    Content,
    Direction,
    Library,
    Memory,
    Program,
    Target,
    Tensor,
    Worlds,
)
from tzml.bundle.format import align, pages, require
from tzml.bundle.identity import NO_IDENTITY
from tzml.bundle.interface import Interface, decode_interface, encode_interface, interface_of
from tzml.bundle.memory import First, decode_memory, encode_memory
from tzml.bundle.plan import decode_plan, encode_plan
from tzml.errors import TzmlError
from tzml.files import written

_CHECK_BYTES = 24  # that the TA takes for each argument and port while it checks a program's calls


@dataclass(frozen=True)
class Bundle:
    """A whole model.

    `chunks` are the contents of the weights sections, `pieces` those of the state sections, of all memories one
    after the other. `code_memory` are the bytes of secure memory that the TA and the mapped kernel libraries take.
    """

    target: Target
    tensors: tuple[Tensor, ...]
    programs: tuple[Program, ...]
    memories: tuple[Memory, ...]
    libraries: tuple[Library, ...] = (Library(),)
    chunks: tuple[Content, ...] = ()
    pieces: tuple[Content, ...] = ()
    metadata: bytes = b""
    notes: bytes = b""
    model_id: uuid.UUID = NO_IDENTITY
    model_version: int = 1
    code_memory: int = 0

    @property
    def program(self) -> Program:
        """The only program of a model that is not split."""
        (program,) = self.programs
        return program

    @property
    def memory(self) -> Memory:
        """The only memory of a model that is not split."""
        (memory,) = self.memories
        return memory

    def memory_of(self, program: Program) -> Memory:
        """The memory that a program works on."""
        return next(memory for memory in self.memories if program.worlds in memory.worlds)

    def inputs(self, entry: int = 0) -> list[Tensor]:
        """What the caller gives to an entry point, in the order of tensor numbers."""
        taken = {port.tensor for p in self.programs if p.entry == entry for port in p.inputs}
        return [t for i, t in enumerate(self.tensors) if i in taken and t.direction == Direction.input]

    def outputs(self, entry: int = 0) -> list[Tensor]:
        """What the caller gets from an entry point, in the order of tensor numbers."""
        given = {port.tensor for p in self.programs if p.entry == entry for port in p.outputs}
        return [t for i, t in enumerate(self.tensors) if i in given and t.direction == Direction.output]

    @property
    def secure_memory(self) -> int:
        """How many bytes of secure memory the model takes at most, everything included."""
        return self.mapped_memory + self.code_memory

    @property
    def mapped_memory(self) -> int:
        """How many bytes the TA maps for the model at most: docs/bundle.md, "Secure memory".

        It maps exactly so many when it installs the kernel libraries. A model with no part in the TEE counts as if
        all of it ran there.
        """
        worlds = Worlds.tee if any(memory.worlds & Worlds.tee for memory in self.memories) else Worlds.ree
        sections = self.sections()
        own = [s for s in sections if s.worlds & worlds]
        kinds = (SectionType.interface, SectionType.memory, SectionType.plan)
        tables = sum(align(len(s.content)) for s in own if s.type in kinds)
        tables += sum(s.type == SectionType.weights for s in own)
        memory = next(m for m in self.memories if m.worlds & worlds)
        running = pages(memory.arena_size, memory.weights_size, memory.state_size)
        checking = max((_CHECK_BYTES * _operands(p) for p in self.programs if p.worlds & worlds), default=0)
        loading = max((len(library.tee) for library in self.libraries), default=0)
        header = Header(self.target, section_count=len(sections)).header_size
        return pages(header, tables) + max(running, pages(checking), pages(loading))

    def sections(self) -> list[Section]:
        """The sections in the order in which they are written."""

        def section(kind: SectionType, data: bytes, index: int = 0, worlds: Worlds = BOTH) -> Section:
            return Section(kind, Content((data,)), index, worlds)

        found = [section(SectionType.interface, encode_interface(interface_of(self.programs, self.tensors)))]
        first = First()
        for index, memory in enumerate(self.memories):
            found.append(section(SectionType.memory, encode_memory(memory, first), index, memory.worlds))
            first = first.after(memory)
        for index, program in enumerate(self.programs):
            found.append(section(SectionType.plan, encode_plan(program), index, program.worlds))
        for index, library in enumerate(self.libraries):
            for worlds, data in ((Worlds.tee, library.tee), (Worlds.ree, library.ree)):
                if data:
                    found.append(section(SectionType.kernels, data, index, worlds))
        for kind, data in ((SectionType.metadata, self.metadata), (SectionType.notes, self.notes)):
            if data:
                found.append(section(kind, data))
        found += _of_memories(SectionType.state, self.pieces, [(m, m.pieces) for m in self.memories])
        found += _of_memories(SectionType.weights, self.chunks, [(m, m.chunks) for m in self.memories])
        return found

    def header(self) -> Header:
        """The header's fields but those that follow from the sections."""
        return Header(
            self.target,
            model_id=self.model_id,
            model_version=self.model_version,
            secure_memory=self.secure_memory,
            code_memory=self.code_memory,
        )

    def encode(self) -> bytes:
        """The bytes of the file, for a small bundle; the same bundle always gives the same bytes."""
        self.check()
        return container.encode(self.header(), self.sections())

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return container.file_size(self.sections())

    def write(self, path: Path) -> None:
        """Write the file as tzml.files does. Raises BundleError if no device would take it, or TzmlError.

        Weights are written where they are: beside the bundle itself, this takes little memory.
        """
        with written(path) as file:
            self.write_into(file)

    def write_into(self, file: BinaryIO) -> None:
        """Write to a file that can seek. Raises BundleError if no device would take the bundle."""
        self.check()
        container.write(file, self.header(), self.sections())

    def check(self) -> None:
        """Raises BundleError for a bundle that no device would take; what is in the weights does not matter."""
        by_type: dict[SectionType, list[bytes]] = {}
        for section in self.sections():
            if section.type <= SectionType.plan:
                by_type.setdefault(section.type, []).append(section.content.tobytes())
        _check_sizes("chunks", self.chunks, [m.chunks for m in self.memories])
        _check_sizes("pieces of state", self.pieces, [m.pieces for m in self.memories])
        (interface,) = by_type[SectionType.interface]
        decode_programs(interface, list(self.memories), by_type.get(SectionType.plan, []))


def decode_programs(
    interface: bytes, memories: list[Memory], plans: list[bytes]
) -> tuple[tuple[Tensor, ...], tuple[Program, ...]]:
    """The tensors and programs, from the sections that describe them. Raises BundleError."""
    found = decode_interface(interface)
    _check(len(plans) == len(found.programs), f"{len(found.programs)} programs and {len(plans)} plans")
    _check_worlds(memories)
    programs = []
    for program, plan in zip(found.programs, plans, strict=True):
        own = [memory for memory in memories if program.worlds in memory.worlds]
        _check(len(own) == 1, f"no memory is for all worlds of {program.name}")
        programs.append(decode_plan(plan, program, found.tensors, own[0]))
    for memory in memories:
        _check(any(p.worlds in memory.worlds for p in programs), "a memory has no program")
    return found.tensors, tuple(programs)


def read(path: Path, key: bytes | None = None) -> Bundle:
    """Read and check a bundle file. The weights stay in the file, which must not change meanwhile.

    `key` is the content key, if the bundle is sealed. Raises BundleError, or TzmlError if it cannot be read.
    """
    return decode(_map(path), key)


def decode(data: Buffer | mmap.mmap, key: bytes | None = None) -> Bundle:
    """Read a bundle from its bytes, with the checks of runtime/.

    Only what takes the kernel library, or the device, is left to the device.
    """
    view = memoryview(data)
    table = container.read_table(view)

    def contents(kind: SectionType) -> Iterator[tuple[Row, Content]]:
        return ((row, container.open_section(view, table, row, key)) for row in rows_of(table, kind))

    ((_, interface),) = contents(SectionType.interface)
    decode_interface(interface.tobytes())
    memories: list[Memory] = []
    first = First()
    for row, content in contents(SectionType.memory):
        memories.append(decode_memory(content.tobytes(), Worlds(row.worlds), first))
        first = first.after(memories[-1])
    plans = list(contents(SectionType.plan))
    tensors, programs = decode_programs(interface.tobytes(), memories, [plan.tobytes() for _, plan in plans])
    same = all(row.worlds == p.worlds for (row, _), p in zip(plans, programs, strict=True))
    _check(same, "a plan is for other worlds than its program")
    _check_rows(table, SectionType.weights, [(m, m.chunks) for m in memories])
    _check_rows(table, SectionType.state, [(m, m.pieces) for m in memories])

    libraries: dict[int, dict[int, bytes]] = {}
    for row, content in contents(SectionType.kernels):
        libraries.setdefault(row.index, {})[row.worlds] = content.tobytes()
    bundle = Bundle(
        target=table.header.target,
        tensors=tensors,
        programs=programs,
        memories=tuple(memories),
        libraries=tuple(Library(own.get(Worlds.tee, b""), own.get(Worlds.ree, b"")) for own in libraries.values()),
        chunks=tuple(content for _, content in contents(SectionType.weights)),
        pieces=tuple(content for _, content in contents(SectionType.state)),
        metadata=b"".join(content.tobytes() for _, content in contents(SectionType.metadata)),
        notes=b"".join(content.tobytes() for _, content in contents(SectionType.notes)),
        model_id=table.header.model_id,
        model_version=table.header.model_version,
        code_memory=table.header.code_memory,
    )
    promised = table.header.secure_memory
    takes = f"the model takes {bundle.secure_memory} bytes of secure memory, not {promised}"
    require(bundle.secure_memory <= promised, "SECURE_MEMORY", takes)
    return bundle


@dataclass(frozen=True)
class Public:
    """What anybody can read of a bundle, sealed or not: its header, section table and interface."""

    table: SectionTable
    interface: Interface

    @property
    def sealed(self) -> bool:
        """Whether anything of it takes a content key."""
        return any(row.protection for row in self.table.rows)


def read_public(path: Path) -> Public:
    """Read what anybody can read of a bundle file. Raises BundleError, or TzmlError if it cannot be read."""
    data = _map(path)
    table = container.read_table(data)
    row = next(iter(rows_of(table, SectionType.interface)))
    return Public(table, decode_interface(container.open_section(data, table, row).tobytes()))


def read_section(path: Path, kind: SectionType) -> bytes:
    """The content of the first section of a type, b"" if there is none. The others are not read: they may be large.

    Raises BundleError, or TzmlError if the file cannot be read.
    """
    data = _map(path)
    table = container.read_table(data)
    row = next(iter(rows_of(table, kind)), None)
    return container.open_section(data, table, row).tobytes() if row else b""


def _map(path: Path) -> memoryview:
    if path.is_fifo():
        raise TzmlError(f"{path} is a pipe, which cannot be read from place to place", "give the file of a bundle")
    try:
        with path.open("rb") as file:
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except ValueError:  # an empty file cannot be mapped
        return memoryview(b"")
    except OSError as error:
        raise TzmlError(f"cannot read {path}: {error.strerror}", "check the path") from error


def _operands(program: Program) -> int:
    """Arguments and ports together."""
    return len(program.inputs) + len(program.outputs) + sum(len(call.arguments) for call in program.calls)


Owned = list[tuple[Memory, tuple[Chunk, ...]]]
"""Chunks, or pieces of state, with the memory that they belong to."""


def _of_memories(kind: SectionType, contents: tuple[Content, ...], owned: Owned) -> list[Section]:
    worlds = [memory.worlds for memory, chunks in owned for _ in chunks]
    return [Section(kind, content, i, worlds[i]) for i, content in enumerate(contents)]


def _check_rows(table: SectionTable, kind: SectionType, owned: Owned) -> None:
    """The rows of a type are the memories' chunks, or pieces: as many, as large, for the same worlds."""
    rows = [(row.size, row.worlds) for row in rows_of(table, kind)]
    expected = [(chunk.size, memory.worlds) for memory, chunks in owned for chunk in chunks]
    _check(rows == expected, f"the {kind.name} sections are not those that the memories have")


def _check_sizes(what: str, contents: tuple[Content, ...], of_memories: list[tuple[Chunk, ...]]) -> None:
    sizes = [chunk.size for chunks in of_memories for chunk in chunks]
    _check(sizes == list(map(len, contents)), f"the {what} are not those that the memories have")


def _check_worlds(memories: list[Memory]) -> None:
    _check(len(memories) > 0, "there is no memory")
    for i, memory in enumerate(memories):
        _check(not any(memory.worlds & other.worlds for other in memories[:i]), "a world has two memories")


def _check(condition: bool, what: str) -> None:
    require(condition, "PLAN_MALFORMED", what)
