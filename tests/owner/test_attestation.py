"""Evidence as an attacker would make it: changed, exchanged, replayed, or from a device that is only software."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from tzml.cli import tzml
from tzml.device import Challenge, DeviceRecord, Evidence, Report, read_device
from tzml.errors import TzmlError
from tzml.owner.attestation import EvidenceError, Measurements, Refusal, check_evidence, read_measurements
from tzml.owner.eat import claims
from tzml.owner.grant import read_grant
from tzml.owner.keys import OwnerKey, coordinates, public_pem
from tzml.owner.register import Recorded, Register
from tzml.owner.seal import ContentKey

TA, CORE, OTHER = (hashlib.sha256(name).digest() for name in (b"TA", b"core", b"other"))
IMAGE = Measurements(TA, CORE, "hardware", "device-tree-seed")
CHALLENGE = Challenge(bytes(range(32)), bytes(range(32, 64)))
OWNER, STRANGER = (OwnerKey(ec.derive_private_key(number, ec.SECP256R1())) for number in (11, 12))
PSS = padding.PSS(padding.MGF1(hashes.SHA256()), 32)


@cache
def rsa_key(number: int) -> rsa.RSAPrivateKey:
    """OP-TEE's key of that device; smaller than a device's, to save time."""
    return rsa.generate_private_key(65537, 2048)


@dataclass(frozen=True)
class Machine:
    """What answers like a device: an OP-TEE whose attestation says what the TA asks for."""

    number: int = 1
    ta: bytes = TA
    core: bytes = CORE

    def answer(self, challenge: Challenge = CHALLENGE, owners: tuple[bytes, ...] = (OWNER.public,)) -> DeviceRecord:
        key = rsa_key(self.number)
        public = coordinates(ec.derive_private_key(100 + self.number, ec.SECP256R1()).public_key())
        record = DeviceRecord(public, challenge.nonce, owners, None)

        def report(nonce: bytes, measured: bytes) -> Report:
            return Report(measured, key.sign(nonce + measured, PSS, hashes.SHA256()))

        modulus = key.public_key().public_numbers().n.to_bytes(256, "big")
        evidence = Evidence(modulus, report(record.ta_nonce, self.ta), report(record.core_nonce, self.core))
        return replace(record, evidence=evidence)


@cache
def genuine() -> DeviceRecord:
    return Machine().answer()


def refusal(record: DeviceRecord, challenge: Challenge = CHALLENGE, owners: tuple[bytes, ...] = ()) -> Refusal:
    with pytest.raises(EvidenceError) as caught:
        check_evidence(record, challenge, IMAGE, owners)
    return caught.value.refusal


def evidence_of(record: DeviceRecord) -> Evidence:
    assert record.evidence
    return record.evidence


def test_what_a_device_answers_is_accepted() -> None:
    assert check_evidence(genuine(), CHALLENGE, IMAGE, (OWNER.public,)) == genuine().evidence


def test_a_record_without_evidence_proves_nothing() -> None:
    assert refusal(replace(genuine(), evidence=None)) == Refusal.NO_EVIDENCE


def test_an_answer_to_another_challenge_is_refused_and_cannot_be_relabelled() -> None:
    fresh = Challenge.new()
    assert refusal(genuine(), fresh) == Refusal.NONCE
    assert refusal(replace(genuine(), nonce=fresh.nonce), fresh) == Refusal.SIGNATURE


def test_the_key_of_another_device_is_refused() -> None:
    other = Machine(2).answer()
    assert refusal(replace(genuine(), public_key=other.public_key)) == Refusal.SIGNATURE
    assert refusal(replace(genuine(), evidence=other.evidence)) == Refusal.SIGNATURE
    modulus = replace(evidence_of(genuine()), modulus=evidence_of(other).modulus)
    assert refusal(replace(genuine(), evidence=modulus)) == Refusal.SIGNATURE


def test_other_owners_are_refused() -> None:
    added = replace(genuine(), owners=(OWNER.public, STRANGER.public))
    assert refusal(added) == refusal(replace(genuine(), owners=())) == Refusal.SIGNATURE
    assert refusal(genuine(), owners=(STRANGER.public,)) == Refusal.OWNER


def test_another_ta_or_core_is_refused() -> None:
    assert refusal(Machine(ta=OTHER).answer()) == Refusal.TA
    assert refusal(Machine(core=OTHER).answer()) == Refusal.CORE
    # what the attestation says of the core does not stand for the TA
    assert refusal(Machine(ta=CORE, core=TA).answer()) == Refusal.TA


def test_reports_are_not_exchanged() -> None:
    """The normal world may ask for the core's hash with any nonce, but a report does not name its command."""
    evidence = evidence_of(genuine())
    swapped = replace(evidence, ta=evidence.core, core=evidence.ta)
    assert refusal(replace(genuine(), evidence=swapped)) == Refusal.SIGNATURE


