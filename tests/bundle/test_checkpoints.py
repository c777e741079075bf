"""What a device takes of checkpoints, as an attacker with all files tries it; by the TA's own code.

The device is tests/c/train_bundle.c, with OpenSSL for OP-TEE's cryptography. The model's program 0 updates the
state, and program 1 looks at it.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import struct
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from bundle_examples import FOLDER
from checkpoint_device import (
    DEVICES,
    EXPORT,
    OTHER,
    OWNER,
    TRAINED,
    Lab,
    opened_by_device,
    scalar,
)
from checkpoint_example import STATE, example
from checkpoint_example import checkpoint as encrypted
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tzml.bundle import BundleError
from tzml.bundle.checkpoint import BOUND_SIZE, HEADER_SIZE, CheckpointKind, read_checkpoint
from tzml.owner.exported import open_exported
from tzml.owner.grant import Rights
from tzml.owner.keys import OwnerKey, coordinates


@pytest.fixture
def lab(c_tests: Path, tmp_path: Path) -> Lab:
    lab = Lab(c_tests / "train_bundle", tmp_path)
    lab.seal("model", example(OWNER.public))
    return lab


@pytest.fixture
def trained(lab: Lab) -> Lab:
    """One checkpoint, after two updates."""
    assert lab.statuses(("model", *TRAINED, "save=one.tzs", "confirm")) == ["SUCCESS"]
    return lab


def test_a_session_goes_on_where_another_saved(trained: Lab) -> None:
    (first, begun), (second, resumed), (third, fresh) = trained.run(
        ("model", *TRAINED, "run=1"), ("model", "restore=one.tzs", "run=1"), ("model", "run=1")
    )
    assert (first, second, third) == ("SUCCESS",) * 3
    assert resumed == begun != fresh
    assert trained.statuses(
        ("model", "restore=one.tzs", "run=0", "save=two.tzs"), ("model", "restore=two.tzs")
    ) == ["SUCCESS", "SUCCESS"]  # fmt: skip
    one, two = (read_checkpoint(trained.read(f"{name}.tzs")) for name in ("one", "two"))
    assert (one.number, one.updates, two.number, two.updates) == (1, 2, 2, 3)
    assert one.kind == CheckpointKind.saved
    assert one.note.rstrip(b"\0") == b"a note"


def test_nothing_of_the_state_can_be_read_and_no_two_share_a_key(trained: Lab) -> None:
    assert trained.statuses(("model", *TRAINED, "save=one-again.tzs")) == ["SUCCESS"]
    one, again = trained.read("one.tzs"), trained.read("one-again.tzs")
    state = struct.pack("<16f", *(1.5 * i for i in range(16)))
    (opened, same) = (opened_by_device(data) for data in (one, again))
    assert opened == same
    assert opened.startswith(state)
    for part in range(0, 64, 8):
        assert state[part : part + 8] not in one[HEADER_SIZE:] or not any(state[part : part + 8])
    # a device whose storage was put back counts from where it was: the key is another all the same
    assert read_checkpoint(one).number == read_checkpoint(again).number
    assert not set(blocks(one)) & set(blocks(again))


def blocks(data: bytes) -> Iterator[bytes]:
    return (data[at : at + 16] for at in range(HEADER_SIZE, len(data) - 15, 16))


def test_a_checkpoint_that_python_writes_is_restored(trained: Lab) -> None:
    header = trained.read("one.tzs")[:BOUND_SIZE]
    trained.write("own.tzs", encrypted(scalar(DEVICES[0]), header, STATE))
    (status, resumed), (_, expected) = trained.run(
        ("model", "restore=own.tzs", "run=1"), ("model", "run=0", "run=1")
    )
    assert (status, resumed) == ("SUCCESS", expected)


def test_an_older_one_is_refused_and_the_newest_of_a_power_cut_is_not(lab: Lab) -> None:
    found = lab.statuses(
        (
            "model",
            "run=0",
            "save=1.tzs",
            "confirm",
            "run=0",
            "save=2.tzs",
        ),  # the power is cut before it is confirmed
        ("model", "restore=1.tzs"),  # the file was not written yet
        ("model", "restore=2.tzs"),  # or it was
        ("model", "restore=1.tzs"),
        ("model", "restore=2.tzs", "run=0", "save=3.tzs", "confirm"),
        ("model", "restore=2.tzs"),
        ("model", "restore=1.tzs"),
        ("model", "restore=3.tzs"),
    )
    ok, old = "SUCCESS", "CHECKPOINT_OLD"
    assert found == [ok, ok, ok, old, ok, old, old, ok]


def test_one_that_was_never_confirmed_ends_with_the_next(lab: Lab) -> None:
    found = lab.statuses(
        ("model", "run=0", "save=1.tzs", "confirm", "save=2.tzs", "save=3.tzs"),
        ("model", "restore=2.tzs"),
        ("model", "restore=3.tzs"),
    )
    assert found == ["SUCCESS", "CHECKPOINT_OLD", "SUCCESS"]


def test_a_session_that_does_not_continue_the_newest_saves_only_if_that_is_given_up(trained: Lab) -> None:
    found = trained.statuses(
        ("model", "run=0", "save=1.tzs", "confirm"),
        ("model", "run=0", "save=2.tzs"),
        ("model", "restore=1.tzs", "reset", "save=2.tzs"),
        ("model", "run=0", "give-up=2.tzs"),
        ("model", "restore=1.tzs"),  # not before the new one is confirmed
        ("model", "run=0", "give-up=3.tzs", "confirm", "run=0", "save=4.tzs", "confirm"),
        ("model", "restore=1.tzs"),
        ("model", "restore=4.tzs"),
    )
    ok, forked = "SUCCESS", "CHECKPOINT_FORKED"
    assert found == [ok, forked, forked, ok, ok, ok, "CHECKPOINT_OLD", ok]


def test_checkpoints_of_others_are_refused(trained: Lab) -> None:
    bundle = example(OWNER.public)
    trained.seal("again", bundle)
    trained.seal("newer", replace(bundle, model_version=bundle.model_version + 1))
    trained.seal("other", replace(bundle, model_id=example(OTHER.public).model_id))
    trained.seal("stolen", bundle, OTHER)
    restore = "restore=one.tzs"
    assert trained.statuses(("other", restore)) == ["CHECKPOINT_MODEL"]
    assert trained.statuses(("stolen", restore)) == ["CHECKPOINT_MODEL"]
    assert trained.statuses(("again", restore)) == ["CHECKPOINT_VERSION"]
    assert trained.statuses(("newer", restore)) == ["CHECKPOINT_VERSION"]
    assert trained.statuses(("model", restore), device=1) == ["CHECKPOINT_DEVICE"]
    trained.write("clear.tzm", bundle.encode())
    assert trained.statuses(("clear", restore)) == ["CHECKPOINT_MODEL"]


HEADER_FIELDS: dict[str, tuple[int, str]] = {
    "magic": (0, "CHECKPOINT_MALFORMED"),
    "format_version": (8, "CHECKPOINT_MALFORMED"),
    "header_size": (12, "CHECKPOINT_MALFORMED"),
    "kind": (16, "CHECKPOINT_KIND"),
    "segment_size": (20, "CHECKPOINT_MALFORMED"),
    "state_size": (24, "CHECKPOINT_MALFORMED"),
    "number": (33, "CHECKPOINT_DAMAGED"),
    "updates": (40, "CHECKPOINT_DAMAGED"),
    "model_version": (48, "CHECKPOINT_VERSION"),
    "model_id": (56, "CHECKPOINT_MODEL"),
    "owner": (72, "CHECKPOINT_MODEL"),
    "bundle_digest": (136, "CHECKPOINT_VERSION"),
    "device": (168, "CHECKPOINT_DEVICE"),
    "salt": (200, "CHECKPOINT_DAMAGED"),
    "note": (232, "CHECKPOINT_DAMAGED"),
    "enc": (296, "CHECKPOINT_MALFORMED"),
    "wrapped": (361, "CHECKPOINT_MALFORMED"),
    "reserved": (409, "CHECKPOINT_MALFORMED"),
}


@pytest.mark.parametrize("field", HEADER_FIELDS)
def test_a_header_that_was_changed_changes_nothing(trained: Lab, field: str) -> None:
    at, status = HEADER_FIELDS[field]
    data = bytearray(trained.read("one.tzs"))
    data[at] ^= 1
    trained.write("changed.tzs", bytes(data))
    assert trained.statuses(("model", "restore=changed.tzs")) == [status]


def test_a_number_that_is_put_into_a_header_does_not_make_an_old_one_new(trained: Lab) -> None:
    trained.statuses(("model", *TRAINED, "save=1.tzs", "confirm", "save=2.tzs", "confirm"))
    data = bytearray(trained.read("1.tzs"))
    struct.pack_into("<Q", data, 32, 2)
    trained.write("renumbered.tzs", bytes(data))
    found = trained.statuses(
        ("model", "save=a.tzs", "confirm", "save=b.tzs", "confirm", "restore=renumbered.tzs"),
    )
    assert found == ["CHECKPOINT_DAMAGED"]
    struct.pack_into("<Q", data, 32, 0)
    trained.write("renumbered.tzs", bytes(data))
    assert trained.statuses(("model", "restore=renumbered.tzs")) == ["CHECKPOINT_MALFORMED"]


def test_every_byte_and_every_end_matters(trained: Lab) -> None:
    """A flip in each segment and tag, each cut at its edges, and segments that change places."""
    data, changed = trained.read("one.tzs"), []
    edges = [HEADER_SIZE, HEADER_SIZE + 256, HEADER_SIZE + 272, HEADER_SIZE + 528, len(data) - 16, len(data) - 1]
    for at in edges:
        changed.append(data[:at] + bytes([data[at] ^ 0x80]) + data[at + 1 :])
        changed.append(data[:at])
    first, second = (data[at : at + 272] for at in (HEADER_SIZE, HEADER_SIZE + 272))
    changed.append(data[:HEADER_SIZE] + second + first + data[HEADER_SIZE + 544 :])
    changed.append(data[:HEADER_SIZE] + first + first + data[HEADER_SIZE + 544 :])
    changed += [b"", data[:8], data[: HEADER_SIZE - 1]]
    for number, content in enumerate(changed):
        trained.write(f"changed{number}.tzs", content)
    found = trained.statuses(*(("model", f"restore=changed{number}.tzs") for number in range(len(changed))))
    assert set(found) == {"CHECKPOINT_DAMAGED", "CHECKPOINT_MALFORMED"}
    assert found[0::2][: len(edges)] == ["CHECKPOINT_DAMAGED"] * len(edges)


def test_the_grant_says_whether_state_is_saved_and_for_whom_it_is_exported(lab: Lab) -> None:
    bundle = example(OWNER.public)
    for name, rights in (("train", Rights.train), ("save", Rights.save_state | Rights.train)):
        lab.seal(name, bundle, rights=rights, export_key=bytes(64))
    lab.seal("export", bundle, rights=Rights.export_state | Rights.train)
    refused = "GRANT_STATE"
    assert lab.statuses(("train", "run=0", "save=1.tzs")) == [refused]
    assert lab.statuses(("save", "run=0", "export=1.tzs")) == [refused]
    assert lab.statuses(("save", "run=0", "save=1.tzs")) == ["SUCCESS"]
    assert lab.statuses(("export", "run=0", "save=1.tzs")) == [refused]
    assert lab.statuses(("export", "restore=1.tzs")) == [refused]
    assert lab.statuses(("export", "run=0", "export=2.tzs")) == ["SUCCESS"]
    assert lab.statuses(("model", "restore=2.tzs")) == ["CHECKPOINT_VERSION"] or lab.statuses(
        ("export", "restore=2.tzs")
    ) == [refused]


def test_an_export_opens_with_the_export_key_alone(trained: Lab) -> None:
    assert trained.statuses(("model", *TRAINED, "export=export.tzs"), ("model", "restore=export.tzs")) == [
        "SUCCESS", "CHECKPOINT_KIND"
    ]  # fmt: skip
    data = trained.read("export.tzs")
    found, device = read_checkpoint(data), coordinates(DEVICES[0].public_key())
    assert open_exported(found, EXPORT, device) == opened_by_device(trained.read("one.tzs"))
    for key, sender, status in (
        (OWNER, device, "CHECKPOINT_DAMAGED"),
        (EXPORT, coordinates(DEVICES[1].public_key()), "CHECKPOINT_DEVICE"),
    ):
        with pytest.raises(BundleError) as caught:
            open_exported(found, key, sender)
        assert caught.value.status == status
    for at in (40, 200, 300, 400, HEADER_SIZE, len(data) - 1):  # updates, salt, enc, wrapped, a segment, a tag
        changed = bytearray(data)
        changed[at] ^= 1
        with pytest.raises(BundleError) as caught:
            open_exported(read_checkpoint(bytes(changed)), EXPORT, device)
        assert caught.value.status == "CHECKPOINT_DAMAGED"
    with pytest.raises(BundleError) as caught:
        open_exported(read_checkpoint(trained.read("one.tzs")), EXPORT, device)
    assert caught.value.status == "CHECKPOINT_KIND"
    # the device still knows the key: nobody else could have made the export's
    assert opened_by_device(data) == open_exported(found, EXPORT, device)


def test_a_clear_model_is_saved_for_the_device_and_not_counted(lab: Lab) -> None:
    lab.write("clear.tzm", example(OWNER.public).encode())
    found = lab.statuses(
        ("clear", "run=0", "save=1.tzs", "confirm", "run=0", "save=2.tzs"),
        ("clear", "restore=2.tzs"),
        ("clear", "restore=1.tzs"),
        ("clear", "export=3.tzs"),
    )
    assert found == ["SUCCESS", "SUCCESS", "SUCCESS", "GRANT_STATE"]
    assert read_checkpoint(lab.read("1.tzs")).number == 0
    assert lab.statuses(("clear", "restore=1.tzs"), device=1) == ["CHECKPOINT_DEVICE"]
    numbered = bytearray(lab.read("1.tzs"))
    struct.pack_into("<Q", numbered, 32, 1)
    lab.write("numbered.tzs", bytes(numbered))
    assert lab.statuses(("clear", "restore=numbered.tzs")) == ["CHECKPOINT_MALFORMED"]


def test_the_vectors_are_what_the_specification_says(tmp_path: Path) -> None:
    about = json.loads((FOLDER / "checkpoint.json").read_text())
    data = (FOLDER / "checkpoint.tzs").read_bytes()
    found = read_checkpoint(data)
    assert hashlib.sha256(data[:296]).hexdigest() == about["digest"] == found.digest.hex()
    secret = bytes.fromhex(about["device_private"])
    key = hmac.digest(secret, b"tzml checkpoint 1" + found.digest, "sha256")
    assert key.hex() == about["key"]
    state = b"".join(AESGCM(key).decrypt(n, text + tag, found.digest) for n, text, tag in found.segments())
    assert state.hex() == about["state"]
    assert [nonce.hex()[-16:] for nonce, _, _ in found.segments()] == [f"{n:02x}" + "0" * 14 for n in range(3)]
    device, export = (
        ec.derive_private_key(int(about[name], 16), ec.SECP256R1()) for name in ("device_private", "export_private")
    )
    exported = read_checkpoint((FOLDER / "exported.tzs").read_bytes())
    assert open_exported(exported, OwnerKey(export), coordinates(device.public_key())) == state


@pytest.mark.parametrize(
    "change", [lambda d: d[:-1], lambda d: d + b"\0", lambda d: b"x" + d[1:], lambda d: d[:100]]
)
def test_python_refuses_what_is_no_whole_checkpoint(change: Callable[[bytes], bytes]) -> None:
    with pytest.raises(BundleError) as caught:
        read_checkpoint(change((FOLDER / "checkpoint.tzs").read_bytes()))
    assert caught.value.status == "CHECKPOINT_MALFORMED"
