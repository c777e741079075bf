"""The identity of the device that this runs on, and OP-TEE's evidence for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tzml.client.declarations import ffi
from tzml.client.library import library
from tzml.client.model import check
from tzml.device import DeviceRecord, Evidence, Report


def enroll_device(verifier: bytes, owners: Sequence[bytes], replace: bool = False) -> bytes:
    """Make this device's identity, for models of these owners: its public key, X and Y.

    Args:
        verifier: 32 secret random bytes from whoever will check the device's evidence
        owners: their public keys, X and Y, 64 bytes each
        replace: give up an identity that is there, with all its grants

    Raises RunError.

    """
    point = ffi.new("uint8_t[]", 65)
    check(library().tzml_device_enroll(verifier, b"".join(owners), len(owners), replace, point))
    return bytes(ffi.buffer(point))[1:]


def attest_device(nonce: bytes) -> DeviceRecord:
    """The device's key and owners, with OP-TEE's evidence for whoever chose the nonce of 32 random bytes.

    Raises RunError.
    """
    told: Any = ffi.new("struct tzml_evidence *")
    check(library().tzml_device_attest(nonce, told))
    return DeviceRecord(*record_of(told, nonce))


def record_of(told: Any, nonce: bytes) -> tuple[bytes, bytes, tuple[bytes, ...], Evidence | None]:
    """The fields of a record, from a `struct tzml_evidence *`."""

    def report(of: Any) -> Report:
        return Report(bytes(of.hash), bytes(of.signature)[: told.rsa_size])

    modulus = bytes(told.modulus)[: told.rsa_size]
    owners = tuple(bytes(owner) for owner in told.owners[0 : told.owner_count])
    evidence = Evidence(modulus, report(told.ta), report(told.core)) if modulus else None
    return bytes(told.point)[1:], nonce, owners, evidence


def device_key() -> bytes:
    """The public key of this device, X and Y. Raises RunError if it has no identity."""
    point = ffi.new("uint8_t[]", 65)
    check(library().tzml_device_key(point))
    return bytes(ffi.buffer(point))[1:]
