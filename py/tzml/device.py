"""A device's record (.tzd) and the challenge (.tzc) that it answers. docs/bundle.md, "Device record (.tzd)".

Devices have this module; they have no package for cryptography.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from tzml.errors import TzmlError
from tzml.files import write_file, write_secret

_FORMAT = "tzml device 1"
_CHALLENGE = "tzml challenge 1"
_NONCE_SIZE, _HASH_SIZE, _KEY_SIZE = 32, 32, 64
# The labels of what OP-TEE signs.
_TA_LABEL, _SESSION_LABEL, _CORE_LABEL = b"tzml device 1", b"tzml stage 1", b"tzml core 1"


# struct tzml_evidence
_MAX_OWNERS, _MAX_RSA_SIZE = 8, 512
_EVIDENCE = struct.Struct("<65s7xII512s512s32s512s32s512s")


@dataclass(frozen=True)
class Challenge:
    """What whoever checks a device's evidence gives to it: 32 secret bytes for its key, and a nonce of 32 bytes."""

    key_bytes: bytes
    nonce: bytes

    @staticmethod
    def new() -> Challenge:
        return Challenge(secrets.token_bytes(_NONCE_SIZE), secrets.token_bytes(_NONCE_SIZE))

    def write(self, path: Path) -> None:
        """Write a new file that only its owner may read. Raises TzmlError."""
        about = {"format": _CHALLENGE, "key_bytes": self.key_bytes.hex(), "nonce": self.nonce.hex()}
        write_secret(path, json.dumps(about, indent=1).encode() + b"\n")

    @staticmethod
    def read(path: Path) -> Challenge:
        """Read what `write` wrote. Raises TzmlError."""
        kind, remedy = "a challenge", "make one with `tzml device challenge`"
        about = _read(path, _CHALLENGE, kind, remedy)
        try:
            return Challenge(_bytes(about, "key_bytes", _NONCE_SIZE), _bytes(about, "nonce", _NONCE_SIZE))
        except ValueError as error:
            raise TzmlError(f"{path} is not {kind}: {error}", remedy) from error


def key_id(public_key: bytes) -> bytes:
    """What names a public key, given as X and Y: SHA-256 of it as 65 bytes."""
    return hashlib.sha256(b"\x04" + public_key).digest()


@dataclass(frozen=True)
class Report:
    """A SHA-256 of memory, and OP-TEE's RSA signature of it."""

    hash: bytes
    signature: bytes


@dataclass(frozen=True)
class Evidence:
    """OP-TEE's attestation: the modulus of its RSA key (the exponent is 65537), and what it says of TA and core."""

    modulus: bytes
    ta: Report
    core: Report

    @property
    def key_id(self) -> bytes:
        """What registers call the key: SHA-256 of its modulus."""
        return hashlib.sha256(self.modulus).digest()


@dataclass(frozen=True)
class DeviceRecord:
    """What a device tells of itself; nothing of it is secret.

    `public_key` has X and Y, 64 bytes. `evidence` is None where OP-TEE has no attestation.
    """

    public_key: bytes
    nonce: bytes
    owners: tuple[bytes, ...]
    evidence: Evidence | None

    _ta_label: ClassVar[bytes] = _TA_LABEL

    @property
    def key_id(self) -> bytes:
        """What grants call the device."""
        return key_id(self.public_key)

    @property
    def ta_nonce(self) -> bytes:
        """The nonce of the TA's report: it ties key and owners to whoever chose the challenge."""
        return self._bound(self._ta_label)

    @property
    def core_nonce(self) -> bytes:
        """The nonce of the core's report."""
        return self._bound(_CORE_LABEL)

    def _bound(self, label: bytes) -> bytes:
        owners = hashlib.sha256(b"".join(self.owners)).digest()
        return hashlib.sha256(label + self.nonce + b"\x04" + self.public_key + owners).digest()

    def write(self, path: Path) -> None:
        """Write the file. Raises TzmlError."""
        evidence = self.evidence and {
            "modulus": self.evidence.modulus.hex(),
            "ta": _report_to_json(self.evidence.ta),
            "core": _report_to_json(self.evidence.core),
        }
        about = {
            "format": _FORMAT,
            "public_key": self.public_key.hex(),
            "nonce": self.nonce.hex(),
            "owners": [owner.hex() for owner in self.owners],
            "evidence": evidence,
        }
        write_file(path, json.dumps(about, indent=1) + "\n")


