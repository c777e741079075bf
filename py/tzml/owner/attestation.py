"""Checks what a device proves of itself against the build's record. docs/bundle.md, "Device record (.tzd)"."""

from __future__ import annotations

import enum
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from tzml.device import Challenge, DeviceRecord, Evidence, Report, read_json
from tzml.errors import TzmlError

_EXPONENT = 65537
_BITS = range(2048, 4097)
_SALT_SIZE = 32
_PSS = padding.PSS(padding.MGF1(hashes.SHA256()), _SALT_SIZE)


class Refusal(enum.IntEnum):
    """Why evidence is refused; the values are exit codes of `tzml device verify` and `tzml pipeline admit`."""

    NO_EVIDENCE = 20
    NONCE = 21
    SIGNATURE = 22
    TA = 23
    CORE = 24
    OWNER = 25
    KEY = 26


class EvidenceError(TzmlError):
    """Evidence that proves nothing, and why."""

    def __init__(self, refusal: Refusal, what: str, remedy: str = "") -> None:
        super().__init__(what, remedy)
        self.refusal = refusal


@dataclass(frozen=True)
class Measurements:
    """What the image's TA and OP-TEE's core measure, 32 bytes each, and what OP-TEE's secrets are worth there."""

    ta: bytes
    core: bytes
    huk: str
    entropy: str
    release: bool = True

    @property
    def warnings(self) -> list[str]:
        """Why the evidence is worth less than it says on such an image."""
        found = []
        if self.huk != "hardware":
            found.append(
                f"the image's hardware unique key is {'all zeros' if self.huk == 'zero' else 'a test key'}: "
                "whoever reads the device's storage finds the keys of OP-TEE and of the device"
            )
        if self.entropy == "none":
            found.append("the image has no source of random numbers: OP-TEE's key can be guessed")
        if not self.release:
            found.append("the image is for development: its TA also runs models that nobody sealed")
        return found


def read_measurements(path: Path) -> Measurements:
    """From an image's image.json, or the folder that has it. Raises TzmlError."""
    path = path / "image.json" if path.is_dir() else path
    remedy = "give the image.json of the image that runs on the device"
    about = read_json(path, "an image.json", remedy)
    found = about.get("measurements") if isinstance(about, dict) else None
    if not isinstance(found, dict):
        raise TzmlError(f"{path} has no measurements", remedy)
    for name in ("ta", "core"):
        if not re.fullmatch(r"[0-9a-f]{64}", str(found.get(name))):
            raise TzmlError(f"{path}: measurements.{name} is not 64 hexadecimal digits", remedy)
    return Measurements(
        bytes.fromhex(found["ta"]),
        bytes.fromhex(found["core"]),
        str(about.get("huk", "zero")),  # an image that does not say it has none
        str(about.get("entropy", "none")),
        about.get("release") is True,
    )


def check_evidence(
    record: DeviceRecord, challenge: Challenge, expected: Measurements, owners: Sequence[bytes] = ()
) -> Evidence:
    """Check all that can be seen in the record: the evidence, whose key is still to be known by other means.

    Args:
        record: what the device told
        challenge: what it was asked
        expected: what the image measures
        owners: public keys, X and Y, for which it must be enrolled

    Raises EvidenceError for the first thing that is wrong.

    """
    evidence = record.evidence
    if not evidence:
        raise EvidenceError(
            Refusal.NO_EVIDENCE, "the record has no evidence: the device's OP-TEE has no attestation",
            "nothing tells its key from one that was made up",
        )  # fmt: skip
    if not hmac.compare_digest(record.nonce, challenge.nonce):
        raise EvidenceError(
            Refusal.NONCE, "the record does not answer this challenge, but another: it may be old",
            "let the device answer: `tzml device attest --challenge` or `enroll --challenge`",
        )  # fmt: skip
    key = _public_key(evidence.modulus)
    _check_signature(key, record.ta_nonce, evidence.ta, "TA")
    _check_signature(key, record.core_nonce, evidence.core, "core")
    for refusal, report, hash_, what in (
        (Refusal.TA, evidence.ta, expected.ta, "the device runs another TA than the image has"),
        (Refusal.CORE, evidence.core, expected.core, "the device runs another OP-TEE than the image has"),
    ):
        if report.hash != hash_:
            raise EvidenceError(
                refusal, f"{what}: it measures {report.hash.hex()}, not {hash_.hex()}",
                "give the image.json of the image that is on the device, or install that image",
            )  # fmt: skip
    for owner in owners:
        if owner not in record.owners:
            raise EvidenceError(
                Refusal.OWNER, f"the device was not enrolled for the owner {owner.hex()[:16]}…",
                "enroll it again, with this owner's public key",
            )  # fmt: skip
    return evidence


def _public_key(modulus: bytes) -> rsa.RSAPublicKey:
    number = int.from_bytes(modulus, "big")
    try:
        if number.bit_length() not in _BITS:
            raise ValueError(f"{number.bit_length()} bits")
        return rsa.RSAPublicNumbers(_EXPONENT, number).public_key()
    except ValueError as error:
        raise EvidenceError(
            Refusal.SIGNATURE, f"the evidence has no usable RSA key: {error}", "ask the device again"
        ) from error


def _check_signature(key: rsa.RSAPublicKey, nonce: bytes, report: Report, of: str) -> None:
    try:
        key.verify(report.signature, nonce + report.hash, _PSS, hashes.SHA256())
    except InvalidSignature as error:
        raise EvidenceError(
            Refusal.SIGNATURE,
            f"OP-TEE's signature for the {of} is wrong: it is not of this key, nonce, owners and hash",
            "the record was changed, or put together from several; ask the device again",
        ) from error
