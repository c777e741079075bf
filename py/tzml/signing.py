"""Signing of kernel libraries, so that OP-TEE loads them.

The format is OP-TEE's (core/include/signed_hdr.h, scripts/sign_encrypt.py of optee_os): a header, a
hash, a signature, the library's UUID and version, then the ELF. OP-TEE accepts only what is signed with
the key that it was built with.
"""

from __future__ import annotations

import hashlib
import struct
import uuid
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from tzml.errors import TzmlError

SigningKey = rsa.RSAPrivateKey

_HEADER = struct.Struct("<IIIIHH")
_MAGIC = 0x4F545348
_BOOTSTRAP_TA = 1
_IDENTITY_SIZE = 16 + 4  # a UUID, and a version
# OP-TEE also verifies RSASSA-PSS, but its salt would make every bundle different. The same model and key must give
# the same bytes.
_RSASSA_PKCS1_V1_5_SHA256 = 0x70004830


def load_signing_key(path: Path) -> SigningKey:
    """Read an RSA private key from a PEM file without a passphrase. Raises TzmlError."""
    remedy = "give the RSA private key the image was built with (~/.local/share/tzml/keys/ta-signing.pem)"
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise TzmlError(f"cannot read the signing key {path}: {error.strerror}", remedy) from error
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise TzmlError(f"{path} is not a private key in PEM format without a passphrase", remedy) from error
    if not isinstance(key, rsa.RSAPrivateKey) or key.key_size < 2048:
        raise TzmlError(f"{path} is not an RSA key of at least 2048 bits", remedy)
    return key


@dataclass(frozen=True)
class SignedLibrary:
    """A signed library: what is before the ELF file, and that file."""

    header: bytes
    elf: bytes

    @staticmethod
    def read(path: Path) -> SignedLibrary:
        """What `sign_library` made, from a file. Raises TzmlError."""
        remedy = "give a file that `tzml sign-kernels` wrote"
        try:
            image = path.read_bytes()
        except OSError as error:
            raise TzmlError(f"cannot read {path}: {error.strerror}", remedy) from error
        return SignedLibrary.of(image, str(path), remedy)

    @staticmethod
    def of(image: bytes, name: str, remedy: str) -> SignedLibrary:
        """What `sign_library` made. Raises TzmlError, which calls it `name`, if it is something else."""
        if len(image) < _HEADER.size:
            raise TzmlError(f"{name} is not a signed library: it has {len(image)} bytes", remedy)
        magic, kind, size, _, digest_size, signature_size = _HEADER.unpack_from(image)
        start = _HEADER.size + digest_size + signature_size + _IDENTITY_SIZE
        if (magic, kind) != (_MAGIC, _BOOTSTRAP_TA) or len(image) != start + size:
            raise TzmlError(f"{name} is not a signed library, or not whole", remedy)
        return SignedLibrary(image[:start], image[start:])


def sign_library(elf: bytes, name: uuid.UUID, key: SigningKey, version: int = 0) -> bytes:
    """Sign a library that OP-TEE loads by `name`. OP-TEE refuses a lower `version` than the installed one."""
    header = _HEADER.pack(_MAGIC, _BOOTSTRAP_TA, len(elf), _RSASSA_PKCS1_V1_5_SHA256, 32, key.key_size // 8)
    identity = name.bytes + struct.pack("<I", version)
    digest = hashlib.sha256(header + identity + elf).digest()
    signature = key.sign(digest, padding.PKCS1v15(), Prehashed(hashes.SHA256()))
    return header + digest + signature + identity + elf