@pytest.mark.parametrize(
    "modulus", [bytes(256), b"\x80" + bytes(255), b"\x01" * 32, b"\xff" * 1024], ids=["0", "even", "short", "long"]
)
def test_what_is_no_key_is_refused(modulus: bytes) -> None:
    evidence = replace(evidence_of(genuine()), modulus=modulus)
    assert refusal(replace(genuine(), evidence=evidence)) == Refusal.SIGNATURE


def test_another_padding_is_refused() -> None:
    """PKCS #1 version 1.5, and PSS with another salt, of the right key over the right bytes."""
    evidence, record = evidence_of(genuine()), genuine()
    for scheme in (padding.PKCS1v15(), padding.PSS(padding.MGF1(hashes.SHA256()), 20)):
        signature = rsa_key(1).sign(record.ta_nonce + TA, scheme, hashes.SHA256())
        changed = replace(record, evidence=replace(evidence, ta=Report(TA, signature)))
        assert refusal(changed) == Refusal.SIGNATURE


def test_a_flipped_bit_is_refused_in_every_field(tmp_path: Path) -> None:
    path = tmp_path / "device.tzd"
    genuine().write(path)
    about = json.loads(path.read_text())
    fields: list[tuple[Any, Any]] = [(about, "public_key"), (about, "nonce"), (about["owners"], 0)]
    evidence = about["evidence"]
    fields += [(evidence, "modulus")] + [(evidence[of], name) for of in ("ta", "core") for name in evidence[of]]
    assert len(fields) == 8, "all that a record has besides its format"
    for place, name in fields:
        right = place[name]
        size = len(right) // 2
        for at in {*range(0, size, size // 8), size - 1}:
            wrong = bytearray.fromhex(right)
            wrong[at] ^= 0x10
            place[name] = wrong.hex()
            path.write_text(json.dumps(about))
            assert refusal(read_device(path)) in (Refusal.NONCE if name == "nonce" else Refusal.SIGNATURE,)
        place[name] = right


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("format", "tzml device 0", "its format is not"),
        ("public_key", "00", "public_key has 1 bytes, not 64"),
        ("public_key", None, "public_key is not in hexadecimal digits"),
        ("nonce", "zz", "nonce is not in hexadecimal digits"),
        ("owners", "x", "owners is not a list"),
        ("owners", ["00"], "owners[0] has 1 bytes, not 64"),
        ("evidence", [], "evidence is not an object"),
        ("evidence", {"modulus": "00" * 256}, "evidence.ta is not an object"),
        ("evidence", {"modulus": "00", "ta": {"hash": "00" * 32, "signature": ""}}, "signature has 0 bytes, not 1"),
    ],
)
def test_what_is_no_record_is_named(tmp_path: Path, name: str, value: Any, says: str) -> None:
    path = tmp_path / "device.tzd"
    genuine().write(path)
    path.write_text(json.dumps(json.loads(path.read_text()) | {name: value}))
    with pytest.raises(TzmlError) as caught:
        read_device(path)
    assert f"{path} is not a device's record: " in str(caught.value)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    "text", ["", "[]", "{", "[" * 100_000, '{"measurements": 1}', '{"measurements": {"ta": "0"}}']
)
def test_an_image_json_without_measurements_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "image.json"
    path.write_text(text)
    with pytest.raises(TzmlError, match="image"):
        read_measurements(tmp_path)