class SessionRecord(DeviceRecord):
    """What a session tells of its own key, which dies with it: `public_key` is the session's."""

    _ta_label = _SESSION_LABEL

    @property
    def session_id(self) -> bytes:
        """What releases and records call the session (docs/bundle.md, "Release (.tzr)")."""
        return hashlib.sha256(b"tzml session 1" + self.nonce + b"\x04" + self.public_key).digest()


def read_evidence(data: bytes, nonce: bytes) -> SessionRecord:
    """From `struct tzml_evidence` (host/include/tzml.h), as tzml-serve sends it. Raises TzmlError."""
    if len(data) != _EVIDENCE.size:
        raise TzmlError(f"evidence has {_EVIDENCE.size} bytes, not {len(data)}", "use tzml-serve of this version")
    point, count, size, owners, modulus, *reports = _EVIDENCE.unpack(data)
    if count > _MAX_OWNERS or size > _MAX_RSA_SIZE or point[:1] != b"\x04":
        raise TzmlError("the evidence has a field that is out of range", "ask the device again")
    ta, core = (Report(reports[i], reports[i + 1][:size]) for i in (0, 2))
    return SessionRecord(
        point[1:],
        nonce,
        tuple(owners[i * _KEY_SIZE : (i + 1) * _KEY_SIZE] for i in range(count)),
        Evidence(modulus[:size], ta, core) if size else None,
    )


def _report_to_json(report: Report) -> dict[str, str]:
    return {"hash": report.hash.hex(), "signature": report.signature.hex()}


def read_device(path: Path) -> DeviceRecord:
    """Read a device's record. Raises TzmlError."""
    kind = "a device's record"
    remedy = "give the device.tzd that `tzml device enroll` or `tzml device attest` wrote on the device"
    about = _read(path, _FORMAT, kind, remedy)
    try:
        owners = about.get("owners")
        if not isinstance(owners, list):
            raise ValueError("owners is not a list")
        return DeviceRecord(
            _bytes(about, "public_key", _KEY_SIZE),
            _bytes(about, "nonce", _NONCE_SIZE),
            tuple(_bytes({f"owners[{i}]": owner}, f"owners[{i}]", _KEY_SIZE) for i, owner in enumerate(owners)),
            _read_evidence(about.get("evidence")),
        )
    except ValueError as error:
        raise TzmlError(f"{path} is not {kind}: {error}", remedy) from error


def _read_evidence(about: Any) -> Evidence | None:
    if about is None:
        return None
    if not isinstance(about, dict):
        raise ValueError("evidence is not an object")
    modulus = _bytes(about, "modulus")

    def report(name: str) -> Report:
        fields = about.get(name)
        if not isinstance(fields, dict):
            raise ValueError(f"evidence.{name} is not an object")
        return Report(_bytes(fields, "hash", _HASH_SIZE), _bytes(fields, "signature", len(modulus)))

    return Evidence(modulus, report("ta"), report("core"))


def read_json(path: Path, kind: str, remedy: str) -> Any:
    """What a JSON file says; `kind` is what it should be, as in "a challenge". Raises TzmlError."""
    try:
        return json.loads(path.read_text(), parse_constant=_no_number)
    except OSError as error:
        raise TzmlError(f"cannot read {path}: {error.strerror}", remedy) from error
    except (ValueError, RecursionError) as error:
        raise TzmlError(f"{path} is not {kind}: it is no JSON", remedy) from error


def _no_number(name: str) -> None:
    """NaN and infinities, which Python's parser takes, but JSON does not have."""
    raise ValueError(name)


def _read(path: Path, form: str, kind: str, remedy: str) -> dict[str, Any]:
    """The JSON object of a file with that `format`. Raises TzmlError."""
    about = read_json(path, kind, remedy)
    if not isinstance(about, dict) or about.get("format") != form:
        raise TzmlError(f"{path} is not {kind}: its format is not {form!r}", remedy)
    return about


def _bytes(about: dict[str, Any], name: str, size: int | None = None) -> bytes:
    """The bytes of a hexadecimal field. Raises ValueError."""
    value = about.get(name)
    try:
        data = bytes.fromhex(value) if isinstance(value, str) else None
    except ValueError:
        data = None
    if data is None:
        raise ValueError(f"{name} is not in hexadecimal digits")
    if size is not None and len(data) != size:
        raise ValueError(f"{name} has {len(data)} bytes, not {size}")
    return data


def owners_of(paths: Sequence[Path]) -> list[bytes]:
    """Owners' public keys from PEM files, X and Y, without the package cryptography. Raises TzmlError."""
    return [_public_from_pem(path) for path in paths]


# SubjectPublicKeyInfo of a P-256 key (RFC 5480), up to its point.
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
