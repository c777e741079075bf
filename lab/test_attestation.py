"""A device proves what it is: OP-TEE's attestation measures what the build has written down without a device.

tests/owner/test_attestation.py has the attacks, on evidence that is made for them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from labgrid import Target

from tzml.device import Challenge, DeviceRecord, read_device
from tzml.owner.attestation import EvidenceError, Measurements, Refusal, check_evidence, read_measurements
from tzml.owner.keys import OwnerKey, public_pem
from tzml_lab.environment import image_of
from tzml_lab.target import Commands, files_of
from tzml_lab.time_limits import scaled

pytestmark = pytest.mark.lg_feature("python")

FOLDER = "/tmp/attestation"  # on the target
OWNER = OwnerKey(ec.generate_private_key(ec.SECP256R1()))


@dataclass
class AttestedDevice:
    """A device that was enrolled, and what the build says of it."""

    command: Commands
    target: Target
    folder: Path
    expected: Measurements
    challenge: Challenge
    device: DeviceRecord

    def attest(self, name: str, challenge: Challenge) -> DeviceRecord:
        """What the device answers to a new challenge."""
        ask(self.target, self.folder, name, challenge)
        do = f"tzml device attest --challenge {FOLDER}/{name}.tzc -o {FOLDER}/{name}.tzd"
        self.command.run_check(do, timeout=scaled(120))
        return fetch(self.target, self.folder, name)


def ask(target: Target, folder: Path, name: str, challenge: Challenge) -> None:
    challenge.write(folder / f"{name}.tzc")
    files_of(target).put(str(folder / f"{name}.tzc"), f"{FOLDER}/{name}.tzc")


def fetch(target: Target, folder: Path, name: str) -> DeviceRecord:
    files_of(target).get(f"{FOLDER}/{name}.tzd", str(folder / f"{name}.tzd"))
    return read_device(folder / f"{name}.tzd")


@pytest.fixture(scope="module")
def lab(command: Commands, target: Target, tmp_path_factory: pytest.TempPathFactory) -> AttestedDevice:
    folder = tmp_path_factory.mktemp("attestation")
    image = image_of(target.env.config)
    if "measurements" not in json.loads((image.folder / "image.json").read_text()):
        pytest.skip("this image was built without attestation")
    (folder / "owner.pub.pem").write_bytes(public_pem(OWNER.public))
    command.run_check(f"rm -rf {FOLDER}; mkdir -m 700 {FOLDER}")
    files_of(target).put(str(folder / "owner.pub.pem"), f"{FOLDER}/owner.pub.pem")
    challenge = Challenge.new()
    ask(target, folder, "first", challenge)
    command.run_check(
        f"tzml device enroll --replace --owner {FOLDER}/owner.pub.pem --challenge {FOLDER}/first.tzc "
        f"-o {FOLDER}/first.tzd",
        timeout=scaled(300),  # OP-TEE makes an RSA key at the first call
    )
    expected = read_measurements(image.folder)
    return AttestedDevice(command, target, folder, expected, challenge, fetch(target, folder, "first"))


def refusal(record: DeviceRecord, challenge: Challenge, expected: Measurements) -> Refusal:
    with pytest.raises(EvidenceError) as caught:
        check_evidence(record, challenge, expected)
    return caught.value.refusal


def test_the_device_measures_what_the_build_computed(lab: AttestedDevice) -> None:
    evidence = check_evidence(lab.device, lab.challenge, lab.expected, [OWNER.public])
    assert len(evidence.modulus) == 384
    assert lab.device.owners == (OWNER.public,)


@pytest.mark.parametrize("part", ["ta", "core"])
def test_another_byte_in_what_the_build_computed_is_refused(lab: AttestedDevice, part: str) -> None:
    right = getattr(lab.expected, part)
    wrong = replace(lab.expected, **{part: right[:-1] + bytes([right[-1] ^ 1])})
    assert refusal(lab.device, lab.challenge, wrong) == Refusal[part.upper()]


def test_it_answers_each_challenge_anew_and_stays_the_same_device(lab: AttestedDevice) -> None:
    challenge = Challenge.new()
    again = lab.attest("again", challenge)
    evidence = check_evidence(again, challenge, lab.expected, [OWNER.public])
    assert lab.device.evidence
    assert (again.public_key, evidence.modulus) == (lab.device.public_key, lab.device.evidence.modulus)
    assert refusal(lab.device, challenge, lab.expected) == Refusal.NONCE
    assert refusal(replace(lab.device, nonce=challenge.nonce), challenge, lab.expected) == Refusal.SIGNATURE


def test_a_new_identity_is_not_taken_for_the_old_one(lab: AttestedDevice) -> None:
    """OP-TEE's key is the same: who holds the register sees the same machine with another key."""
    challenge = Challenge.new()
    ask(lab.target, lab.folder, "new", challenge)
    lab.command.run_check(
        f"tzml device enroll --replace --owner {FOLDER}/owner.pub.pem --challenge {FOLDER}/new.tzc "
        f"-o {FOLDER}/new.tzd",
        timeout=scaled(120),
    )
    new = fetch(lab.target, lab.folder, "new")
    evidence = check_evidence(new, challenge, lab.expected)
    assert lab.device.evidence
    assert evidence.modulus == lab.device.evidence.modulus
    assert new.public_key != lab.device.public_key
    assert refusal(replace(new, public_key=lab.device.public_key), challenge, lab.expected) == Refusal.SIGNATURE
