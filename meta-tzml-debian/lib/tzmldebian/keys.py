# SPDX-License-Identifier: Apache-2.0
"""The build's own keys: made once, kept in TZML_KEYS, and never part of the source.

Without the key, nothing can be signed for the devices that trust it. By default, the keys are therefore not in the
build folder, which people and tools empty, but with the user's data.

Recipes that use a key name its file in a task's [file-checksums], so that a different key causes a rebuild.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path
from typing import Any

import bb

from . import host

TA_KEY_BITS = "3072"
TA_KEY = "ta-signing.pem"
HUK_BYTES = "16"  # OP-TEE's HW_UNIQUE_KEY_LENGTH


def folder(d: Any) -> Path:
    """The default of TZML_KEYS: with the user's data, or in the build folder, if it has others than those."""
    ours, old = users_folder(d), old_folder(d)
    return old if has_keys(old) and has_keys(ours) and not _are_same(old, ours) else ours


def users_folder(d: Any) -> Path:
    return Path(d.getVar("XDG_DATA_HOME") or Path(d.getVar("HOST_HOME"), ".local/share"), "tzml/keys")


def old_folder(d: Any) -> Path:
    """Where earlier versions kept the keys."""
    return Path(d.getVar("TOPDIR"), "keys")


def has_keys(directory: Path) -> bool:
    return directory.joinpath(TA_KEY).exists()


def _are_same(one: Path, other: Path) -> bool:
    return one.joinpath(TA_KEY).read_bytes() == other.joinpath(TA_KEY).read_bytes()


def ensure(d: Any) -> None:
    """Make the keys that are missing. Move those in the build folder, or warn that they are in danger."""
    directory, ours, old = Path(d.getVar("TZML_KEYS")), users_folder(d), old_folder(d)
    if has_keys(old) and directory == ours:
        _move(old, ours)
    elif has_keys(old) and directory == old:
        bb.warn(
            f"the keys in {old}, which sign this image, are lost when the build folder is emptied: move the folder "
            f"to a safe place, and name that in TZML_KEYS. Without TZML_KEYS, the keys in {ours} are used"
        )
    _make_missing(d, directory)


def _move(old: Path, new: Path) -> None:
    new.mkdir(mode=0o700, parents=True, exist_ok=True)
    with new.joinpath(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if has_keys(new) and not _are_same(old, new):
            bb.fatal(f"another build has just put other keys into {new}: start this build again")
        # the signing key last: a move that was interrupted begins again
        for path in sorted(old.glob("[!.]*"), key=lambda path: path.name == TA_KEY):
            copy = new / f".{path.name}.new"
            shutil.copy2(path, copy)
            copy.replace(new / path.name)
        shutil.rmtree(old)
    bb.warn(f"the keys of {old} are in {new} from now on, where no cleaning of the build folder deletes them")


def _make_missing(d: Any, directory: Path) -> None:
    ta, ta_public = Path(d.getVar("TA_SIGN_KEY")), Path(d.getVar("TA_SIGN_KEY_PUBLIC"))
    ssh, huk = Path(d.getVar("SSH_KEY")), Path(d.getVar("HUK_FILE"))
    if all(path.exists() for path in (ta, ta_public, huk, ssh, ssh.with_name(f"{ssh.name}.pub"))):
        return
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    with directory.joinpath(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not ta.exists():
            _make(ta, ["openssl", "genrsa", "-out", "{}", TA_KEY_BITS])
        if not ta_public.exists():
            _make(ta_public, ["openssl", "pkey", "-in", str(ta), "-pubout", "-out", "{}"], mode=0o644)
        if not huk.exists():
            _make(huk, ["openssl", "rand", "-out", "{}", HUK_BYTES])
        if not ssh.exists():
            _make(ssh, ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "tzml", "-f", "{}"])
        public = ssh.with_name(f"{ssh.name}.pub")
        if not public.exists():
            public.write_text(host.run(["ssh-keygen", "-y", "-f", str(ssh)]))


def _make(path: Path, command: list[str], mode: int = 0o600) -> None:
    """Run a command that writes a file, whose name replaces `{}`. Others never see an incomplete file."""
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    before = os.umask(0o077)
    try:
        host.run([str(new) if word == "{}" else word for word in command])
    finally:
        os.umask(before)
    new.chmod(mode)
    public = new.with_name(f"{new.name}.pub")  # ssh-keygen writes two files
    if public.exists():
        public.chmod(0o644)
        public.replace(path.with_name(f"{path.name}.pub"))
    new.replace(path)
