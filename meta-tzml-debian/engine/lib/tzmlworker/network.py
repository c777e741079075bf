# SPDX-License-Identifier: GPL-2.0-only
"""Tasks have no network unless their recipe sets `do_x[network] = "1"`."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000


def cut() -> None:
    """Move this process into a network namespace without interfaces. Raises OSError if the kernel forbids it.

    Root needs no user namespace for this, and must not get one: bb.utils.disable_network() maps only one user id,
    but the task that makes the root file system needs all of them.
    """
    uid, gid = os.geteuid(), os.getegid()
    if uid == 0:
        _unshare(CLONE_NEWNET)
        return
    _unshare(CLONE_NEWUSER | CLONE_NEWNET)
    Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")


def _unshare(flags: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(flags) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
