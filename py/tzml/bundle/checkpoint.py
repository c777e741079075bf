"""Checkpoints (.tzs): the state of a model that is trained, as a file. docs/bundle.md, "Checkpoint (.tzs)".

runtime/checkpoint.c writes and reads them on the device; this reads what is not secret of them.
"""

from __future__ import annotations

import enum
import hashlib
import struct
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

from tzml.bundle.content import Buffer, Memory
from tzml.bundle.format import FORMAT_VERSION, BundleError
from tzml.bundle.protection import nonce_of

MAGIC = b"\x89TZS\r\n\x1a\n"
NOTE_SIZE = 64
MAX_SEGMENT_SIZE = 1 << 16
TAG_SIZE = 16
HEADER = struct.Struct("<8s4I4Q16s64s32s32s32s64s")
"""What of the header the key is bound to; the rest is of exported ones."""

_HEADER = struct.Struct(HEADER.format + "65s48s7s")
HEADER_SIZE = _HEADER.size
BOUND_SIZE = HEADER.size


class CheckpointKind(enum.IntEnum):
    """Whom a checkpoint is for."""

    clear = 1  # sessions in the normal world
    saved = 2  # the device that made it
    exported = 3  # the export key of the grant
    global_model = 4  # a device, from the holder of that key


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint's header, and its segments as they are in the file.

    `number` counts what the device saved of the model, or is the round of federated training; `updates` are those
    that made the state; `digest` is that of the part of the header that is bound to the key. `enc` and `wrapped`
    are the key of an exported one.
    """

    kind: CheckpointKind
    segment_size: int
    state_size: int
    number: int
    updates: int
    model_version: int
    model_id: uuid.UUID
    owner: bytes
    bundle_digest: bytes
    device: bytes
    salt: bytes
    note: bytes
    enc: bytes
    wrapped: bytes
    digest: bytes
    data: bytes

    def segments(self) -> Iterator[tuple[bytes, bytes, bytes]]:
        """The nonce of each segment, what is sealed in it, and its tag."""
        at = HEADER_SIZE
        for number, start in enumerate(range(0, self.state_size, self.segment_size)):
            end = at + min(self.segment_size, self.state_size - start)
            yield nonce_of(number), self.data[at:end], self.data[end : end + TAG_SIZE]
            at = end + TAG_SIZE


def segment_size(memory: Memory) -> int:
    """Bytes of a segment of a model's checkpoints, but for the last."""
    return min(memory.arena_size, MAX_SEGMENT_SIZE)


def file_size(data: Buffer) -> int:
    """Bytes of the checkpoint whose header is at the beginning of `data`."""
    segment, state = struct.unpack_from("<IQ", data, 20)
    return int(HEADER_SIZE + state + -(-state // segment) * TAG_SIZE)


def read_checkpoint(data: bytes) -> Checkpoint:
    """Read a whole checkpoint. Raises BundleError (CHECKPOINT_MALFORMED)."""

    def check(condition: bool, what: str) -> None:
        if not condition:
            raise BundleError("CHECKPOINT_MALFORMED", what, "give the file that `tzml train` wrote")

    check(data[:8] == MAGIC and len(data) >= HEADER_SIZE, "the file is no checkpoint")
    (
        _, version, size, kind, segment, state, number, updates, model_version, model_id, owner, bundle, device,
        salt, note, enc, wrapped, reserved,
    ) = _HEADER.unpack_from(data)  # fmt: skip
    check(version == FORMAT_VERSION and size == HEADER_SIZE, f"a checkpoint of format {version}, {size} bytes")
    check(kind in CheckpointKind._value2member_map_ and not any(reserved), f"a checkpoint of kind {kind}")
    check(segment > 0 and state > 0, f"a checkpoint of {state} bytes in segments of {segment}")
    expected = file_size(data)
    check(len(data) == expected, f"a checkpoint of {len(data)} bytes, which should have {expected}")
    digest = hashlib.sha256(data[:BOUND_SIZE]).digest()
    return Checkpoint(
        CheckpointKind(kind), segment, state, number, updates, model_version, uuid.UUID(bytes=model_id), owner,
        bundle, device, salt, note, enc, wrapped, digest, data,
    )  # fmt: skip


assert HEADER_SIZE == 416
assert BOUND_SIZE == 296
