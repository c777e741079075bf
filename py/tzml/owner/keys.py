"""An owner's P-256 key: it signs bundles and grants, and tells owners apart."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature

from tzml.errors import TzmlError
from tzml.files import write_secret

_MAKE_ONE = "give a P-256 key, as `tzml keygen` makes one"


class Signer(Protocol):
    """An owner's private key, wherever it is."""

    @property
    def public(self) -> bytes:
        """The public key, X and Y, 64 bytes."""

    def sign(self, digest: bytes) -> bytes:
        """ECDSA over a SHA-256 digest: r and s, 64 bytes. Raises TzmlError."""


class OwnerKey:
    """An owner's private key. It stays in memory; nothing prints it."""

    def __init__(self, key: ec.EllipticCurvePrivateKey) -> None:
        self._key = key

    @property
    def public(self) -> bytes:
        """The public key, X and Y, 64 bytes."""
        return coordinates(self._key.public_key())

    @property
    def private(self) -> ec.EllipticCurvePrivateKey:
        """The key itself, for what is sealed to it."""
        return self._key

    def sign(self, digest: bytes) -> bytes:
        """ECDSA over a SHA-256 digest: r and s, 64 bytes. Deterministic (RFC 6979): nothing random to get wrong."""
        der = self._key.sign(digest, ec.ECDSA(Prehashed(hashes.SHA256()), deterministic_signing=True))
        r, s = decode_dss_signature(der)
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def coordinates(key: ec.EllipticCurvePublicKey) -> bytes:
    """X and Y of a P-256 public key, 64 bytes."""
    kind = serialization.PublicFormat.UncompressedPoint
    return key.public_bytes(serialization.Encoding.X962, kind)[1:]  # without the 4 that says that both follow


def public_key(xy: bytes) -> ec.EllipticCurvePublicKey:
    """The key with these coordinates. Raises ValueError if they are no point of P-256."""
    return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), b"\x04" + xy)


def generate(path: Path, passphrase: bytes | None = None) -> OwnerKey:
    """Make a key and write it to a new file that only its owner may read (PKCS #8, PEM).

    Raises TzmlError if the file exists: a key that is written over is lost, and all that was made with it.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    encryption = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    write_secret(path, pem)
    return OwnerKey(key)


def public_pem(xy: bytes) -> bytes:
    """A public key as a PEM file has it (SubjectPublicKeyInfo)."""
    kind = serialization.PublicFormat.SubjectPublicKeyInfo
    return public_key(xy).public_bytes(serialization.Encoding.PEM, kind)


def load_private(path: Path, passphrase: bytes | None = None, remedy: str = "see `--passphrase-file`") -> OwnerKey:
    """Read an owner's private key (PEM); `remedy` is for one with a passphrase. Raises TzmlError."""
    return OwnerKey(read_private(path, passphrase, remedy))


def read_private(
    path: Path, passphrase: bytes | None = None, remedy: str = "see `--passphrase-file`"
) -> ec.EllipticCurvePrivateKey:
    """Read a P-256 private key (PEM); `remedy` is for one with a passphrase. Raises TzmlError."""
    try:
        key = serialization.load_pem_private_key(_read(path), passphrase)
    except TypeError as error:  # a passphrase is missing, or there is one too many
        what = "needs a passphrase" if passphrase is None else "has no passphrase"
        raise TzmlError(f"the private key {path} {what}", remedy) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise TzmlError(
            f"{path} is not a private key in PEM format, or its passphrase is wrong", _MAKE_ONE
        ) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise TzmlError(f"{path} is not a P-256 key", _MAKE_ONE)
    return key


def load_public(path: Path) -> bytes:
    """A P-256 public key, X and Y, 64 bytes, from a PEM file with either half. Raises TzmlError."""
    pem = _read(path)
    if b"PRIVATE KEY" in pem:
        return load_private(path, remedy="give its public half (.pub.pem)").public
    try:
        key = serialization.load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise TzmlError(f"{path} is not a key in PEM format", _MAKE_ONE) from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise TzmlError(f"{path} is not a P-256 key", _MAKE_ONE)
    return coordinates(key)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise TzmlError(f"cannot read the key {path}: {error.strerror}", _MAKE_ONE) from error
