"""The container: a header and a section table that say where each section lies and how it is protected.

docs/bundle.md, "Header" and "Section table", is the specification. What the sections hold is not known here.
"""

from __future__ import annotations

import enum
import hashlib
import hmac
import io
import struct
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import BinaryIO

from tzml.bundle.content import BOTH, Buffer, Content, Target, Worlds
from tzml.bundle.format import (
    DIGEST_SIZE,
    FORMAT_VERSION,
    KERNEL_ABI,
    KEY_SIZE,
    MAX_INTERFACE_SIZE,
    MAX_KERNELS_SIZE,
    MAX_LIBRARIES,
    MAX_MEMORIES,
    MAX_MEMORY,
    MAX_PLAN_SIZE,
    MAX_PROGRAMS,
    MAX_SEALED_SIZE,
    MAX_SECTIONS,
    BundleError,
    align,
    require,
)
from tzml.bundle.identity import NO_IDENTITY
from tzml.bundle.protection import CLEAR, Binding, Protection, protection_of, verify_owner

MAGIC = b"\x89TZM\r\n\x1a\n"
GRANT_MAGIC = b"\x89TZG\r\n\x1a\n"

_HEADER = struct.Struct(f"<8s4IQ16sQIIQQ{KEY_SIZE}s80s{DIGEST_SIZE}s{KEY_SIZE}s")
_ROW = struct.Struct(f"<IIBBB5sQQ{DIGEST_SIZE}s")
_REQUIRED = 1
_PIECE = 1 << 20  # bytes that are read or written at once


class SectionType(enum.IntEnum):
    """What a section holds; a bundle has them in this order."""

    interface = 1
    memory = 2
    plan = 3
    kernels = 4
    metadata = 5
    notes = 6
    state = 7
    weights = 8

    @property
    def size_limit(self) -> int:
        """The most bytes that such a section may have."""
        limits = {"interface": MAX_INTERFACE_SIZE, "memory": MAX_PLAN_SIZE, "plan": MAX_PLAN_SIZE}
        return limits.get(self.name, MAX_MEMORY if self.name in ("state", "weights") else MAX_KERNELS_SIZE)

    @property
    def count_limit(self) -> int:
        """How many indices such sections may have."""
        limits = {"memory": MAX_MEMORIES, "plan": MAX_PROGRAMS, "kernels": MAX_LIBRARIES}
        return limits.get(self.name, MAX_SECTIONS if self.name in ("state", "weights") else 1)

    @property
    def required(self) -> bool:
        """Whether a reader that does not know the type must refuse the bundle."""
        return self.name not in ("metadata", "notes")

    def can_be_for(self, worlds: int) -> bool:
        """Whether these worlds may read such a section."""
        if self.name in ("interface", "metadata", "notes"):
            return worlds == BOTH
        return worlds in (Worlds.tee, Worlds.ree) if self.name == "kernels" else 0 < worlds <= BOTH


@dataclass(frozen=True)
class Section:
    """A section that is to be written."""

    type: SectionType
    content: Content
    index: int = 0
    worlds: Worlds = BOTH
    protection: Protection = CLEAR


@dataclass(frozen=True)
class Header:
    """The header's fields; docs/bundle.md says what each means."""

    target: Target
    section_count: int = 0
    bundle_size: int = 0
    model_id: uuid.UUID = NO_IDENTITY
    model_version: int = 1
    secure_memory: int = 0
    code_memory: int = 0
    required: int = 0
    kernel_abi: int = KERNEL_ABI
    owner: bytes = bytes(KEY_SIZE)
    digest: bytes = bytes(DIGEST_SIZE)
    signature: bytes = bytes(KEY_SIZE)

    @property
    def header_size(self) -> int:
        """Bytes of the header with its section table."""
        return _HEADER.size + self.section_count * _ROW.size

    def encode(self) -> bytes:
        """The header's bytes, without the table."""
        return _HEADER.pack(
            MAGIC, FORMAT_VERSION, self.header_size, self.section_count, self.required, self.bundle_size,
            self.model_id.bytes, self.model_version, self.target, self.kernel_abi, self.secure_memory,
            self.code_memory, self.owner, b"", self.digest, self.signature,
        )  # fmt: skip

    def without_proof(self) -> Header:
        """The header with digest and signature as zeros, as both are computed."""
        return replace(self, digest=bytes(DIGEST_SIZE), signature=bytes(KEY_SIZE))

    def binding(self) -> bytes:
        """SHA-256 of the header alone, which ties sealed sections to it."""
        return hashlib.sha256(self.without_proof().encode()).digest()


@dataclass(frozen=True)
class Row:
    """An entry of the section table. `known` is None for an optional section of an unknown type."""

    number: int
    type: int
    index: int
    worlds: int
    protection: int
    offset: int
    size: int
    tag: bytes

    @property
    def known(self) -> SectionType | None:
        return SectionType(self.type) if self.type in SectionType._value2member_map_ else None

    def binding(self, header: Header) -> Binding:
        """What ties the section to this row of this header."""
        return Binding(header.binding(), self.number, self.type, self.index, self.worlds)


