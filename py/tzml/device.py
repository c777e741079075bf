"""A device's record (.tzd): its public key and the evidence for it. docs/bundle.md, "Device record (.tzd)"."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tzml.errors import TzmlError
from tzml.files import write_file

_FORMAT = "tzml device 1"


@dataclass(frozen=True)
class DeviceRecord:
    """What a device told when it was enrolled; nothing of it is secret.

    `public_key` has X and Y, 64 bytes. `evidence` is OP-TEE's attestation over `evidence_nonce`, b"" without one.
    """

    public_key: bytes
    nonce: bytes
    owners: tuple[bytes, ...]
    evidence: bytes

    @property
    def key_id(self) -> bytes:
        """What grants call the device: SHA-256 of its public key as a point."""
        return hashlib.sha256(b"\x04" + self.public_key).digest()

    @property
    def evidence_nonce(self) -> bytes:
        """What the evidence was made over: it ties key and owners to whoever chose the nonce."""
        owners = hashlib.sha256(b"".join(self.owners)).digest()
        return hashlib.sha256(b"tzml device 1" + self.nonce + b"\x04" + self.public_key + owners).digest()

    def write(self, path: Path) -> None:
        """Write the file. Raises TzmlError."""
        about = {
            "format": _FORMAT,
            "public_key": self.public_key.hex(),
            "nonce": self.nonce.hex(),
            "owners": [owner.hex() for owner in self.owners],
            "evidence": self.evidence.hex(),
        }
        write_file(path, json.dumps(about, indent=1) + "\n")


def read_device(path: Path) -> DeviceRecord:
    """Read a device's record. Raises TzmlError."""
    remedy = "give the device.tzd that `tzml device enroll` wrote on the device"
    try:
        about = json.loads(path.read_text())
        if about["format"] != _FORMAT:
            raise ValueError(about["format"])
        record = DeviceRecord(
            bytes.fromhex(about["public_key"]),
            bytes.fromhex(about["nonce"]),
            tuple(map(bytes.fromhex, about["owners"])),
            bytes.fromhex(about["evidence"]),
        )
    except OSError as error:
        raise TzmlError(f"cannot read {path}: {error.strerror}", remedy) from error
    except (ValueError, KeyError, TypeError) as error:
        raise TzmlError(f"{path} is not a device's record", remedy) from error
    if len(record.public_key) != 64 or {len(owner) for owner in record.owners} != {64}:
        raise TzmlError(f"{path} is not a device's record: a key has the wrong size", remedy)
    return record


def owners_of(paths: Sequence[Path]) -> list[bytes]:
    """Owners' public keys from PEM files, X and Y, without the package cryptography. Raises TzmlError."""
    return [_public_from_pem(path) for path in paths]


# SubjectPublicKeyInfo of a P-256 key (RFC 5480), up to its point. A device has no package for cryptography.
_SPKI = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d030107034200" + "04")


def _public_from_pem(path: Path) -> bytes:
    remedy = "give the owner's public key, as `tzml keygen` writes it (.pub.pem)"
    try:
        lines = path.read_text().splitlines()
        start = lines.index("-----BEGIN PUBLIC KEY-----")
        der = base64.b64decode("".join(lines[start + 1 : lines.index("-----END PUBLIC KEY-----")]), validate=True)
    except OSError as error:
        raise TzmlError(f"cannot read the owner's key {path}: {error.strerror}", remedy) from error
    except ValueError as error:
        raise TzmlError(f"{path} is not a public key in PEM format", remedy) from error
    if len(der) != len(_SPKI) + 64 or not der.startswith(_SPKI):
        raise TzmlError(f"{path} is not a P-256 public key", remedy)
    return der[len(_SPKI) :]
