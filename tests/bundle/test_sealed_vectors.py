"""The vectors for sealed bundles hold: each key, nonce, tag and signature is what docs/bundle.md says."""

from __future__ import annotations

import hashlib
import json
import struct
from typing import Any

import pytest
from bundle_examples import FOLDER, HEADER, ROW
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes, hpke
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tzml.bundle import BundleError, decode

BUNDLE = (FOLDER / "sealed.tzm").read_bytes()
GRANT = (FOLDER / "sealed.tzg").read_bytes()
ABOUT = json.loads((FOLDER / "sealed.json").read_text())
OWNER = BUNDLE[80:144]
DIGEST = BUNDLE[224:256]


def verify(signature: bytes, digest: bytes) -> None:
    x, y = (int.from_bytes(half, "big") for half in (OWNER[:32], OWNER[32:]))
    key = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
    r, s = (int.from_bytes(half, "big") for half in (signature[:32], signature[32:]))
    key.verify(encode_dss_signature(r, s), digest, ec.ECDSA(Prehashed(hashes.SHA256())))


def rows() -> list[tuple[Any, ...]]:
    (count,) = struct.unpack_from("<I", BUNDLE, 16)
    return [struct.unpack_from("<IIBBB5xQQ32s", BUNDLE, HEADER + ROW * i) for i in range(count)]


def test_a_reader_opens_it_with_the_content_key_only() -> None:
    with pytest.raises(BundleError) as caught:
        decode(BUNDLE)
    assert caught.value.status == "GRANT_ABSENT"
    with pytest.raises(BundleError) as caught:
        decode(BUNDLE, bytes(32))
    assert caught.value.status == "SECTION_DIGEST"
    opened = decode(BUNDLE, bytes.fromhex(ABOUT["content_key"]))
    assert opened.chunks[0].tobytes().hex() == ABOUT["sections"][-1]["plaintext"]


def test_the_digest_covers_header_and_table_and_the_owner_signed_it() -> None:
    (size,) = struct.unpack_from("<I", BUNDLE, 12)
    assert hashlib.sha256(BUNDLE[:224] + bytes(96) + BUNDLE[HEADER:size]).digest() == DIGEST
    verify(BUNDLE[256:320], DIGEST)
    with pytest.raises(InvalidSignature):
        verify(BUNDLE[256:320], hashlib.sha256(DIGEST).digest())


def test_the_grant_has_the_content_key_for_the_device() -> None:
    magic, version, size, recipients, required = struct.unpack_from("<8s4I", GRANT)
    assert (magic, version, size, recipients, required) == (b"\x89TZG\r\n\x1a\n", 2, len(GRANT), 1, 0)
    assert (GRANT[24:56], GRANT[56:72], GRANT[72:136]) == (DIGEST, BUNDLE[32:48], OWNER)
    serial, policy, argument, budget, programs, rights, lowest = struct.unpack_from("<QIIQIIQ", GRANT, 136)
    assert (serial, policy, argument, budget, programs, rights, lowest) == (7, 2, 0, 1000, 1, 0, 0)
    assert not any(GRANT[176:320])
    verify(GRANT[-64:], hashlib.sha256(GRANT[:-64]).digest())

    device = ec.derive_private_key(int(ABOUT["device_private"], 16), ec.SECP256R1())
    numbers = device.public_key().public_numbers()
    public = b"\x04" + numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big")
    key_id, sealed = GRANT[320:352], GRANT[352:465]
    assert key_id == hashlib.sha256(public).digest()
    suite = hpke.Suite(hpke.KEM.P256, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)
    info = b"tzml grant 2" + DIGEST + OWNER
    assert info.hex() == ABOUT["hpke_info"]
    assert suite.decrypt(sealed, device, info).hex() == ABOUT["content_key"]


def test_every_section_is_sealed_with_a_nonce_of_its_own_and_bound_to_its_place() -> None:
    cipher = AESGCM(bytes.fromhex(ABOUT["content_key"]))
    binding = hashlib.sha256(BUNDLE[:224] + bytes(96)).digest()
    assert binding.hex() == ABOUT["header_binding"]
    expected = iter(ABOUT["sections"])
    nonces = set()
    for number, (kind, index, worlds, protection, _, offset, size, tag) in enumerate(rows()):
        content = BUNDLE[offset : offset + size]
        if protection == 0:
            assert hashlib.sha256(content).digest() == tag
            continue
        nonce = bytes(4) + struct.pack("<Q", number)
        nonces.add(nonce)
        about = next(expected)
        bound = binding + struct.pack("<III", kind, index, worlds)
        assert nonce.hex() == about["nonce"]
        assert not any(tag[16:])
        assert cipher.decrypt(nonce, content + tag[:16], bound).hex() == about["plaintext"]
        with pytest.raises(InvalidTag):
            cipher.decrypt(nonce, content + tag[:16], binding + struct.pack("<III", kind, index + 1, worlds))
    assert next(expected, None) is None
    assert len(nonces) == sum(protection == 1 for *_, protection, _, _, _, _ in rows()) > 3


def test_the_interface_is_clear() -> None:
    kind, _, _, protection, *_ = rows()[0]
    assert (kind, protection) == (1, 0)