@dataclass(frozen=True)
class SectionTable:
    """A header with its section table, checked."""

    header: Header
    rows: tuple[Row, ...] = field(default=())


Sign = Callable[[bytes], bytes]
"""Makes the owner's signature of a digest."""


def write(file: BinaryIO, header: Header, sections: Sequence[Section], sign: Sign | None = None) -> bytes:
    """Write a bundle to a file that can seek; `header` gives all fields but those that follow from the sections.

    No section is ever held as a whole: the parts go to the file one after another. Returns the header's digest,
    which the owner signs if `header` names one.
    """
    require(any(header.owner) == (sign is not None), "HEADER_MALFORMED", "a signed bundle has an owner")
    require(len(sections) <= MAX_SECTIONS, "LIMIT", f"{len(sections)} sections; at most {MAX_SECTIONS}")
    rows = list(_place(sections))
    last = rows[-1]
    header = replace(header, section_count=len(rows), bundle_size=last.offset + last.size)
    end = header.header_size
    _check_table(header, rows)
    file.write(bytes(end))
    for i, section in enumerate(sections):
        file.write(bytes(rows[i].offset - end))
        stream = section.protection.seal(rows[i].binding(header))
        for part in section.content.parts:
            view = memoryview(part).cast("B")
            for at in range(0, len(view), _PIECE):
                file.write(stream.update(view[at : at + _PIECE]))
        rows[i] = replace(rows[i], tag=stream.finish())
        end = rows[i].offset + rows[i].size
    table = b"".join(map(_encode_row, rows))
    header = replace(header, digest=hashlib.sha256(header.without_proof().encode() + table).digest())
    if sign:
        header = replace(header, signature=sign(header.digest))
    file.seek(0)
    file.write(header.encode() + table)
    return header.digest


def file_size(sections: Sequence[Section]) -> int:
    """Bytes of the file that has these sections."""
    *_, last = _place(sections)
    return last.offset + last.size


def _place(sections: Sequence[Section]) -> Iterator[Row]:
    """The rows of sections that lie one behind the other, without their tags."""
    end = _HEADER.size + len(sections) * _ROW.size
    for number, s in enumerate(sections):
        row = Row(
            number, s.type, s.index, s.worlds, s.protection.code, align(end), len(s.content), bytes(DIGEST_SIZE)
        )
        yield row
        end = row.offset + row.size


def _encode_row(row: Row) -> bytes:
    known = row.known
    flags = _REQUIRED if known and known.required else 0
    return _ROW.pack(
        row.type, row.index, row.worlds, row.protection, flags, b"", row.offset, row.size, row.tag
    )  # fmt: skip


def read_table(data: Buffer) -> SectionTable:
    """Check a bundle's header and section table, in the order of docs/bundle.md, "Errors". Raises BundleError."""
    view = memoryview(data)
    require(bytes(view[: len(MAGIC)]) == MAGIC, "NOT_A_BUNDLE", "the file does not begin as a bundle does")
    if len(view) >= 12:
        _check_version(struct.unpack_from("<I", view, 8)[0])
    require(len(view) >= _HEADER.size, "TRUNCATED", f"only {len(view)} bytes")
    (
        _, _, header_size, count, required, bundle_size, model_id, model_version, target, abi, secure, code, owner,
        reserved, digest, signature,
    ) = _HEADER.unpack_from(view)  # fmt: skip
    require(count <= MAX_SECTIONS, "LIMIT", f"{count} sections; at most {MAX_SECTIONS}")
    expected = _HEADER.size + count * _ROW.size
    require(header_size == expected, "HEADER_MALFORMED", f"header_size {header_size}, not {expected}")
    needed = max(bundle_size, header_size)
    require(len(view) >= needed, "TRUNCATED", f"{len(view)} bytes, not {needed}")

    proof = bytes(DIGEST_SIZE + KEY_SIZE)
    found = hashlib.sha256(bytes(view[: _HEADER.size - len(proof)]) + proof + view[_HEADER.size : header_size])
    require(hmac.compare_digest(found.digest(), digest), "HEADER_DIGEST", "the header does not match its digest")

    if any(owner):
        verify_owner(owner, digest, signature)
    require(required == 0, "UNSUPPORTED", f"the bundle requires features that are not known: {required:#x}")
    require(abi == KERNEL_ABI, "FORMAT_VERSION", f"kernel ABI {abi}, not {KERNEL_ABI}")
    require(secure <= MAX_MEMORY, "LIMIT", f"{secure} bytes of secure memory")
    require(code <= secure, "HEADER_MALFORMED", f"{code} bytes for code, {secure} bytes in all")
    require(any(owner) == any(signature), "HEADER_MALFORMED", "an owner without a signature, or the reverse")
    require(not any(reserved), "HEADER_MALFORMED", "a reserved byte is not zero")
    known_target = target in Target._value2member_map_
    header = Header(
        target=Target(target) if known_target else Target.aarch64,
        section_count=count,
        bundle_size=bundle_size,
        model_id=uuid.UUID(bytes=model_id),
        model_version=model_version,
        secure_memory=secure,
        code_memory=code,
        owner=owner,
        digest=digest,
        signature=signature,
    )
    rows = _read_rows(view, header)
    require(known_target, "WRONG_TARGET", f"unknown target {target}")
    return SectionTable(header, tuple(rows))


