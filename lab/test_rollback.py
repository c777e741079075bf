"""Old files that are put back: an older TA, and OP-TEE's storage as it was before."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from labgrid import Target

from tzml.owner.keys import OwnerKey, public_pem
from tzml.signing import sign_library
from tzml_lab.drivers.strategy import TrustZoneStrategy
from tzml_lab.environment import image_of
from tzml_lab.inference.compiling import needed_key
from tzml_lab.target import Commands, commands_of, files_of
from tzml_lab.time_limits import scaled

pytestmark = pytest.mark.lg_feature(["python", "disk"])

FOLDER = "/root/rollback"  # on the target
STORAGE = "/var/lib/optee-client/data/tee"
TA = uuid.UUID("bcfd5ae6-ea1e-4018-a5d9-7673b6e2e51f")  # TZML_TA_UUID
TA_FILE = f"/usr/lib/optee_armtz/{TA}.ta"
MANAGER = "6e256cba-fc4d-4941-ad09-2ca1860342dd"  # PTA_SECSTOR_TA_MGMT_UUID
ITEM_NOT_FOUND = "0xffff0008"  # xtest expects that of an OP-TEE without it


@pytest.fixture(scope="module")
def lab(command: Commands, target: Target, tmp_path_factory: pytest.TempPathFactory) -> Commands:
    folder = tmp_path_factory.mktemp("rollback") / Path(FOLDER).name
    folder.mkdir()
    owner = OwnerKey(ec.generate_private_key(ec.SECP256R1()))
    (folder / "owner.pub.pem").write_bytes(public_pem(owner.public))
    (folder / "open_session.py").write_bytes((Path(__file__).parent / "target/open_session.py").read_bytes())
    command.run_check(f"rm -rf {FOLDER}")
    files_of(target).put(str(folder), FOLDER)
    return command


def enroll(command: Commands) -> str:
    """Make a new identity, and say which."""
    enrolled = f"tzml device enroll --replace --owner {FOLDER}/owner.pub.pem -o {FOLDER}/device.tzd"
    command.run_check(enrolled, timeout=scaled(240))
    return identity(command)


def put_back(command: Commands, copy: str) -> None:
    """Replace all files of the storage. The folder stays, which tee-supplicant has open."""
    command.run_check(f"rm -rf {STORAGE}/* && cp -a {FOLDER}/{copy}/. {STORAGE} && sync", timeout=scaled(60))


def identity(command: Commands) -> str:
    """The device's key, or what was said instead."""
    out, errors, code = command.run("tzml device show --json", timeout=scaled(120))
    return str(json.loads(out[0])["key_id"]) if code == 0 else "\n".join([*out, *errors])


def test_the_normal_world_installs_nothing_into_optee(lab: Commands) -> None:
    """What is installed there comes before the files that OP-TEE looks for old versions in."""
    (answer,) = lab.run_check(f"python3 {FOLDER}/open_session.py {MANAGER}", timeout=scaled(60))
    assert answer == ITEM_NOT_FOUND
    (answer,) = lab.run_check(f"python3 {FOLDER}/open_session.py {TA}", timeout=scaled(60))
    assert answer == "0x00000000", "another one opens, so it is the manager that refuses"


def test_an_older_ta_is_refused(lab: Commands, target: Target, tmp_path: Path) -> None:
    signer = needed_key(target)
    before = enroll(lab)
    files_of(target).get(TA_FILE, str(tmp_path / "new.ta"))
    elf = (tmp_path / "new.ta").read_bytes()
    elf = elf[elf.index(b"\x7fELF") :]
    lab.run_check(f"cp {TA_FILE} {FOLDER}/new.ta")
    try:
        # the same program, of version 0: only the version differs
        (tmp_path / "old.ta").write_bytes(sign_library(elf, TA, signer, version=0))
        files_of(target).put(str(tmp_path / "old.ta"), TA_FILE)
        assert before not in identity(lab)
    finally:
        lab.run_check(f"cp {FOLDER}/new.ta {TA_FILE} && sync")
    assert identity(lab) == before


def counter_of(target: Target) -> str:
    """What counts the states of the storage."""
    return image_of(target.env.config).description.storage_counter


def test_storage_that_is_put_back_while_the_machine_is_off(
    lab: Commands, target: Target, strategy: TrustZoneStrategy
) -> None:
    """Where a counter of the platform counts the states, it is refused. Elsewhere this shows the limit.

    The RPMB that tee-supplicant emulates counts them while the machine runs. It is gone with tee-supplicant, and
    OP-TEE writes its key into the next one and counts anew.
    """
    old = enroll(lab)
    lab.run_check(f"rm -rf {FOLDER}/old && cp -a {STORAGE} {FOLDER}/old")
    new = enroll(lab)
    assert new != old
    lab.run_check(f"rm -rf {FOLDER}/new && cp -a {STORAGE} {FOLDER}/new", timeout=scaled(60))
    put_back(lab, "old")
    if counter_of(target) == "emulated-rpmb":
        assert not any(key in identity(lab) for key in (old, new))
        put_back(lab, "old")
    strategy.restart()
    command = commands_of(target)
    if counter_of(target) in ("none", "emulated-rpmb"):
        assert identity(command) == old
        return
    refused = identity(command)
    assert old not in refused
    assert new not in refused
    # the machine refused what is old, and nothing else
    put_back(command, "new")
    assert identity(command) == new


def test_who_deletes_the_whole_storage_gets_a_new_device_or_none(lab: Commands, target: Target) -> None:
    command = commands_of(target)
    before = enroll(command)
    command.run_check(f"rm -rf {FOLDER}/saved && cp -a {STORAGE} {FOLDER}/saved && rm -rf {STORAGE}/*")
    if counter_of(target) == "none":
        assert "no identity" in identity(command)
        assert enroll(command) != before
        return
    assert "no identity" not in identity(command)  # nothing starts any more
    put_back(command, "saved")
    assert identity(command) == before


def test_an_emulated_rpmb_ends_with_tee_supplicant(
    lab: Commands, target: Target, strategy: TrustZoneStrategy
) -> None:
    """It is in tee-supplicant's memory. OP-TEE takes no other one until it starts anew."""
    if counter_of(target) != "emulated-rpmb":
        pytest.skip("OP-TEE does not use tee-supplicant's RPMB: kas build kas/qemu.yml:kas/opt/emulated-rpmb.yml")
    command = commands_of(target)
    before = enroll(command)
    command.run_check("systemctl restart tee-supplicant")
    assert before not in identity(command)
    strategy.restart()
    assert identity(commands_of(target)) == before
