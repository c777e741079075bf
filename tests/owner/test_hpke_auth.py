"""HPKE in mode_auth opens what RFC 9180 sealed: A.3.3, whose suite differs from ours in AES-128."""

from __future__ import annotations

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import ec

from tzml.owner.hpke_auth import open_auth

PRIVATE = ec.derive_private_key(0xD929AB4BE2E59F6954D6BEDD93E638F02D4046CEF21115B00CDDA2ACB2A4440E, ec.SECP256R1())
SENDER = bytes.fromhex(
    "a817a0902bf28e036d66add5d544cc3a0457eab150f104285df1e293b5c10eef8651213e43d9cd9086c80b309df22cf37609f58c1127f760"
    "7e85f210b2804f73"
)
ENC = bytes.fromhex(
    "042224f3ea800f7ec55c03f29fc9865f6ee27004f818fcbdc6dc68932c1e52e15b79e264a98f2c535ef06745f3d308624414153b22c7332b"
    "c1e691cb4af4d53454"
)
SEALED = bytes.fromhex("82ffc8c44760db691a07c5627e5fc2c08e7a86979ee79b494a17cc3405446ac2bdb8f265db4a099ed3289ffe19")
INFO, AAD = bytes.fromhex("4f6465206f6e2061204772656369616e2055726e"), b"Count-0"
AES_128_GCM = 1


def test_the_message_of_the_rfc_opens() -> None:
    assert open_auth(PRIVATE, SENDER, ENC, SEALED, INFO, AAD, AES_128_GCM) == b"Beauty is truth, truth beauty"


def test_nothing_else_opens() -> None:
    def changed(data: bytes) -> bytes:
        return data[:-1] + bytes([data[-1] ^ 1])

    for arguments in (
        (SENDER, ENC, changed(SEALED), INFO, AAD),
        (SENDER, ENC, SEALED, changed(INFO), AAD),
        (SENDER, ENC, SEALED, INFO, changed(AAD)),
        (ENC[1:], ENC, SEALED, INFO, AAD),
    ):
        with pytest.raises(InvalidTag):
            open_auth(PRIVATE, *arguments, AES_128_GCM)
    for sender, enc in ((changed(SENDER), ENC), (SENDER, changed(ENC)), (SENDER, b"\x02" + ENC[1:])):
        with pytest.raises(ValueError, match=r"point|curve|key"):
            open_auth(PRIVATE, sender, enc, SEALED, INFO, AAD, AES_128_GCM)
