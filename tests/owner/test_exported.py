"""Checkpoints at their owner: `tzml grant` lets devices make them, `tzml checkpoint` opens exported ones."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from bundle_examples import FOLDER
from conftest import tzml
from cryptography.hazmat.primitives import hpke, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tzml.bundle import read
from tzml.device import DeviceRecord
from tzml.owner.grant import Rights, read_grant
from tzml.owner.keys import OwnerKey, coordinates, public_pem
from tzml.owner.seal import ContentKey

ABOUT = json.loads((FOLDER / "checkpoint.json").read_text())


def key(name: str) -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(int(ABOUT[name], 16), ec.SECP256R1())


def write_private(path: Path, private: ec.EllipticCurvePrivateKey) -> None:
    path.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files of the specification's example, as its owner has them; commands run among them."""
    for name in ("checkpoint.tzm", "checkpoint.tzs", "exported.tzs"):
        shutil.copy(FOLDER / name, tmp_path / name)
    bundle, grant = (FOLDER / "checkpoint.tzm").read_bytes(), (FOLDER / "checkpoint.tzg").read_bytes()
    digest, owner, device = bundle[224:256], bundle[80:144], key("device_private")
    suite = hpke.Suite(hpke.KEM.P256, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)
    secret = suite.decrypt(grant[352:465], device, b"tzml grant 2" + digest + owner)
    ContentKey(digest, bundle[32:48], secret).write(tmp_path / "checkpoint.tzk")
    for name in ("owner", "export"):
        write_private(tmp_path / f"{name}.pem", key(f"{name}_private"))
    (tmp_path / "export.pub.pem").write_bytes(public_pem(coordinates(key("export_private").public_key())))
    for name, private in (("device", device), ("another", key("owner_private"))):
        DeviceRecord(coordinates(private.public_key()), bytes(32), (owner,), None).write(tmp_path / f"{name}.tzd")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def opened(
    *more: str, checkpoint: str = "exported.tzs", private: str = "export.pem", device: str = "device.tzd"
) -> list[str]:
    files = ["checkpoint.tzm", "--content-key", "checkpoint.tzk", "--key", private, "--device", device]
    return ["checkpoint", "open", checkpoint, *files, *more]


def test_the_holder_of_the_export_key_gets_the_next_version_of_the_model(desk: Path) -> None:
    done = tzml(*opened("-o", "trained.tzm"))
    assert done.returncode == 0, done.stderr
    assert done.stdout == "trained.tzm: version 4, after 1 updates; to be kept secret\n"
    trained = read(desk / "trained.tzm")
    assert b"".join(piece.tobytes() for piece in trained.pieces).hex() == ABOUT["state"]
    assert trained.model_version == 4
    assert json.loads(trained.metadata) == {"name": "example"}
    again = tzml("seal", "trained.tzm", "--owner", "owner.pem", "-o", "again.tzm", "--allow-timing")
    assert again.returncode == 0, again.stderr
    clear, sealed = ((desk / name).read_bytes() for name in ("trained.tzm", "again.tzm"))
    state = bytes.fromhex(ABOUT["state"])[:64]
    assert state in clear
    assert state not in sealed


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (opened("-o", "x.tzm", private="owner.pem"), "was exported for another key than this one, or was changed"),
        (opened("-o", "x.tzm", device="another.tzd"), "was exported by another device"),
        (opened("-o", "x.tzm", checkpoint="checkpoint.tzs"), "the checkpoint is saved, and not exported"),
        (opened("-o", "x.tzm", checkpoint="checkpoint.tzm"), "the file is no checkpoint"),
        (opened("--weights", "x.npz"), "do not say where its parameters lie"),
        (opened("-o", "exported.tzs"), "it is an input of this command"),
        (opened(), "give --output, --weights or both"),
        (["checkpoint", "show", "device.tzd"], "the file is no checkpoint"),
    ],
)
def test_what_does_not_fit_is_one_clear_error(desk: Path, command: list[str], expected: str) -> None:
    before = sorted(path.name for path in desk.iterdir())
    done = tzml(*command)
    assert done.returncode == 2
    assert expected in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(path.name for path in desk.iterdir()) == before


def test_a_grant_says_whether_state_is_saved_and_for_whom_it_is_exported(desk: Path) -> None:
    command = ["grant", "checkpoint.tzk", "--owner", "owner.pem", "--device", "device.tzd", "-o", "x.tzg"]
    done = tzml(*command, "--train", "--save-state", "--export-state", "export.pub.pem")
    assert done.returncode == 0, done.stderr
    terms = read_grant((desk / "x.tzg").read_bytes()).terms
    assert terms.rights == Rights.train | Rights.save_state | Rights.export_state
    assert terms.export_key == OwnerKey(key("export_private")).public
    done = tzml(*command, "--train")
    assert done.returncode == 0, done.stderr
    terms = read_grant((desk / "x.tzg").read_bytes()).terms
    assert (terms.rights, any(terms.export_key)) == (Rights.train, False)
    done = tzml(*command, "--save-state")
    assert done.returncode == 2
    assert "give --train too" in done.stderr
