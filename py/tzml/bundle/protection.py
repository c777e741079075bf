"""How a section is protected: what becomes of its bytes in the file, and what its tag is.

docs/bundle.md, "Section table", defines the protections; runtime/protection.c has them for C.
"""

from __future__ import annotations

import hashlib
import struct
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


class AesGcm:
    """AES-256-GCM under a bundle's content key, of 32 bytes. Needs the package cryptography."""

    code = 1

    def __init__(self, key: bytes) -> None:
        self._key = key

    def seal(self, binding: Binding) -> Stream:
        return _Sealing(self._key, binding)

    def open(self, binding: Binding) -> Stream:
        return _Opening(self._key, binding)


def nonce_of(number: int) -> bytes:
    """AES-GCM's nonce of what has this number, and nothing else under its key: a section has that of its row."""
    return bytes(4) + struct.pack("<Q", number)


def associated_data(binding: Binding) -> bytes:
    """What a sealed section is bound to."""
    return binding.header + struct.pack("<III", binding.type, binding.index, binding.worlds)


class _Sealing:
    def __init__(self, key: bytes, binding: Binding) -> None:
        from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

        self._cipher = Cipher(algorithms.AES(key), modes.GCM(nonce_of(binding.row))).encryptor()
        self._cipher.authenticate_additional_data(associated_data(binding))

    def update(self, data: Buffer) -> Buffer:
        return self._cipher.update(data)

    def finish(self) -> bytes:
        self._cipher.finalize()
        return self._cipher.tag + bytes(DIGEST_SIZE - len(self._cipher.tag))


class _Opening:
    """Opens a section, and computes the tag that it should have: encrypting again gives the same bytes."""

    def __init__(self, key: bytes, binding: Binding) -> None:
        from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

        cipher = Cipher(algorithms.AES(key), modes.GCM(nonce_of(binding.row)))
        self._opening, self._again = cipher.decryptor(), cipher.encryptor()
        for context in (self._opening, self._again):
            context.authenticate_additional_data(associated_data(binding))

    def update(self, data: Buffer) -> Buffer:
        content = self._opening.update(data)
        self._again.update(content)
        return content

    def finish(self) -> bytes:
        self._again.finalize()
        return self._again.tag + bytes(DIGEST_SIZE - len(self._again.tag))


def protection_of(code: int, key: bytes | None = None) -> Protection:
    """The protection with that code; `key` is the bundle's content key.

    Raises BundleError: PROTECTION for a code that this version does not know, GRANT_ABSENT without the key.
    """
    if code == CLEAR.code:
        return CLEAR
    if code != AesGcm.code:
        raise BundleError(
            "PROTECTION", f"a section has the protection {code}", "update tzml, or compile a clear bundle"
        )
    if key is None:
        raise BundleError("GRANT_ABSENT", "the bundle is sealed", "only its owner and granted devices open it")
    return AesGcm(key)


def verify_owner(owner: bytes, digest: bytes, signature: bytes) -> None:
    """Check an owner's ECDSA signature (r and s) of a SHA-256 digest. Raises BundleError (SIGNATURE).

    A device's Python may be without the package cryptography. There the TA checks signatures, and the normal world
    has nothing to gain from doing so: whoever changes the bundle can change the check.
    """
    try:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature
    except ImportError:
        return
    half = len(signature) // 2
    r, s = (int.from_bytes(part, "big") for part in (signature[:half], signature[half:]))
    try:
        key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), b"\x04" + owner)
        key.verify(encode_dss_signature(r, s), digest, ec.ECDSA(Prehashed(hashes.SHA256())))
    except (InvalidSignature, ValueError) as error:
        raise BundleError(
            "SIGNATURE", "the owner's signature is wrong", "get the file from the owner again"
        ) from error


assert hashlib.sha256().digest_size == DIGEST_SIZE
