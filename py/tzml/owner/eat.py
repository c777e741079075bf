"""What was found out about a device, as an EAT claims set (RFC 9711) in JSON, for other programs."""

from __future__ import annotations

import base64
import time
from typing import Any

from tzml.device import DeviceRecord

_RANDOM_UEID = b"\x01"  # RFC 9711, 4.2.1.1


def claims(record: DeviceRecord, recorded: str) -> dict[str, Any]:
    """The claims of a device whose evidence was checked; unsigned, to be signed or wrapped by whoever passes it on.

    Args:
        record: whose evidence is right
        recorded: how its attestation key is known

    """
    assert record.evidence, "which was checked"
    x, y = record.public_key[:32], record.public_key[32:]
    return {
        "iat": int(time.time()),
        "eat_nonce": _text(record.nonce),
        "ueid": _text(_RANDOM_UEID + record.key_id),
        # RFC 7800: the device has the private half of this key
        "cnf": {"jwk": {"kty": "EC", "crv": "P-256", "x": _text(x), "y": _text(y)}},
        "measres": [["tzml", [["ta", "success"], ["core", "success"]]]],
        "tzml_ta": record.evidence.ta.hash.hex(),
        "tzml_core": record.evidence.core.hash.hex(),
        "tzml_owners": [owner.hex() for owner in record.owners],
        "tzml_attestation_key": record.evidence.key_id.hex(),
        "tzml_recorded": recorded,
    }


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
