"""Sealed bundles in the TA: a granted device answers as for the clear bundle; everybody else is refused.

tests/bundle/test_sealed.py has more of the attacks, for the same code on this host. Here OP-TEE's cryptography and
storage take part.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from labgrid import Target

from tzml.bundle import OutputPolicy
from tzml.owner.keys import coordinates
from tzml_lab.environment import ROOT
from tzml_lab.faults import RecordProperty
from tzml_lab.inference.granted import FOLDER, OWNER, STRANGER, Granted, enrolled
from tzml_lab.target import Commands
from tzml_lab.time_limits import scaled
from tzml_zoo.digits import held_out_digits

pytestmark = pytest.mark.lg_feature("python")


@pytest.fixture(scope="module")
def lab(command: Commands, target: Target, tmp_path_factory: pytest.TempPathFactory) -> Granted:
    """An enrolled device with a sealed network, and the same in clear."""
    folder = tmp_path_factory.mktemp("sealed") / Path(FOLDER).name
    folder.mkdir()
    return enrolled(command, target, folder)


def another_device() -> bytes:
    """The public key of a device that is not here."""
    return coordinates(ec.generate_private_key(ec.SECP256R1()).public_key())


@pytest.fixture(scope="module")
def expected(lab: Granted) -> list[float]:
    """The clear bundle's answer, before the device has seen the model sealed."""
    (answer,) = lab.do(("clear", ""))
    assert isinstance(answer, list)
    return answer


def test_a_granted_device_answers_with_the_same_bits_and_another_is_refused(
    lab: Granted, expected: list[float], record_property: RecordProperty
) -> None:
    lab.grant("full")
    lab.grant("for-another-device", device=another_device())
    answer, refusal = lab.do(("sealed", "full"), ("sealed", "for-another-device"))
    assert answer == expected
    assert refusal == "GRANT_DEVICE"
    record_property("sealed_granted", f"answers {int(np.argmax(answer))}, with the bits of the clear network")
    record_property("sealed_other", f"refused ({refusal})")


def test_it_is_right_as_often_as_the_clear_model(lab: Granted) -> None:
    images, labels = held_out_digits()
    np.savez(lab.folder / "set.npz", image=images[:60], labels=labels[:60])
    lab.put("set.npz")

    def evaluate(grant: str) -> dict[str, Any]:
        command = (
            f"tzml evaluate {FOLDER}/sealed.tzm --grant {FOLDER}/{grant}.tzg --against {FOLDER}/clear.tzm "
            f"--data {FOLDER}/set.npz --json"
        )
        (line,) = lab.command.run_check(command, timeout=scaled(240))
        report: dict[str, Any] = json.loads(line)
        return report

    lab.grant("full")
    lab.grant("first", policy=OutputPolicy.top_1)
    full, first = evaluate("full"), evaluate("first")
    sealed, clear = full["scores"]
    assert full["equal"]
    assert sealed["top_1"] == clear["top_1"] >= 0.95 * 60
    assert sealed["top_5"] == clear["top_5"] >= sealed["top_1"]
    assert first["equal"]
    assert (first["scores"][0]["top_1"], first["scores"][0]["top_5"]) == (clear["top_1"], None)


def test_a_device_that_has_seen_it_sealed_refuses_it_clear(lab: Granted, expected: list[float]) -> None:
    lab.grant("full")
    assert lab.do(("sealed", "full"), ("clear", "")) == [expected, "DOWNGRADE"]


def test_without_the_right_grant_nothing_runs(lab: Granted) -> None:
    lab.grant("full")
    lab.grant("of-another-sealing", bundle="again")
    lab.grant("for-another-device", device=another_device())
    lab.grant("of-a-stranger", bundle="stranger", owner=STRANGER)
    broken = bytearray((lab.folder / "full.tzg").read_bytes())
    broken[-1] ^= 1
    (lab.folder / "broken.tzg").write_bytes(broken)
    lab.put("broken.tzg")
    refused = {
        ("sealed", ""): "GRANT_ABSENT",
        ("sealed", "of-another-sealing"): "GRANT_OTHER",
        ("sealed", "for-another-device"): "GRANT_DEVICE",
        ("sealed", "of-a-stranger"): "GRANT_OTHER",
        ("sealed", "broken"): "SIGNATURE",
        ("stranger", "of-a-stranger"): "OWNER_UNKNOWN",
        ("changed", "full"): "SECTION_DIGEST",
    }
    assert dict(zip(refused, lab.do(*refused), strict=True)) == refused


