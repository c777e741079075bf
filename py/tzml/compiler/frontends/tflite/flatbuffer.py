"""Read FlatBuffers that nobody vouches for.

The `flatbuffers` package of Python has no verifier: it follows whatever offsets there are. This reader
checks each before it follows it. The format: https://flatbuffers.dev/internals/
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

FORMATS = {"bool": "<?", "int8": "<b", "uint8": "<B", "int32": "<i", "uint32": "<I", "uint64": "<Q"}


class FlatbufferError(Exception):
    """An offset, a size or a number that cannot be right."""


class FlatTable:
    """A table at `at`; fields are known by their number in the schema, from 0."""

    def __init__(self, data: bytes, at: int, what: str) -> None:
        self.data, self.at, self.what = data, at, what
        vtable = at - self._read("<i", at)
        size = self._read("<H", vtable)
        if size < 4 or size % 2 or vtable < 0 or vtable + size > len(data):
            raise FlatbufferError(f"the offset of {what} is out of range")
        self._fields = struct.unpack_from(f"<{size // 2 - 2}H", data, vtable + 4)

    @classmethod
    def root(cls, data: bytes, what: str) -> FlatTable:
        """The table that the whole buffer is."""
        if len(data) < 8:
            raise FlatbufferError("it is truncated")
        return cls(data, int.from_bytes(data[:4], "little"), what)

    def _read(self, form: str, at: int) -> int:
        if at < 0 or at + struct.calcsize(form) > len(self.data):
            raise FlatbufferError(f"the offset of {self.what} is out of range")
        value: int = struct.unpack_from(form, self.data, at)[0]
        return value

    def _place(self, field: int) -> int:
        """Where a field is; 0 if it is left out."""
        offset = self._fields[field] if field < len(self._fields) else 0
        return self.at + offset if offset else 0

    def scalar(self, field: int, kind: str, default: int = 0) -> int:
        """A number, or its default."""
        at = self._place(field)
        return self._read(FORMATS[kind], at) if at else default

    def table(self, field: int, what: str) -> FlatTable | None:
        """A table in this one."""
        at = self._place(field)
        return FlatTable(self.data, at + self._read("<I", at), what) if at else None

    def _vector(self, field: int, itemsize: int) -> tuple[int, int]:
        """Start and number of elements."""
        at = self._place(field)
        if not at:
            return 0, 0
        at += self._read("<I", at)
        count = self._read("<I", at)
        if at + 4 + count * itemsize > len(self.data):
            raise FlatbufferError(f"a list in {self.what} has {count} elements, more than the file can hold")
        return at + 4, count

    def tables(self, field: int, what: str) -> Iterator[FlatTable]:
        """The tables of a list."""
        start, count = self._vector(field, 4)
        for i in range(count):
            at = start + 4 * i
            yield FlatTable(self.data, at + self._read("<I", at), f"{what} {i}")

    def count(self, field: int, itemsize: int = 4) -> int:
        """How many elements a list has, of tables unless it says otherwise."""
        return self._vector(field, itemsize)[1]

    def numbers(self, field: int, kind: str) -> tuple[Any, ...]:
        """The numbers of a list; `kind` is a letter of the struct module."""
        start, count = self._vector(field, struct.calcsize("<" + kind))
        return struct.unpack_from(f"<{count}{kind}", self.data, start)

    def text(self, field: int) -> str:
        """A string."""
        start, count = self._vector(field, 1)
        try:
            return self.data[start : start + count].decode()
        except UnicodeDecodeError as error:
            raise FlatbufferError(f"a name of {self.what} is no UTF-8") from error
