# SPDX-License-Identifier: Apache-2.0
"""The build's own keys: made once, kept in TZML_KEYS, and never part of the source.

Recipes that use a key name its file in a task's [file-checksums], so that a different key causes a rebuild.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Any

from . import host

TA_KEY_BITS = "3072"


def ensure(d: Any) -> None:
    """Make the keys that are missing."""
    directory = Path(d.getVar("TZML_KEYS"))
    ta, ta_public = Path(d.getVar("TA_SIGN_KEY")), Path(d.getVar("TA_SIGN_KEY_PUBLIC"))
    ssh = Path(d.getVar("SSH_KEY"))
    if all(path.exists() for path in (ta, ta_public, ssh, ssh.with_name(f"{ssh.name}.pub"))):
        return
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    with directory.joinpath(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not ta.exists():
            _make(ta, ["openssl", "genrsa", "-out", "{}", TA_KEY_BITS])
        if not ta_public.exists():
            _make(ta_public, ["openssl", "pkey", "-in", str(ta), "-pubout", "-out", "{}"], mode=0o644)
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