def test_the_output_is_what_the_grant_allows(lab: Granted, expected: list[float]) -> None:
    best = np.argsort(-np.array(expected, np.float32), kind="stable").tolist()
    lab.grant("top-1", policy=OutputPolicy.top_1)
    lab.grant("top-3", policy=OutputPolicy.top_k, argument=3)
    lab.grant("ranks", policy=OutputPolicy.ranks)
    lab.grant("rounded", policy=OutputPolicy.rounded, argument=4)
    top_1, top_3, ranks, rounded = lab.do(
        ("sealed", "top-1"), ("sealed", "top-3"), ("sealed", "ranks"), ("sealed", "rounded")
    )
    assert (top_1, top_3, ranks) == (best[:1], best[:3], best)
    np.testing.assert_allclose(rounded, expected, rtol=2**-5)
    assert all(not np.float32(number).view(np.uint32) & 0x7FFFF for number in rounded)


def test_a_budget_ends_and_a_later_grant_replaces_it_and_nothing_goes_back(
    lab: Granted, expected: list[float]
) -> None:
    lab.grant("budget", serial=20, budget=3)
    lab.grant("more", serial=21, budget=2)
    lab.grant("revoked", serial=22, budget=0)
    assert lab.do(
        ("sealed", "budget", 3), ("sealed", "budget"), ("sealed", "more", 2), ("sealed", "budget"),
        ("sealed", "more"), ("sealed", "revoked"), ("sealed", "more"), ("sealed", "full"),
    ) == [expected, "BUDGET", expected, "GRANT_OLD", "BUDGET", "BUDGET", "GRANT_OLD", "GRANT_OLD"]  # fmt: skip


def test_a_request_that_comes_again_is_counted_once_and_only_in_its_session(
    lab: Granted, expected: list[float]
) -> None:
    lab.grant("twice", serial=25, budget=65)
    # a session takes 64 runs, of which four times the same uses one; another one takes the last
    steps = [("sealed", "twice", 4, "a"), ("sealed", "twice", 1, "a"), ("sealed", "twice", 1, "a")]
    assert lab.do(*steps) == [expected, expected, "BUDGET"]
    lab.grant("once", serial=26, budget=1)
    assert lab.do(("sealed", "once", 5, "a")) == ["BUDGET"]


@pytest.mark.lg_feature("systemd")
def test_tzml_serve_gives_the_ids_of_requests_to_the_ta(lab: Granted) -> None:
    lab.grant("served", serial=27, budget=2)
    (lab.folder / "repeat.py").write_bytes((ROOT / "lab" / "target" / "repeat.py").read_bytes())
    lab.put("repeat.py")
    shape = held_out_digits()[0][:1].shape
    serve = f"tzml-serve --port 8004 --grant sealed={FOLDER}/served.tzg sealed={FOLDER}/sealed.tzm"
    lab.command.run_check(f"systemd-run --unit tzml-repeat {serve}", timeout=scaled(60))
    try:
        ready = "import urllib.request as u; u.urlopen('http://127.0.0.1:8004/v2/health/ready')"
        assert lab.command.poll_until_success(f'python3 -c "{ready}"', timeout=scaled(60))
        told = f"python3 {FOLDER}/repeat.py 8004 sealed {' '.join(map(str, shape))}"
        (line,) = lab.command.run_check(told, timeout=scaled(60))
    finally:
        lab.command.run("systemctl stop tzml-repeat", timeout=scaled(60))
    assert json.loads(line) == [200, 200, 200, 200, 200, 403, 403, 403, 200]


def test_an_old_version_of_the_model_is_refused(lab: Granted, expected: list[float]) -> None:
    lab.grant("again", serial=30)
    lab.grant("newer", bundle="newer", serial=30)
    assert lab.do(("sealed", "again"), ("newer", "newer"), ("sealed", "again")) == [expected, expected, "MODEL_OLD"]


def test_the_device_keeps_its_identity_until_it_is_replaced(lab: Granted) -> None:
    def key() -> str:
        (line,) = lab.command.run_check("tzml device show --json", timeout=scaled(60))
        return str(json.loads(line)["key_id"])

    assert key() == lab.device.key_id.hex()
    enroll = f"tzml device enroll --owner {FOLDER}/owner0.pub.pem -o {FOLDER}/second.tzd"
    _, errors, code = lab.command.run(enroll, timeout=scaled(120))
    assert code == 2
    assert "has an identity already" in " ".join([*_, *errors])
    lab.command.run_check(f"{enroll} --replace", timeout=scaled(240))
    assert key() != lab.device.key_id.hex()
    lab.grant("old-device", serial=40)
    assert lab.do(("newer", "old-device")) == ["GRANT_OTHER"]
    lab.grant("old-device", bundle="newer", serial=40)
    assert lab.do(("newer", "old-device")) == ["GRANT_DEVICE"]


def test_the_record_is_what_the_device_has(lab: Granted) -> None:
    assert lab.device.owners == (OWNER.public,)
    assert hashlib.sha256(b"\x04" + lab.device.public_key).digest() == lab.device.key_id
