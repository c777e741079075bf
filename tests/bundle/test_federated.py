"""What a device does for a federated round, as an attacker with all files tries it; by the TA's own code.

The device is tests/c/train_bundle.c, with OpenSSL for OP-TEE's cryptography. Program 0 of the model updates its
parameters, and program 1 looks at them.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from bundle_examples import FOLDER
from checkpoint_device import DEVICES, OTHER, OWNER, opened_by_device
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from federated_device import OTHERS, SERVER, UPDATES, Round, decode_header
from federated_example import DEVIATION, EXPORTED, PARAMETERS, RIGHTS, ROUND, STATE_SIZE, example

from tzml.bundle import BundleError, decode
from tzml.bundle.checkpoint import HEADER_SIZE, CheckpointKind, read_checkpoint
from tzml.errors import TzmlError
from tzml.owner.exported import open_exported, with_state
from tzml.owner.global_model import global_key, make_global_model
from tzml.owner.grant import Rights
from tzml.owner.keys import OwnerKey, coordinates
from tzml.owner.seal import unsealed


@pytest.fixture
def lab(c_tests: Path, tmp_path: Path) -> Round:
    lab = Round(c_tests / "train_bundle", tmp_path)
    lab.seal_private()
    return lab


def test_a_round_takes_a_model_and_gives_its_parameters_to_the_server_alone(lab: Round) -> None:
    assert lab.statuses(("model", lab.give(5, OTHERS), "run=0", "export=update.tzs")) == ["SUCCESS"]
    update = read_checkpoint(lab.read("update.tzs"))
    assert (update.kind, update.number, update.updates) == (CheckpointKind.exported, 5, 1)
    assert update.state_size == EXPORTED
    opened = np.frombuffer(lab.opened("update.tzs"), np.float32)
    np.testing.assert_array_equal(opened[:16], np.arange(16) + np.arange(16) / 2)  # the weights are added
    np.testing.assert_array_equal(opened[16:], np.arange(16, 80))
    with pytest.raises(BundleError, match="another key than this one"):
        open_exported(update, OTHER, coordinates(DEVICES[0].public_key()))


def test_the_sums_get_noise_at_each_update_and_never_leave(lab: Round) -> None:
    """The example's programs leave the sums alone, so that all noise is still there."""
    found = lab.statuses(
        ("model", lab.give(1), "run=0", "save=1.tzs", "run=0", "save=2.tzs", "export=update.tzs"),
        ("model", lab.give(2), "run=0", "save=3.tzs"),
        ("model", lab.give(3), "give-up=4.tzs"),
    )
    assert found == ["SUCCESS"] * 3
    one, two, again, fresh = (
        np.frombuffer(opened_by_device(lab.read(f"{i}.tzs"))[EXPORTED:], np.int32) for i in (1, 2, 3, 4)
    )
    count = (STATE_SIZE - EXPORTED) // 4
    for noise in (one, two - one, again):
        assert noise.std() == pytest.approx(DEVIATION, rel=5 / (2 * count) ** 0.5)
        assert np.count_nonzero(noise) > count - 3
    assert np.count_nonzero(one == again) < 3  # a new model clears the sums, and no noise comes twice
    assert not fresh.any()
    assert len(lab.read("update.tzs")) < HEADER_SIZE + STATE_SIZE


def test_rounds_never_go_back(lab: Round) -> None:
    found = lab.statuses(
        ("model", lab.give(3)),
        ("model", lab.give(2)),
        ("model", lab.give(3)),  # the round is begun again
        ("model", lab.give(4), lab.give(3)),
        ("model", lab.give(3)),
    )
    assert found == ["SUCCESS", "ROUND_OLD", "SUCCESS", "ROUND_OLD", "ROUND_OLD"]


def test_updates_are_counted_over_rounds_sessions_checkpoints_and_grants(lab: Round) -> None:
    found = lab.statuses(
        ("model", lab.give(1), "run=0", "save=kept.tzs", "confirm", "run=0"),
        ("model", "restore=kept.tzs", "run=0", "restore=kept.tzs", "run=0"),
        ("model", "restore=kept.tzs", "run=0"),
        ("model", lab.give(1), "run=0"),
        ("model", "reset", "run=0"),
        ("model", "run=1"),
    )
    ok, spent = "SUCCESS", "PRIVACY_BUDGET"
    assert found == [ok, ok, spent, spent, spent, ok]
    for updates, expected in ((UPDATES, [ok, spent]), (UPDATES + 1, [ok, ok])):
        lab.seal("later", example(OWNER.public), export_key=SERVER.public, rights=RIGHTS, serial=9,
                 noised_updates=updates)  # fmt: skip
        found = lab.statuses(("model", *["run=0"] * UPDATES), ("later", "run=0"))
        assert found == expected


