# SPDX-License-Identifier: GPL-2.0-only
"""A build folder has one user at a time.

kas writes the folder's configuration and then starts BitBake, which reads it: another run of kas in between would
change what the first one builds. So a run of kas holds the folder's lock from before it writes until it ends. An
interactive `kas shell`, which may stay open for days, holds it only while one of its `bitbake` commands runs.

The lock is a file with the holder's process id. It is locked for as long as a process has it open, so nothing has
to be cleaned up, however a holder ends.
"""

from __future__ import annotations

import fcntl
import os
import select
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

LOCK = "tzml.lock"
# what kas exports to its shells and to BitBake: the process that holds the folder for them
HOLDER = "TZML_BUILD_HOLDER"
# and for whom it had to wait
WAITED = "TZML_BUILD_WAITED"
RETRY_SECONDS = 0.1  # between the end of a holder and that of the process that keeps the lock for it


class GaveUpError(Exception):
    """The process that waits for the folder has ended."""


def acquire(build: Path, holder: int, say: Callable[[str], None]) -> TextIO:
    """Lock the build folder for the process `holder`, after all others. The lock ends with the returned file.

    `say` is called with a description of the other holder if it has to wait. Raises GaveUpError if `holder` ends
    meanwhile.
    """
    lock = build.joinpath(LOCK).open("a+")
    said = False
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            other = holder_of(build)
            if not said:
                say(f"`{command_line(other)}` (process {other})")
                said = True
            if wait_for_end(other, holder) == holder:
                raise GaveUpError from None
        else:
            lock.truncate(0)
            lock.write(f"{holder}\n")
            lock.flush()
            return lock


def in_use(build: Path, other: str) -> str:
    return (
        f"{build} is in use by {other}: waiting until it ends. "
        "KAS_BUILD_DIR names another folder, for building at the same time"
    )


def holder_of(build: Path) -> int:
    """The process for which the folder is, or was last, locked; 0 if there was none."""
    try:
        return int(build.joinpath(LOCK).read_text() or 0)
    except (FileNotFoundError, ValueError):
        return 0


def wait_for_end(*processes: int) -> int:
    """Wait until one of the processes ends, and return it, or 0 after a moment if one has ended already."""
    poll, watched = select.poll(), {}
    for process in processes:
        try:
            descriptor = os.pidfd_open(process)
        except (OSError, OverflowError):
            continue
        watched[descriptor] = process
        poll.register(descriptor, select.POLLIN)
    try:
        ended = poll.poll(None if len(watched) == len(processes) else 1000 * RETRY_SECONDS)
    finally:
        for descriptor in watched:
            os.close(descriptor)
    return watched[ended[0][0]] if ended else 0


def keep(lock: TextIO, holder: int) -> None:
    """Leave a process behind that keeps the lock until `holder` has ended."""
    if os.fork():
        return
    os.setsid()
    os.chdir("/")
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in range(3):  # the caller waits for the end of its output
        os.dup2(null, descriptor)
    wait_for_end(holder)
    os._exit(0)


def arguments_of(process: int) -> list[str]:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
    except OSError:
        return []


def command_line(process: int) -> str:
    """What a person typed, as far as the kernel knows it: without the interpreter and the folder of the program."""
    words = arguments_of(process)
    if words and Path(words[0]).name.startswith("python"):
        del words[0]
    return " ".join([Path(words[0]).name, *words[1:]]) if words else "another program"


def is_kas(process: int) -> bool:
    return any(Path(word).name == "kas" for word in arguments_of(process)[:3])


def is_interactive(process: int) -> bool:
    """Whether a kas process opens a shell for a person."""
    words = arguments_of(process)
    return "shell" in words and not any(word.startswith(("-c", "--c")) for word in words)
