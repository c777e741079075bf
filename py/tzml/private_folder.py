"""A folder in memory for files that must not reach a disk, and a process that can write nowhere else.

The folder is a tmpfs that only one process sees, with what it starts, and that goes away with it. For that process,
all other file systems can only be read. Where the system gives no mount namespace, the folder is one of /dev/shm.
"""

from __future__ import annotations

import ctypes
import os
import resource
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tzml.errors import TzmlError

_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - a file system in memory
_SWAPS = Path("/proc/swaps")
_MOUNTS = Path("/proc/self/mounts")

_CLONE_NEWNS, _CLONE_NEWUSER = 0x20000, 0x10000000
_MS_NOSUID, _MS_NODEV, _MS_REC, _MS_PRIVATE = 2, 4, 0x4000, 0x40000
_AT_FDCWD, _AT_RECURSIVE = -100, 0x8000
_MOUNT_SETATTR = 442  # the system call, of any architecture (Linux 5.12)
_MOUNT_ATTR_RDONLY = 1
_NO_CORE = 1  # bytes: too few for a file, and the one limit that also holds for a program that takes dumps


@contextmanager
def private_folder(*, allow_swap: bool = False) -> Iterator[Path]:
    """An empty folder for `shut_in`, of which nothing is left in the end.

    Raises TzmlError if memory may be swapped to a disk, unless that is allowed.
    """
    swaps = swap_on_disk()
    if swaps and not allow_swap:
        raise TzmlError(
            f"swap is on ({', '.join(swaps)}), so that a decrypted model may be written to a disk",
            "turn it off (swapoff -a), or accept that with --allow-swap",
        )
    at = _SHARED_MEMORY if os.access(_SHARED_MEMORY, os.W_OK) else None
    folder = Path(tempfile.mkdtemp(prefix="tzml-", dir=at))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def shut_in(folder: Path, warn: Callable[[str], None]) -> None:
    """From now on, let this process and what it starts write only below `folder`, which is in memory.

    What is open stays open. The process has one thread. `warn` is told what the system does not give.
    Raises TzmlError if the folder would be on a disk.
    """
    _allow_no_core()
    os.environ.update(dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(folder)))
    tempfile.tempdir = str(folder)
    try:
        _mount_own(folder)
    except OSError as error:
        if not _is_in_memory(folder):
            raise TzmlError(
                f"there is no place in memory for a decrypted model: {error.strerror}",
                "mount a tmpfs at /dev/shm, or allow mount namespaces",
            ) from error
        warn(
            f"the system gives no mount namespace ({error.strerror}): until the command ends, the decrypted model "
            f"lies in {folder}, where root and this user can read it"
        )
        _keep_from_cache(folder)
        return
    try:
        _set_read_only(b"/", True, _AT_RECURSIVE)
        _set_read_only(os.fsencode(folder), False)
    except OSError:  # before Linux 5.12
        _keep_from_cache(folder)


def _keep_from_cache(folder: Path) -> None:
    """Where nothing is read-only, let also the cache lie in memory."""
    os.environ["TZML_CACHE"] = str(folder / "cache")


def swap_on_disk() -> list[str]:
    """The swap areas that are not in memory, as zram is."""
    try:
        lines = _SWAPS.read_text().splitlines()[1:]
    except OSError:
        return []  # a system without swap
    areas = [line.split()[0] for line in lines if line.strip()]
    return [area for area in areas if not area.startswith("/dev/zram")]


def _allow_no_core() -> None:
    """A dump of memory has the model in it."""
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    limit = _NO_CORE if hard == resource.RLIM_INFINITY else min(hard, _NO_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (limit, limit))


def _mount_own(folder: Path) -> None:
    """Mount a tmpfs that only this process sees. Raises OSError."""
    user, group = f"{os.geteuid()} {os.geteuid()} 1", f"{os.getegid()} {os.getegid()} 1"
    try:
        _call("unshare", _CLONE_NEWNS)
    except PermissionError:
        _call("unshare", _CLONE_NEWNS | _CLONE_NEWUSER)  # who is not root may have one as root of its own users
        for name, text in {"setgroups": "deny", "uid_map": user, "gid_map": group}.items():
            Path(f"/proc/self/{name}").write_text(text)
    _call("mount", b"none", b"/", None, _MS_REC | _MS_PRIVATE, None)
    where, flags = os.fsencode(folder), _MS_NOSUID | _MS_NODEV
    try:
        _call("mount", b"tzml", where, b"tmpfs", flags, b"mode=0700,noswap")
    except OSError:  # before Linux 6.4, and for who is root only of its own users
        _call("mount", b"tzml", where, b"tmpfs", flags, b"mode=0700")


def _set_read_only(path: bytes, on: bool, flags: int = 0) -> None:
    """mount_setattr(2); struct mount_attr has attributes to set, to clear, propagation and a user namespace."""
    attributes = (ctypes.c_uint64 * 4)(_MOUNT_ATTR_RDONLY * on, _MOUNT_ATTR_RDONLY * (not on), 0, 0)
    _call("syscall", _MOUNT_SETATTR, _AT_FDCWD, path, flags, ctypes.byref(attributes), ctypes.sizeof(attributes))


def _call(function: str, *arguments: object) -> None:
    """Call a function of the C library. Raises OSError."""
    wide = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    if getattr(ctypes.CDLL(None, use_errno=True), function)(*wide) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _is_in_memory(folder: Path) -> bool:
    """Whether a folder lies in a tmpfs."""
    found = ("", "")
    for line in _MOUNTS.read_text().splitlines():
        _, where, kind, *_ = line.split()
        if folder.is_relative_to(where) and len(where) >= len(found[0]):
            found = (where, kind)
    return found[1] == "tmpfs"
