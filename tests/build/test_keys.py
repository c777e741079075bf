"""The build's keys are made once, for their owner's eyes only, and lie where no cleaning deletes them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import bb
import pytest
from tzmldebian import keys


def use(d: Any, folder: Path) -> None:
    d.setVar("TZML_KEYS", str(folder))
    d.setVar("TA_SIGN_KEY", "${TZML_KEYS}/ta-signing.pem")
    d.setVar("TA_SIGN_KEY_PUBLIC", "${TZML_KEYS}/ta-signing.pub.pem")
    d.setVar("SSH_KEY", "${TZML_KEYS}/ssh_ed25519")
    d.setVar("HUK_FILE", "${TZML_KEYS}/test-huk.bin")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keys as a build makes them, once, since that takes seconds."""
    folder = tmp_path_factory.mktemp("made")
    d = bb.data.init()
    d.setVar("HOST_HOME", str(folder))
    d.setVar("TOPDIR", str(folder / "build"))
    use(d, folder / "keys")
    keys.ensure(d)
    return folder / "keys"


@pytest.fixture
def folder(d: Any, tmp_path: Path, made: Path) -> Path:
    d.setVar("HOST_HOME", str(tmp_path / "home"))
    use(d, tmp_path / "keys")
    return shutil.copytree(made, tmp_path / "keys")


def test_keys_are_made_and_kept(d: Any, folder: Path) -> None:
    names = ["ssh_ed25519", "ssh_ed25519.pub", "ta-signing.pem", "ta-signing.pub.pem", "test-huk.bin"]
    assert sorted(path.name for path in folder.glob("[!.]*")) == names
    before = {name: folder.joinpath(name).read_bytes() for name in names}
    keys.ensure(d)
    assert {name: folder.joinpath(name).read_bytes() for name in names} == before

    # a missing half comes back from the other
    for name in ("ssh_ed25519.pub", "ta-signing.pub.pem"):
        folder.joinpath(name).unlink()
    keys.ensure(d)
    public = folder.joinpath("ta-signing.pub.pem").read_bytes()
    assert public == before["ta-signing.pub.pem"]
    assert folder.joinpath("ssh_ed25519.pub").read_bytes().split()[:2] == before["ssh_ed25519.pub"].split()[:2]


def test_private_keys_are_private(folder: Path) -> None:
    modes = {path.name: path.stat().st_mode & 0o777 for path in (folder, *folder.glob("[!.]*"))}
    assert modes == {
        "keys": 0o700,
        "ssh_ed25519": 0o600,
        "ssh_ed25519.pub": 0o644,
        "ta-signing.pem": 0o600,
        "ta-signing.pub.pem": 0o644,
        "test-huk.bin": 0o600,
    }


def test_the_hardware_unique_key_is_as_long_as_optees(folder: Path) -> None:
    assert folder.joinpath("test-huk.bin").stat().st_size == int(keys.HUK_BYTES) == 16


def test_the_ta_key_is_one_that_optee_takes(folder: Path) -> None:
    command: list[str | Path] = ["openssl", "pkey", "-in", folder / "ta-signing.pem", "-noout", "-text"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert f"({keys.TA_KEY_BITS} bit" in text


@pytest.fixture
def home(d: Any, tmp_path: Path) -> Path:
    """Where keys are among a user's data; the build has them at its default place."""
    d.setVar("HOST_HOME", str(tmp_path / "home"))
    d.setVar("TOPDIR", str(tmp_path / "build"))
    use(d, keys.folder(d))
    return tmp_path / "home/.local/share/tzml/keys"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("[!.]*"))


def test_keys_are_not_in_the_build_folder(d: Any, home: Path, tmp_path: Path) -> None:
    keys.ensure(d)
    assert names(home) == ["ssh_ed25519", "ssh_ed25519.pub", "ta-signing.pem", "ta-signing.pub.pem", "test-huk.bin"]
    assert not tmp_path.joinpath("build").exists()


def test_keys_of_an_earlier_version_are_moved(
    d: Any, home: Path, tmp_path: Path, made: Path, caplog: pytest.LogCaptureFixture
) -> None:
    old = shutil.copytree(made, tmp_path / "build/keys")
    before = {name: old.joinpath(name).read_bytes() for name in names(old)}
    modes = {name: old.joinpath(name).stat().st_mode for name in names(old)}

    keys.ensure(d)
    assert not old.exists()
    assert {name: home.joinpath(name).read_bytes() for name in names(home)} == before
    assert {name: home.joinpath(name).stat().st_mode for name in names(home)} == modes
    [said] = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert said.startswith(f"the keys of {old} are in {home} from now on")


def test_a_build_folder_with_other_keys_keeps_them_with_a_warning(
    d: Any, home: Path, tmp_path: Path, made: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(made, home)
    ours = home.joinpath("ta-signing.pem").read_bytes()
    old = tmp_path / "build/keys"
    old.mkdir(parents=True)
    old.joinpath("ta-signing.pem").write_bytes(
        subprocess.run(["openssl", "genrsa", "1024"], capture_output=True, check=True).stdout
    )
    d.setVar("TZML_KEYS", str(keys.folder(d)))
    assert d.getVar("TZML_KEYS") == str(old)
    keys.ensure(d)
    [said] = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert said.startswith(f"the keys in {old}, which sign this image, are lost when the build folder is emptied")
    assert home.joinpath("ta-signing.pem").read_bytes() == ours


def test_a_move_that_was_interrupted_is_finished(d: Any, home: Path, tmp_path: Path, made: Path) -> None:
    shutil.copytree(made, home)
    old = tmp_path / "build/keys"
    old.mkdir(parents=True)
    old.joinpath("ta-signing.pem").write_bytes(home.joinpath("ta-signing.pem").read_bytes())
    d.setVar("TZML_KEYS", str(keys.folder(d)))
    keys.ensure(d)
    assert not old.exists()
