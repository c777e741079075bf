"""Whether OP-TEE's key, with which evidence is signed, is known to be a device's."""

from __future__ import annotations

from dataclasses import dataclass

from tzml.device import DeviceRecord, Evidence
from tzml.owner.attestation import EvidenceError, Refusal
from tzml.owner.register import Recorded, Register

FIELD = (
    "OP-TEE's key was recorded in the field: whoever sent it may have made it up, and the device with it; "
    "record it where you hold the device (--factory)"
)


@dataclass(frozen=True)
class Known:
    """How a key is known: `given`, `factory` or `field`; what to tell people of it."""

    how: str
    text: str
    warnings: tuple[str, ...] = ()


def known_key(
    record: DeviceRecord,
    evidence: Evidence,
    given: str | None,
    register: Register | None,
    recorded: Recorded | None,
) -> Known:
    """Find the key of evidence that was checked, and write down in the register what was found.

    Args:
        record: the device's
        evidence: its evidence
        given: the id that it must have, as the device showed it
        register: the owner's list of devices
        recorded: how to record a key that is not there, None: it is refused

    Raises EvidenceError if it is another one than was given, or not known.

    """
    key_id = evidence.key_id.hex()
    if given is not None and given.strip().lower() != key_id:
        raise EvidenceError(
            Refusal.KEY, f"the evidence is signed by OP-TEE's key {key_id}, not by the one that was given",
            "it is another device's, or nobody's",
        )  # fmt: skip
    entry = register.entry(evidence) if register else None
    if register and recorded:
        entry = register.record_key(evidence, recorded)
    if register and not entry and given is not None:
        entry = register.record_key(evidence, Recorded.factory)
    if register and entry:
        register.record_device(entry, record)
        text = f"recorded in the {entry.recorded.value} at {entry.since}"
        return Known(entry.recorded.value, text, (FIELD,) if entry.recorded == Recorded.field else ())
    if given is not None:
        return Known("given", "as given")
    other = register.of_device(record) if register and register.folder.is_dir() else None
    what = f"nobody vouches for OP-TEE's key {key_id}: anyone can make one, and sign the right hashes"
    if other:
        what = f"the device's key was signed for by OP-TEE's key {other.key_id} before, and now by {key_id}"
    raise EvidenceError(
        Refusal.KEY, what,
        "hold the device, and record its key with --register and --factory, or give its id with --key",
    )  # fmt: skip


def doubts(record: DeviceRecord, register: Register | None) -> str:
    """Why it is not sure that a grant goes to a device; "" where it is. Raises TzmlError."""
    if not record.evidence:
        return "there is no evidence that this is a device's key"
    if not register:
        return "no register was given, so it is not known whether its evidence was verified (`tzml device verify`)"
    entry = register.of_device(record)
    if not entry:
        return "its evidence was never verified (`tzml device verify --register`)"
    return FIELD if entry.recorded == Recorded.field else ""