def _check_version(version: int) -> None:
    if version == 1:
        raise BundleError(
            "FORMAT_OLD", "the bundle has format 1, which is no longer read",
            "compile the model again: tzml compile MODEL -o BUNDLE",
        )  # fmt: skip
    if version != FORMAT_VERSION:
        raise BundleError(
            "FORMAT_VERSION", f"format version {version}, not {FORMAT_VERSION}",
            "compile the model again with this version of tzml, or update tzml",
        )  # fmt: skip


def _read_rows(view: memoryview, header: Header) -> list[Row]:
    """The section table, checked row by row."""
    rows: list[Row] = []
    for number in range(header.section_count):
        fields = _ROW.unpack_from(view, _HEADER.size + number * _ROW.size)
        kind, index, worlds, protection, flags, reserved, offset, size, tag = fields
        row = Row(number, kind, index, worlds, protection, offset, size, tag)
        _check_place(header, row, rows[-1] if rows else None)
        sound = flags <= _REQUIRED and not any(reserved)
        if row.known:
            sound = sound and bool(flags) == row.known.required and row.known.can_be_for(worlds)
            # what is sealed is signed, and what a caller must know is clear
            sealable = any(header.owner) and row.known != SectionType.interface
            sound = sound and (protection == CLEAR.code or sealable)
        require(
            sound,
            "SECTION_TABLE",
            f"row {number} of the section table: type {kind}, flags {flags}, worlds {worlds}",
        )
        require(row.known is not None or not flags, "UNSUPPORTED", f"the bundle requires a section of type {kind}")
        _check_size(row)
        rows.append(row)
    _check_end(header, rows)
    return rows


def _check_table(header: Header, rows: Sequence[Row]) -> None:
    """Order, place and size of the sections."""
    for previous, row in zip((None, *rows), rows, strict=False):
        _check_place(header, row, previous)
        _check_size(row)
    _check_end(header, rows)


def _check_place(header: Header, row: Row, previous: Row | None) -> None:
    end = previous.offset + previous.size if previous else header.header_size
    place = row.size > 0 and row.offset == align(end) and row.offset + row.size <= header.bundle_size
    require(place and _follows(row, previous), "SECTION_TABLE", f"row {row.number} of the section table")


def _check_size(row: Row) -> None:
    if row.known:
        sealed = row.protection != CLEAR.code and row.size >= MAX_SEALED_SIZE
        fits = row.size <= row.known.size_limit and not sealed
        require(fits, "LIMIT", f"section {row.known.name} has {row.size} bytes")


def _check_end(header: Header, rows: Sequence[Row]) -> None:
    end = rows[-1].offset + rows[-1].size if rows else 0
    require(bool(rows) and end == header.bundle_size, "SECTION_TABLE", "the sections do not fill the bundle")


def _follows(row: Row, previous: Row | None) -> bool:
    """Sections are in the order of type, index, worlds; only kernels repeat an index, for the other world."""
    if row.known and row.index >= row.known.count_limit:
        return False
    if previous is None:
        return row.type == SectionType.interface and row.index == 0
    if row.type != previous.type:
        return row.type > previous.type and row.index == 0
    if row.index == previous.index:
        return row.type == SectionType.kernels and row.worlds > previous.worlds
    return row.index == previous.index + 1


def open_section(data: Buffer, table: SectionTable, row: Row, key: bytes | None = None) -> Content:
    """The content of a section, checked; `key` is the content key of a sealed bundle.

    Raises BundleError (PROTECTION, GRANT_ABSENT, SECTION_DIGEST).
    """
    view = memoryview(data)[row.offset : row.offset + row.size]
    stream = protection_of(row.protection, key).open(row.binding(table.header))
    parts = tuple(stream.update(view[at : at + _PIECE]) for at in range(0, len(view), _PIECE))
    name = f"{row.known.name} {row.index}" if row.known else f"of type {row.type}"
    require(
        hmac.compare_digest(stream.finish(), row.tag), "SECTION_DIGEST", f"section {name} does not match its digest"
    )
    return Content(parts)


def encode(header: Header, sections: Sequence[Section], sign: Sign | None = None) -> bytes:
    """The bytes of a small bundle; `sign` as for `write`."""
    file = io.BytesIO()
    write(file, header, sections, sign)
    return file.getvalue()


def rows_of(table: SectionTable, kind: SectionType) -> Iterable[Row]:
    """The rows of the sections of one type, in order."""
    return (row for row in table.rows if row.type == kind)


assert _HEADER.size == 320
assert _ROW.size == 64