def test_a_challenge_is_kept_secret_and_never_written_over(tmp_path: Path) -> None:
    path = tmp_path / "challenge.tzc"
    CHALLENGE.write(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert Challenge.read(path) == CHALLENGE
    with pytest.raises(TzmlError, match="exists"):
        Challenge.new().write(path)
    assert Challenge.new().nonce != Challenge.new().nonce


# -- the commands


@dataclass(frozen=True)
class Desk:
    """The owner's host: a folder with an image's record, a challenge, the owner's keys and a register."""

    folder: Path

    def verify(self, record: DeviceRecord, *more: str | Path) -> Result:
        record.write(self.folder / "device.tzd")
        return self.run(
            "device", "verify", "device.tzd", "--challenge", "challenge.tzc", "--image", "image.json", *more
        )

    def run(self, *command: str | Path) -> Result:
        return CliRunner().invoke(tzml, [*map(str, command)])

    def recorded(self) -> list[str]:
        return [json.loads(path.read_text())["recorded"] for path in sorted((self.folder / "reg").glob("*.json"))]


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.chdir(tmp_path)
    about = {
        "measurements": {"ta": TA.hex(), "core": CORE.hex()},
        "huk": "hardware",
        "entropy": "device-tree-seed",
        "release": True,
    }
    (tmp_path / "image.json").write_text(json.dumps(about))
    CHALLENGE.write(tmp_path / "challenge.tzc")
    (tmp_path / "owner.pub.pem").write_bytes(public_pem(OWNER.public))
    (tmp_path / "stranger.pub.pem").write_bytes(public_pem(STRANGER.public))
    return Desk(tmp_path)


def test_a_device_made_of_software_is_refused_until_its_key_is_in_the_register(desk: Desk) -> None:
    """All hashes and signatures are right: only where its key was written down can tell."""
    software = Machine(3).answer()
    for more in ((), ("--register", "reg")):
        refused = desk.verify(software, *more)
        assert refused.exit_code == Refusal.KEY
        assert "nobody vouches for OP-TEE's key" in refused.stderr
    assert not desk.recorded()
    desk.verify(genuine(), "--register", "reg", "--factory")
    assert desk.verify(software, "--register", "reg").exit_code == Refusal.KEY, "though another device is there"
    in_field = desk.verify(software, "--register", "reg", "--field")
    assert in_field.exit_code == 0
    assert "was recorded in the field: whoever sent it may have made it up" in in_field.stderr
    assert sorted(desk.recorded()) == ["factory", "field"]


def test_a_key_that_was_recorded_is_known_from_then_on(desk: Desk) -> None:
    assert desk.verify(genuine(), "--register", "reg", "--factory").exit_code == 0
    again = desk.verify(genuine(), "--register", "reg", "--owner", "owner.pub.pem", "--json")
    assert again.exit_code == 0
    about = json.loads(again.stdout)
    assert (about["recorded"], about["device"], about["ta"]) == ("factory", genuine().key_id.hex(), TA.hex())
    assert about["warnings"] == []
    # a key of the factory does not become one of the field
    assert (
        json.loads(desk.verify(genuine(), "--register", "reg", "--field", "--json").stdout)["recorded"] == "factory"
    )


def test_a_key_of_the_field_becomes_one_of_the_factory_where_the_owner_holds_the_device(desk: Desk) -> None:
    desk.verify(genuine(), "--register", "reg", "--field")
    assert "warning" not in desk.verify(genuine(), "--register", "reg", "--factory").stderr
    assert desk.recorded() == ["factory"]


def test_a_key_can_be_given(desk: Desk) -> None:
    given = evidence_of(genuine()).key_id.hex()
    assert "as given" in desk.verify(genuine(), "--key", given.upper()).stdout
    refused = desk.verify(Machine(3).answer(), "--key", given)
    assert (refused.exit_code, "not by the one that was given" in refused.stderr) == (Refusal.KEY, True)


def test_the_same_device_with_another_key_of_optee_is_refused(desk: Desk) -> None:
    """OP-TEE's key was lost, or somebody made evidence for a device's public key."""
    desk.verify(genuine(), "--register", "reg", "--factory")
    other = rsa_key(4)
    record = replace(genuine(), evidence=None)
    reports = [
        Report(hash_, other.sign(nonce + hash_, PSS, hashes.SHA256()))
        for nonce, hash_ in ((record.ta_nonce, TA), (record.core_nonce, CORE))
    ]
    modulus = other.public_key().public_numbers().n.to_bytes(256, "big")
    refused = desk.verify(replace(record, evidence=Evidence(modulus, *reports)), "--register", "reg")
    assert refused.exit_code == Refusal.KEY
    assert f"by OP-TEE's key {evidence_of(genuine()).key_id.hex()} before" in refused.stderr


def test_each_refusal_has_its_exit_code_and_is_told_on_one_line(desk: Desk) -> None:
    cases: dict[Refusal, tuple[DeviceRecord, tuple[str, ...]]] = {
        Refusal.NO_EVIDENCE: (replace(genuine(), evidence=None), ()),
        Refusal.NONCE: (Machine().answer(Challenge.new()), ()),
        Refusal.SIGNATURE: (replace(genuine(), public_key=Machine(2).answer().public_key), ()),
        Refusal.TA: (Machine(ta=OTHER).answer(), ()),
        Refusal.CORE: (Machine(core=OTHER).answer(), ()),
        Refusal.OWNER: (genuine(), ("--owner", "stranger.pub.pem")),
        Refusal.KEY: (genuine(), ()),
    }
    assert set(cases) == set(Refusal)
    for code, (record, more) in cases.items():
        refused = desk.verify(record, "--register", "reg", "--eat", "eat.json", *more)
        assert refused.exit_code == code
        assert refused.stderr.count("\n") == 1
        assert refused.stderr.startswith("tzml: device.tzd: ")
        assert refused.stdout == ""
    assert not desk.recorded()
    assert not (desk.folder / "eat.json").exists()


def test_the_claims_are_those_of_rfc_9711(desk: Desk) -> None:
    desk.verify(genuine(), "--register", "reg", "--factory", "--eat", "eat.json")
    found = json.loads((desk.folder / "eat.json").read_text())
    assert found == claims(genuine(), "factory") | {"iat": found["iat"]}
    assert found["measres"] == [["tzml", [["ta", "success"], ["core", "success"]]]]
    assert set(found["cnf"]["jwk"]) == {"kty", "crv", "x", "y"}
    assert len(found["eat_nonce"]) == 43  # 32 bytes in base64url
    assert len(found["ueid"]) == 44  # 33 bytes


@pytest.mark.parametrize(
    ("about", "says"),
    [
        ({"huk": "zero"}, "all zeros"),
        ({"huk": "test"}, "a test key"),
        ({"entropy": "none"}, "can be guessed"),
        ({"release": False}, "also runs models that nobody sealed"),
        ({}, ""),
    ],
)
def test_what_the_image_lacks_is_said(desk: Desk, about: dict[str, str], says: str) -> None:
    image = desk.folder / "image.json"
    image.write_text(json.dumps(json.loads(image.read_text()) | about))
    said = desk.verify(genuine(), "--register", "reg", "--factory").stderr
    assert (says in said) if says else (said == "")


def test_a_damaged_register_is_named_and_left_as_it_is(desk: Desk) -> None:
    desk.verify(genuine(), "--register", "reg", "--factory")
    (path,) = (desk.folder / "reg").iterdir()
    path.write_text("{}")
    damaged = desk.verify(genuine(), "--register", "reg", "--factory")
    assert "is not an entry of a register" in str(damaged.exception)
    assert path.read_text() == "{}"


Granted = Callable[..., Result]


@pytest.fixture
def grant(desk: Desk) -> Granted:
    desk.run("keygen", "-o", "owner.pem")
    ContentKey(bytes(32), bytes(16), bytes(32)).write(desk.folder / "model.tzk")
    genuine().write(desk.folder / "device.tzd")

    def run(*more: str) -> Result:
        return desk.run("grant", "model.tzk", "--owner", "owner.pem", "--device", "device.tzd", *more)

    return run


def test_a_grant_warns_of_devices_that_were_not_verified(desk: Desk, grant: Granted) -> None:
    assert "no register was given" in grant().stderr
    Register(desk.folder / "reg").record_key(evidence_of(Machine(2).answer()), Recorded.factory)
    assert "its evidence was never verified" in grant("--register", "reg").stderr
    desk.verify(genuine(), "--register", "reg", "--field")
    assert "was recorded in the field" in grant("--register", "reg").stderr
    desk.verify(genuine(), "--register", "reg", "--factory")
    said = grant("--register", "reg").stderr
    assert "verified" not in said
    assert "field" not in said


def test_what_revokes_is_a_later_grant_for_no_runs(desk: Desk, grant: Granted) -> None:
    grant()
    done = desk.run("revoke", "model.tzk", "--owner", "owner.pem", "--device", "device.tzd")
    assert done.exit_code == 0, done.output
    old, new = (read_grant((desk.folder / f"model{name}.tzg").read_bytes()) for name in ("", ".revoked"))
    assert new == replace(old, terms=replace(old.terms, budget=0, serial=new.terms.serial))
    assert new.terms.serial > old.terms.serial


def test_a_grant_for_a_register_that_is_not_there_is_refused(desk: Desk, grant: Granted) -> None:
    assert "there is no register in nowhere" in str(grant("--register", "nowhere").exception)
    assert not (desk.folder / "model.tzg").exists()
