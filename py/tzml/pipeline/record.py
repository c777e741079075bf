"""Sealed records, as runtime/record.c makes and opens them. docs/bundle.md, "Record (.tzx)"."""

from __future__ import annotations

import hmac
import struct
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tzml.bundle import BundleError
from tzml.bundle.format import FORMAT_VERSION, MAX_SEALED_SIZE, require
from tzml.bundle.protection import nonce_of

MAGIC = b"\x89TZX\r\n\x1a\n"
SECRET_SIZE = 32
TAG_SIZE = 16
_HEADER = struct.Struct("<8sII16sQII16s32sQQ65s48s31s")
HEADER_SIZE = _HEADER.size
_NO_ENC, _NOT_WRAPPED = bytes(65), bytes(48)


@dataclass(frozen=True)
class SealedRecord:
    """A record's header, all of which is authenticated.

    `edge` is the number of the stage that the record goes to; that of the answer is the number of stages. `request`
    (16 bytes) and `sender` (32 bytes) are ids. `counter` is the sender's, and never the same twice. `size` is the
    payload's, in bytes. `enc` and `wrapped` are the client's secret, sealed to the pipeline's key, on edge 0.
    """

    pipeline: bytes
    epoch: int
    edge: int
    request: bytes
    sender: bytes
    counter: int
    size: int
    enc: bytes = _NO_ENC
    wrapped: bytes = _NOT_WRAPPED

    def encode(self) -> bytes:
        """The header's bytes."""
        return _HEADER.pack(
            MAGIC, FORMAT_VERSION, 0, self.pipeline, self.epoch, self.edge, 0, self.request, self.sender,
            self.counter, self.size, self.enc, self.wrapped, b"",
        )  # fmt: skip

    @property
    def nonce(self) -> bytes:
        """AES-GCM's, of 12 bytes."""
        return nonce_of(self.counter)

    def key(self, secret: bytes) -> bytes:
        """The key of this record, from the secret of its edge."""
        return self._derive(b"tzml record 1", secret)

    def answer_secret(self, secret: bytes) -> bytes:
        """The secret of the answer to a request, from its client's secret."""
        return self._derive(b"tzml answer 1", secret)

    def _derive(self, label: bytes, secret: bytes) -> bytes:
        """HKDF-Expand (RFC 5869) of a uniform secret to one block."""
        about = struct.pack("<16sQI", self.pipeline, self.epoch, self.edge) + self.request + self.sender
        return hmac.digest(secret, label + about + b"\x01", "sha256")


def seal_record(record: SealedRecord, secret: bytes, payload: bytes) -> bytes:
    """A record with its payload sealed under the secret of its edge. The counter must be a new one."""
    return record.encode() + AESGCM(record.key(secret)).encrypt(record.nonce, payload, record.encode())


def read_record(data: bytes) -> SealedRecord:
    """A record's header, which nothing vouches for. Raises BundleError (RECORD_MALFORMED, UNSUPPORTED)."""
    status = "RECORD_MALFORMED"
    require(len(data) >= HEADER_SIZE + TAG_SIZE, status, f"a record of {len(data)} bytes")
    magic, version, required, pipeline, epoch, edge, zero, request, sender, counter, size, enc, wrapped, rest = (
        _HEADER.unpack_from(data)
    )
    require(magic == MAGIC and version == FORMAT_VERSION, status, "this is not a record of format 2")
    require(required == 0, "UNSUPPORTED", "the record requires what this version does not know")
    expected = HEADER_SIZE + size + TAG_SIZE
    fits = size < MAX_SEALED_SIZE and len(data) == expected
    require(fits, status, f"the record has {len(data)} bytes, not {expected}")
    require(not zero and not any(rest), status, "reserved bytes are not zero")
    clear = edge == 0 or (enc, wrapped) == (_NO_ENC, _NOT_WRAPPED)
    require(clear, status, "a record between stages carries a client's secret")
    return SealedRecord(pipeline, epoch, edge, request, sender, counter, size, enc, wrapped)


def open_record(data: bytes, secret: bytes) -> tuple[SealedRecord, bytes]:
    """A record's header and payload. Raises BundleError (RECORD_MALFORMED, UNSUPPORTED, RECORD_TAG)."""
    record = read_record(data)
    try:
        payload = AESGCM(record.key(secret)).decrypt(record.nonce, data[HEADER_SIZE:], data[:HEADER_SIZE])
    except InvalidTag as error:
        raise BundleError(
            "RECORD_TAG", "the record was changed, or sealed with another key", "ask for it again"
        ) from error
    return record, payload
