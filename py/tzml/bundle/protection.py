"""How a section is protected: what becomes of its bytes in the file, and what its tag is.

docs/bundle.md, "Section table", defines the protections; runtime/protection.c has them for C.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Protocol

from tzml.bundle.content import Buffer
from tzml.bundle.format import DIGEST_SIZE, BundleError


@dataclass(frozen=True)
class Binding:
    """What ties a section to its place.

    `header` is the SHA-256 of the header without digest and signature, `row` the section's number in the table.
    """

    header: bytes
    row: int
    type: int
    index: int
    worlds: int


class Stream(Protocol):
    """The bytes of one section on their way into or out of a file."""

    def update(self, data: Buffer) -> Buffer:
        """The next bytes in, as many bytes out. What comes out is not to be trusted before `finish`."""

    def finish(self) -> bytes:
        """The section's tag, of DIGEST_SIZE bytes, for the writer to write or the reader to compare."""


class Protection(Protocol):
    """One way to protect sections; `code` stands in the section table."""

    code: int

    def seal(self, binding: Binding) -> Stream:
        """Protect a section that is written."""

    def open(self, binding: Binding) -> Stream:
        """Take the protection off a section that is read."""


class _Digest:
    """The bytes as they are; the tag is their SHA-256."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()

    def update(self, data: Buffer) -> Buffer:
        self._digest.update(data)
        return data

    def finish(self) -> bytes:
        return self._digest.digest()


class Clear:
    """No secrecy: whoever changes a section can make its tag right, unless the owner signed the table."""

    code = 0

    def seal(self, binding: Binding) -> Stream:
        return _Digest()

    def open(self, binding: Binding) -> Stream:
        return _Digest()


CLEAR = Clear()


def protection_of(code: int) -> Protection:
    """The protection with that code. Raises BundleError (PROTECTION) for one that this version does not know."""
    if code != CLEAR.code:
        raise BundleError(
            "PROTECTION", f"a section has the protection {code}", "update tzml, or compile a clear bundle"
        )
    return CLEAR


assert hashlib.sha256().digest_size == DIGEST_SIZE
