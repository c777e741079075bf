"""The vectors for pipelines hold: each key, nonce and tag is what docs/bundle.md says.

tests/c/test_stage.c shows that a stage gives these records to the last byte.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import struct
from typing import Any

import pytest
from bundle_examples import ANSWER, FOLDER, INPUT, OWNER
from cryptography.hazmat.primitives import hashes, hpke
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tzml.bundle import BundleError
from tzml.device import SessionRecord
from tzml.owner.keys import OwnerKey, coordinates
from tzml.pipeline import EpochKeys, make_release, open_record, read_record, read_release, seal_record

ABOUT: dict[str, Any] = json.loads((FOLDER / "pipeline/keys.json").read_text())
RECORDS = [(FOLDER / f"pipeline/{edge}.tzx").read_bytes() for edge in range(3)]
RELEASES = [(FOLDER / f"pipeline/{stage}.tzr").read_bytes() for stage in range(2)]
SUITE = hpke.Suite(hpke.KEM.P256, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)
SECRETS = [bytes.fromhex(ABOUT[name]) for name in ("client_secret", "edge_secret", "answer_secret")]


def private(digits: str) -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(int(digits, 16), ec.SECP256R1())


def with_byte(data: bytes, at: int, value: int) -> bytes:
    return data[:at] + bytes([value]) + data[at + 1 :]


@pytest.mark.parametrize("stage", range(2))
def test_a_release_has_the_secrets_for_its_session_and_the_owner_signed_it(stage: int) -> None:
    data, session = RELEASES[stage], ABOUT["sessions"][stage]
    magic, version, required, pipeline, epoch, number, count, program, zero = struct.unpack_from(
        "<8sII16sQIIII", data
    )
    assert (magic, version, required, zero) == (b"\x89TZR\r\n\x1a\n", 2, 0, 0)
    assert (pipeline.hex(), epoch) == (ABOUT["pipeline"], ABOUT["epoch"])
    assert (number, count, program) == (stage, 2, 0)
    assert data[56:88] == (FOLDER / f"pipeline/{stage}.tzm").read_bytes()[224:256]
    assert data[88:152] == OWNER.public
    key = private(session["private"])
    point = b"\x04" + coordinates(key.public_key())
    name = hashlib.sha256(b"tzml session 1" + bytes.fromhex(session["nonce"]) + point).digest()
    assert data[152:184] == name == bytes.fromhex(session["id"])
    assert data[184:248] == coordinates(private(ABOUT["client_private"]).public_key())
    secrets = SUITE.decrypt(data[248:393], key, b"tzml release 1" + hashlib.sha256(data[:248]).digest())
    given, taken = bytes.fromhex(ABOUT["client_private"]), bytes.fromhex(ABOUT["edge_secret"])
    assert secrets == (given + taken, taken + bytes(32))[stage]
    assert not any(data[393:448])
    r, s = (int.from_bytes(data[at : at + 32], "big") for at in (448, 480))
    x, y = (int.from_bytes(OWNER.public[at : at + 32], "big") for at in (0, 32))
    numbers = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1())
    digest = hashlib.sha256(data[:448]).digest()
    numbers.public_key().verify(encode_dss_signature(r, s), digest, ec.ECDSA(Prehashed(hashes.SHA256())))


def test_the_client_sealed_its_secret_to_the_pipelines_key() -> None:
    data = RECORDS[0]
    public = RELEASES[0][184:248]
    info = b"tzml client 1" + bytes.fromhex(ABOUT["pipeline"]) + struct.pack("<Q", ABOUT["epoch"]) + public
    assert SUITE.decrypt(data[112:225], private(ABOUT["client_private"]), info) == SECRETS[0]
    assert not any(RECORDS[1][112:225] + RECORDS[2][112:225])


@pytest.mark.parametrize("edge", range(3))
def test_a_record_is_sealed_under_a_key_of_its_request_and_sender(edge: int) -> None:
    data, about = RECORDS[edge], ABOUT["records"][edge]
    header, bound = data[:256], data[16:44] + data[48:64] + data[64:96] + b"\x01"
    key = hmac.digest(SECRETS[edge], b"tzml record 1" + bound, "sha256")
    nonce = bytes(4) + data[96:104]
    assert (key.hex(), nonce.hex()) == (about["key"], about["nonce"])
    assert struct.unpack_from("<I", data, 40) == (edge,)
    assert AESGCM(key).decrypt(nonce, data[256:], header).hex() == about["payload"]
    if edge:
        assert data[64:96].hex() == ABOUT["sessions"][edge - 1]["id"]


def test_the_answers_secret_follows_from_the_clients_and_is_carried_to_the_last_stage() -> None:
    data = RECORDS[0]
    bound = data[16:44] + data[48:64] + data[64:96] + b"\x01"
    assert hmac.digest(SECRETS[0], b"tzml answer 1" + bound, "sha256") == SECRETS[2]
    payloads = [bytes.fromhex(record["payload"]) for record in ABOUT["records"]]
    assert payloads[0] == INPUT
    assert payloads[1][:32] == SECRETS[2]
    assert payloads[2] == struct.pack("<f", ANSWER)


def test_what_is_read_is_what_was_written() -> None:
    for data, secret in zip(RECORDS, SECRETS, strict=True):
        record, payload = open_record(data, secret)
        assert seal_record(record, secret, payload) == data
        assert read_record(data) == record
    assert read_release(RELEASES[1]).encode() == RELEASES[1][:248]


@pytest.mark.parametrize("edge", range(3))
def test_every_byte_of_a_record_is_looked_at(edge: int) -> None:
    data = RECORDS[edge]
    for at in range(len(data)):
        with pytest.raises(BundleError) as caught:
            open_record(with_byte(data, at, data[at] ^ 1), SECRETS[edge])
        assert caught.value.status in ("RECORD_MALFORMED", "RECORD_TAG", "UNSUPPORTED")
    for size in range(0, len(data), 41):
        with pytest.raises(BundleError, match="RECORD_MALFORMED"):
            open_record(data[:size], SECRETS[edge])


def test_every_byte_of_a_release_is_looked_at() -> None:
    for at in range(len(RELEASES[0])):
        with pytest.raises(BundleError) as caught:
            read_release(with_byte(RELEASES[0], at, RELEASES[0][at] ^ 1))
        assert caught.value.status in ("RELEASE_MALFORMED", "SIGNATURE")


@pytest.mark.parametrize(
    ("at", "value", "status"),
    [
        (12, 1, "UNSUPPORTED"),
        (39, 255, "RELEASE_MALFORMED"),
        (40, 2, "RELEASE_MALFORMED"),
        (44, 65, "RELEASE_MALFORMED"),
        (52, 1, "RELEASE_MALFORMED"),
        (393, 1, "RELEASE_MALFORMED"),
    ],
)
def test_a_field_that_is_out_of_range_is_refused_though_the_owner_signed_it(
    at: int, value: int, status: str
) -> None:
    data = with_byte(RELEASES[0][:448], at, value)
    if at == 39:
        data = data[:32] + b"\xff" * 8 + data[40:]
    with pytest.raises(BundleError, match=status):
        read_release(data + OWNER.sign(hashlib.sha256(data).digest()))


def test_new_keys_are_new_and_fit_their_stages() -> None:
    owner = OwnerKey(ec.generate_private_key(ec.SECP256R1()))
    public = coordinates(ec.generate_private_key(ec.SECP256R1()).public_key())
    session = SessionRecord(public, bytes(32), (), None)
    one, two = (EpochKeys.new(bytes(16), 1, 3) for _ in range(2))
    assert one.client_key != two.client_key
    assert len({*one.edges, *two.edges}) == 4
    for stage in range(3):
        release = read_release(make_release(one, owner, session, stage, bytes(32)))
        assert (release.stage, release.stage_count, release.client_public) == (stage, 3, one.client_public)
    taken = [one.of_stage(stage)[:32] for stage in range(3)]
    given = [one.of_stage(stage)[32:] for stage in range(3)]
    assert taken == [one.client_key, *given[:-1]]
    assert given[-1] == bytes(32)
