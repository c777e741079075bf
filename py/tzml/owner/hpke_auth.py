"""The receiver of HPKE (RFC 9180) in mode_auth, which the package cryptography lacks: it has base mode alone.

DHKEM(P-256, HKDF-SHA256), HKDF-SHA256, AES-256-GCM; one message. What opens, the sender with that key has sealed.
"""

from __future__ import annotations

import hashlib
import hmac
import struct

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tzml.owner.keys import coordinates, public_key

_KEM_SUITE = b"KEM" + struct.pack(">H", 0x0010)
_MODE_AUTH = 2
_AES_256_GCM = 0x0002
_KEY_SIZE = {0x0001: 16, _AES_256_GCM: 32}
"""Of the AEADs that RFC 9180's test vectors are for."""


def open_auth(
    private: ec.EllipticCurvePrivateKey,
    sender: bytes,
    enc: bytes,
    sealed: bytes,
    info: bytes,
    aad: bytes = b"",
    aead: int = _AES_256_GCM,
) -> bytes:
    """Open a message.

    Args:
        private: the receiver's key
        sender: the sender's public key, X and Y, 64 bytes
        enc: the encapsulated key, a point of 65 bytes
        sealed: ciphertext and tag
        info: what both have to know
        aad: associated data
        aead: its number in the RFC

    Raises ValueError for a point that is not on the curve, and cryptography's InvalidTag for what does not open.

    """
    if enc[:1] != b"\x04":
        raise ValueError("the encapsulated key is no uncompressed point")
    own = b"\x04" + coordinates(private.public_key())
    secrets = b"".join(private.exchange(ec.ECDH(), public_key(point)) for point in (enc[1:], sender))
    shared = _expand(
        _KEM_SUITE,
        _extract(_KEM_SUITE, b"", b"eae_prk", secrets),
        b"shared_secret",
        enc + own + b"\x04" + sender,
        32,
    )
    suite = b"HPKE" + struct.pack(">HHH", 0x0010, 0x0001, aead)
    bound = (
        bytes([_MODE_AUTH]) + _extract(suite, b"", b"psk_id_hash", b"") + _extract(suite, b"", b"info_hash", info)
    )
    secret = _extract(suite, shared, b"secret", b"")
    key, nonce = (
        _expand(suite, secret, b"key", bound, _KEY_SIZE[aead]),
        _expand(suite, secret, b"base_nonce", bound, 12),
    )
    return AESGCM(key).decrypt(nonce, sealed, aad)


def _extract(suite: bytes, salt: bytes, label: bytes, secret: bytes) -> bytes:
    """LabeledExtract (4.)."""
    return hmac.digest(salt, b"HPKE-v1" + suite + label + secret, hashlib.sha256)


def _expand(suite: bytes, key: bytes, label: bytes, info: bytes, size: int) -> bytes:
    """LabeledExpand (4.) to at most one block."""
    text = struct.pack(">H", size) + b"HPKE-v1" + suite + label + info + b"\x01"
    return hmac.digest(key, text, hashlib.sha256)[:size]
