"""The identity of a model, which all its versions share."""

from __future__ import annotations

import hashlib
import uuid

from tzml.bundle.format import KEY_SIZE

NO_IDENTITY = uuid.UUID(int=0)
"""Of a model without an owner's key and without a given id: nothing may be remembered under it."""


def derive_model_id(owner: bytes, name: str) -> uuid.UUID:
    """The id of an owner's model: a UUID of version 8 (RFC 9562) from a SHA-256; docs/bundle.md, "Identity".

    Args:
        owner: the owner's P-256 public key, X and Y, 64 bytes
        name: of the model

    """
    if len(owner) != KEY_SIZE:
        raise ValueError(f"an owner's key has {KEY_SIZE} bytes, not {len(owner)}")
    return digest_uuid(hashlib.sha256(b"tzml model 1" + owner + name.encode()).digest())


def digest_uuid(digest: bytes) -> uuid.UUID:
    """The first 16 bytes of a digest as a UUID of version 8; ta/kernels.c names libraries in the same way."""
    raw = bytearray(digest[:16])
    raw[6] = raw[6] & 0x0F | 0x80
    raw[8] = raw[8] & 0x3F | 0x80
    return uuid.UUID(bytes=bytes(raw))