def test_a_grant_without_updates_allows_none(lab: Round) -> None:
    lab.seal_private("none", updates=0)
    assert lab.statuses(("none", "run=1"), ("none", "run=0")) == ["SUCCESS", "PRIVACY_BUDGET"]


def test_global_models_of_others_are_refused(lab: Round) -> None:
    lab.seal_private("again")
    assert lab.statuses(("model", lab.give(1, server=OTHER))) == ["CHECKPOINT_DAMAGED"]
    assert lab.statuses(("model", lab.give(1, device=1))) == ["CHECKPOINT_DEVICE"]
    assert lab.statuses(("model", lab.give(1, name="again"))) == ["CHECKPOINT_VERSION"]
    lab.seal_private("untrusting", rights=RIGHTS & ~Rights.federate)
    assert lab.statuses(("untrusting", lab.give(1, name="untrusting"))) == ["GRANT_STATE"]
    public = replace(example(OWNER.public), memories=(replace(example(OWNER.public).memory, noise=None),))
    lab.seal("public", public, export_key=SERVER.public, rights=RIGHTS)
    assert lab.statuses(("public", lab.give(1, name="public"))) == ["CHECKPOINT_KIND"]
    lab.statuses(("model", "run=0", "export=own.tzs"))
    assert lab.statuses(("model", "restore=own.tzs")) == ["CHECKPOINT_KIND"]


def test_parameters_of_other_shapes_are_refused_and_change_nothing(lab: Round) -> None:
    """By who makes the model, and by the device if a server sends it all the same."""
    with pytest.raises(TzmlError, match="has 256 bytes, and the model's parameters 320"):
        lab.give(1, PARAMETERS[:256])
    bundle = example(OWNER.public)
    memory = bundle.memory
    assert memory.noise
    small = replace(bundle, memories=(replace(memory, noise=replace(memory.noise, sums=256)),))
    made = make_global_model(
        small, decode_header(lab.read("model.tzm")), OWNER.public, SERVER, coordinates(DEVICES[0].public_key()), 1,
        PARAMETERS[:256],
    )  # fmt: skip
    lab.write("small.tzs", made)
    (_, expected), *_ = lab.run(("model", "run=1"))
    (status, _), (_, after) = lab.run(("model", "restore=small.tzs"), ("model", "run=1"))
    assert (status, after) == ("CHECKPOINT_MALFORMED", expected)


@pytest.mark.parametrize("at", [20, 24, 33, 40, 200, 232, 300, 412, HEADER_SIZE, HEADER_SIZE + 300, -1])
def test_a_global_model_that_was_changed_is_refused(lab: Round, at: int) -> None:
    """Sizes, round, updates, salt, note, what follows the bound part, both segments and the last tag."""
    path = lab.give(1).removeprefix("restore=")
    data = bytearray(lab.read(path))
    data[at] ^= 1
    lab.write(path, bytes(data))
    (status,) = lab.statuses(("model", f"restore={path}"))
    assert status == ("CHECKPOINT_MALFORMED" if at in (20, 24, 40, 300, 412) else "CHECKPOINT_DAMAGED")


def test_the_vectors_are_what_the_specification_says(lab: Round) -> None:
    about = json.loads((FOLDER / "federated.json").read_text())
    owner, device, server = (
        ec.derive_private_key(int(about[f"{name}_private"], 16), ec.SECP256R1())
        for name in ("owner", "device", "server")
    )
    bundle = unsealed(decode((FOLDER / "federated.tzm").read_bytes(), bytes.fromhex(about["content_key"])))
    expected = example(coordinates(owner.public_key()))
    assert (bundle.memory.noise, bundle.model_id) == (expected.memory.noise, expected.model_id)
    given = read_checkpoint((FOLDER / "federated.tzs").read_bytes())
    assert (given.kind, given.number, given.state_size) == (CheckpointKind.global_model, ROUND, EXPORTED)
    for private, public in ((device, server), (server, device)):  # both know the key
        key = global_key(private, coordinates(public.public_key()), given.salt, given.digest)
        opened = b"".join(AESGCM(key).decrypt(n, text + tag, given.digest) for n, text, tag in given.segments())
        assert opened.hex() == about["parameters"]
    update = read_checkpoint((FOLDER / "federated-update.tzs").read_bytes())
    assert (update.kind, update.number, update.updates) == (CheckpointKind.exported, ROUND, 2)
    state = open_exported(update, OwnerKey(server), coordinates(device.public_key()))
    numbers = np.frombuffer(state, np.float32)
    np.testing.assert_array_equal(numbers[:16], np.arange(16) / 4 + np.arange(16))  # twice the weights, i / 2
    np.testing.assert_array_equal(numbers[16:], np.arange(16, 80) / 4)
    trained = with_state(bundle, state)
    assert trained.pieces[0].tobytes() == state + bytes(STATE_SIZE - EXPORTED)
