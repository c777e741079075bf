"""Content keys for who has one of some P-256 keys: HPKE (RFC 9180), as in grants and encrypted models."""

from __future__ import annotations

import struct
from collections.abc import Iterable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric import ec

from tzml.device import key_id
from tzml.errors import TzmlError
from tzml.owner.keys import coordinates, public_key

SUITE = hpke.Suite(hpke.KEM.P256, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)
ROW = struct.Struct("<32s65s48s15s")
"""A recipient: the id of its key, the encapsulated key, the content key as it is wrapped, zeros."""


def wrap(secret: bytes, recipients: Iterable[bytes], info: bytes) -> list[bytes]:
    """A row for each of the public keys (X and Y, 64 bytes), in the order of their ids; `secret` has 32 bytes.

    Raises TzmlError for a key that is no point of P-256.
    """
    return sorted(_row(secret, recipient, info) for recipient in set(recipients))


def _row(secret: bytes, recipient: bytes, info: bytes) -> bytes:
    try:
        point = public_key(recipient)
    except ValueError as error:
        raise TzmlError(f"the public key {recipient.hex()} is not a point of P-256") from error
    return ROW.pack(key_id(recipient), *seal_to(point, secret, info), b"")


def seal_to(point: ec.EllipticCurvePublicKey, secret: bytes, info: bytes) -> tuple[bytes, bytes]:
    """A secret for the holder of a key: the encapsulated key (65 bytes), and the secret as it is sealed."""
    sealed = SUITE.encrypt(secret, point, info)
    return sealed[:65], sealed[65:]


def unwrap(rows: bytes, key: ec.EllipticCurvePrivateKey, info: bytes) -> bytes | None:
    """The content key in these rows, None if none is for `key`. Raises ValueError if one is, and was changed."""
    wanted = key_id(coordinates(key.public_key()))
    for at in range(0, len(rows), ROW.size):
        recipient, encapsulated, wrapped, _ = ROW.unpack_from(rows, at)
        if recipient == wanted:
            try:
                return SUITE.decrypt(encapsulated + wrapped, key, info)
            except InvalidTag as error:
                raise ValueError("the wrapped key was changed") from error
    return None
