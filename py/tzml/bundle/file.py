"""Bundle files: write them, and read them with every check that the device makes too."""

from __future__ import annotations

import enum
import hashlib
import mmap
import struct
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tzml.bundle import plan as plans
from tzml.bundle.format import FORMAT_VERSION, KERNEL_ABI, MAX_MEMORY, MAX_SECTIONS, PAGE, align, require
from tzml.bundle.plan import Plan
from tzml.errors import TzmlError

MAGIC = b"\x89TZM\r\n\x1a\n"
MAX_KERNELS_SIZE = 16 << 20

_HEADER = struct.Struct("<8s4IQ16sQIIQQQII16s12sIQ88s32s")
_SECTION = struct.Struct("<IIQQI12s24s32s")
_CODE_MEMORY = 18  # which field of the header it is
_NO_TAG = bytes(32)


class Target(enum.IntEnum):
    """Processors that kernels are compiled for."""

    aarch64 = 1
    x86_64 = 2


class SectionType(enum.IntEnum):
    """What a section holds; a bundle has them in this order."""

    plan = 1
    kernels_tee = 2
    kernels_ree = 3
    metadata = 4
    weights = 5

    @property
    def limit(self) -> int:
        """The most bytes that such a section may have."""
        return {"plan": plans.MAX_SIZE, "weights": MAX_MEMORY}.get(self.name, MAX_KERNELS_SIZE)


@dataclass(frozen=True)
class Section:
    """One section's content; `index` numbers the chunks of weights."""

    type: SectionType
    data: bytes
    index: int = 0

    @property
    def tag(self) -> bytes:
        """SHA-256 of the content, as the section table of a clear bundle has it."""
        return hashlib.sha256(self.data).digest()


@dataclass(frozen=True)
class Bundle:
    """A whole model.

    `chunks` are the weights; the libraries may be missing, and the model then does not run in that world.
    `code_memory` are the bytes of secure memory that the TA and the mapped kernel library take.
    """

    target: Target
    plan: Plan
    model_id: uuid.UUID
    model_version: int = 1
    chunks: tuple[bytes, ...] = ()
    kernels_tee: bytes = b""
    kernels_ree: bytes = b""
    metadata: bytes = b""
    code_memory: int = 0

    @property
    def secure_memory(self) -> int:
        """How many bytes of secure memory the model takes at most, everything included."""
        return self.mapped_memory + self.code_memory

    @property
    def mapped_memory(self) -> int:
        """How many bytes the TA maps for the model at most: exactly so many when it loads the kernel library.

        Header, plan, arena, weights and a byte for each chunk start on pages of their own; the signed
        library is there only before arena and weights are.
        """
        header = _HEADER.size + len(self.sections()) * _SECTION.size
        loading = _pages(len(self.kernels_tee))
        running = _pages(self.plan.arena_size, self.plan.weights_size, len(self.chunks))
        return _pages(header, len(self.plan.encode())) + max(loading, running)

    def sections(self) -> list[Section]:
        """The sections in the order in which they are written."""
        found = [Section(SectionType.plan, self.plan.encode())]
        for kind in (SectionType.kernels_tee, SectionType.kernels_ree, SectionType.metadata):
            data: bytes = getattr(self, kind.name)
            if data:
                found.append(Section(kind, data))
        return found + [Section(SectionType.weights, chunk, i) for i, chunk in enumerate(self.chunks)]

    def encode(self) -> bytes:
        """The bytes of the file; the same bundle always gives the same bytes."""
        sections = self.sections()
        header_size = _HEADER.size + len(sections) * _SECTION.size
        body, table, end = bytearray(), bytearray(), header_size
        for section in sections:
            start, size = align(end), len(section.data)
            body += bytes(start - end) + section.data
            table += _SECTION.pack(section.type, section.index, start, size, 0, b"", b"", section.tag)
            end = start + size
        header = _HEADER.pack(
            MAGIC, FORMAT_VERSION, header_size, len(sections), 0, end,
            self.model_id.bytes, self.model_version, self.target, KERNEL_ABI,
            self.plan.arena_size, self.plan.weights_size, self.secure_memory,
            0, 0, b"", b"", 0, self.code_memory, b"", _NO_TAG,
        )  # fmt: skip
        tag = hashlib.sha256(header + table).digest()
        return header[: -len(tag)] + tag + bytes(table) + bytes(body)

    def write(self, path: Path) -> None:
        """Write the file whole or not at all. Raises BundleError if no device would take it."""
        data = self.encode()
        decode(data)
        part = path.with_name(path.name + ".part")
        try:
            part.write_bytes(data)
            part.replace(path)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise TzmlError(f"cannot write {path}: {error.strerror}", "check the folder and its room") from error


