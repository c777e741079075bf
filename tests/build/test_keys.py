"""The build's keys are made once, for their owner's eyes only."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from tzmldebian import keys


@pytest.fixture
def folder(d: Any, tmp_path: Path) -> Path:
    folder = tmp_path / "keys"
    d.setVar("TZML_KEYS", str(folder))
    d.setVar("TA_SIGN_KEY", str(folder / "ta-signing.pem"))
    d.setVar("TA_SIGN_KEY_PUBLIC", str(folder / "ta-signing.pub.pem"))
    d.setVar("SSH_KEY", str(folder / "ssh_ed25519"))
    keys.ensure(d)
    return folder


def test_keys_are_made_and_kept(d: Any, folder: Path) -> None:
    names = ["ssh_ed25519", "ssh_ed25519.pub", "ta-signing.pem", "ta-signing.pub.pem"]
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
    }


def test_the_ta_key_is_one_that_optee_takes(folder: Path) -> None:
    command: list[str | Path] = ["openssl", "pkey", "-in", folder / "ta-signing.pem", "-noout", "-text"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert f"({keys.TA_KEY_BITS} bit" in text