def read(path: Path) -> Bundle:
    """Read and check a bundle file. Raises BundleError, or TzmlError if it cannot be read."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise TzmlError(f"cannot read {path}: {error.strerror}", "check the path") from error
    return decode(data)


def decode(data: bytes) -> Bundle:
    """Read a bundle from its bytes, with the checks of runtime/bundle.c and runtime/model.c.

    Only what takes the kernel library is left to the device.
    """
    fields, header_size = _decode_header(data)
    _, _, _, count, _, bundle_size, model_id, model_version, target, _, arena, weights, secure = fields[:13]
    sections = _decode_sections(data, count, header_size, bundle_size)
    require(target in Target._value2member_map_, "WRONG_TARGET", f"unknown target {target}")

    found = {section.type: section.data for section in sections}
    chunks = tuple(section.data for section in sections if section.type == SectionType.weights)
    plan = plans.decode(found[SectionType.plan])
    require((plan.arena_size, plan.weights_size) == (arena, weights), "PLAN_MALFORMED", "plan and header differ")
    sizes = tuple(chunk.size for chunk in plan.chunks)
    require(sizes == tuple(map(len, chunks)), "PLAN_MALFORMED", "plan and chunks differ")
    bundle = Bundle(
        target=Target(target),
        plan=plan,
        model_id=uuid.UUID(bytes=model_id),
        model_version=model_version,
        chunks=chunks,
        kernels_tee=found.get(SectionType.kernels_tee, b""),
        kernels_ree=found.get(SectionType.kernels_ree, b""),
        metadata=found.get(SectionType.metadata, b""),
        code_memory=fields[_CODE_MEMORY],
    )
    takes = f"the model takes {bundle.secure_memory} bytes of secure memory, not {secure}"
    require(bundle.secure_memory <= secure, "SECURE_MEMORY", takes)
    return bundle


def read_section(path: Path, kind: SectionType) -> bytes:
    """The content of one section, b"" if there is none; the others, which may be large, are not read.

    Raises BundleError, or TzmlError if the file cannot be read.
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            fields, header_size = _decode_header(data)
            for entry in _decode_table(data, fields[3], header_size, fields[5]):
                if entry.type == kind:
                    return _content(data, entry).data
    except (OSError, ValueError) as error:
        raise TzmlError(f"cannot read {path}: {error}", "check the path") from error
    return b""


def _pages(*sizes: int) -> int:
    return sum(-(-size // PAGE) * PAGE for size in sizes)


def _decode_header(data: bytes | mmap.mmap) -> tuple[tuple[Any, ...], int]:
    """The header's fields and the size of header and section table, checked."""
    require(data[: len(MAGIC)] == MAGIC, "NOT_A_BUNDLE", "the file does not begin as a bundle does")
    require(len(data) >= _HEADER.size, "TRUNCATED", f"only {len(data)} bytes")
    fields = _HEADER.unpack_from(data)
    _, version, header_size, count, protection, bundle_size, *_ = fields
    require(version == FORMAT_VERSION, "FORMAT_VERSION", f"format version {version}, not {FORMAT_VERSION}")
    require(count <= MAX_SECTIONS, "LIMIT", f"{count} sections; at most {MAX_SECTIONS}")
    expected = _HEADER.size + count * _SECTION.size
    require(header_size == expected, "HEADER_MALFORMED", f"header_size {header_size}, not {expected}")
    needed = max(bundle_size, header_size)
    require(len(data) >= needed, "TRUNCATED", f"{len(data)} bytes, not {needed}")

    head, table = data[: _HEADER.size - len(_NO_TAG)], data[_HEADER.size : header_size]
    tag = hashlib.sha256(head + _NO_TAG + table).digest()
    require(tag == fields[-1], "HEADER_DIGEST", "the header does not match its digest")

    abi, arena, weights, secure = fields[9:13]
    require(protection == 0, "PROTECTION", f"protection {protection} is not supported")
    require(abi == KERNEL_ABI, "FORMAT_VERSION", f"kernel ABI {abi}, not {KERNEL_ABI}")
    require(max(arena, weights, secure) <= MAX_MEMORY, "LIMIT", "a memory size is above 4 GiB")
    sizes = arena > 0 and arena == align(arena) and weights == align(weights)
    require(sizes, "HEADER_MALFORMED", f"arena of {arena} and weights of {weights} bytes")
    require(not any(head[88:128] + head[136:]), "HEADER_MALFORMED", "policy or reserved fields are not zero")
    code = fields[_CODE_MEMORY]
    require(code <= secure, "HEADER_MALFORMED", f"{code} bytes for code, {secure} bytes in all")
    return fields, header_size


@dataclass(frozen=True)
class _Entry:
    """An entry of the section table."""

    type: SectionType
    index: int
    offset: int
    size: int
    tag: bytes


def _decode_sections(data: bytes, count: int, header_size: int, bundle_size: int) -> list[Section]:
    return [_content(data, entry) for entry in _decode_table(data, count, header_size, bundle_size)]


def _decode_table(data: bytes | mmap.mmap, count: int, header_size: int, bundle_size: int) -> list[_Entry]:
    entries: list[_Entry] = []
    end = header_size
    for i in range(count):
        entry = f"entry {i} of the section table"
        kind, index, offset, size, reserved0, nonce, reserved1, tag = _SECTION.unpack_from(
            data, _HEADER.size + i * _SECTION.size
        )
        in_order = _follows(kind, index, entries[-1] if entries else None)
        in_file = size > 0 and offset == align(end) and offset + size <= bundle_size
        unused = reserved0 == 0 and not any(nonce + reserved1)
        require(in_order and in_file and unused, "SECTION_TABLE", entry)
        require(size <= SectionType(kind).limit, "LIMIT", f"{entry} has {size} bytes")
        entries.append(_Entry(SectionType(kind), index, offset, size, tag))
        end = offset + size
    require(count > 0 and end == bundle_size, "SECTION_TABLE", "the sections do not fill the bundle")
    return entries


def _content(data: bytes | mmap.mmap, entry: _Entry) -> Section:
    section = Section(entry.type, data[entry.offset : entry.offset + entry.size], entry.index)
    require(
        section.tag == entry.tag,
        "SECTION_DIGEST",
        f"section {entry.type.name} {entry.index} does not match its digest",
    )
    return section


def _follows(kind: int, index: int, previous: _Entry | None) -> bool:
    """Sections are sorted by type, then index; each type but weights comes once."""
    if previous is None:
        return kind == SectionType.plan and index == 0
    if kind == previous.type:
        return kind == SectionType.weights and index == previous.index + 1
    return previous.type < kind <= SectionType.weights and index == 0


assert _HEADER.size == 256
assert _SECTION.size == 96
