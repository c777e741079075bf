"""Copy files over a console whose system has no Python: BusyBox's tar, xz, gzip, base64 and sha256sum do it.

Everything is packed into one archive, sent as text and compared by its digest. A damaged transfer is done again
as a whole: this is for emulators, whose consoles lose nothing. Boards have file_transfer.py.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import lzma
import re
import shlex
import tarfile
from pathlib import Path, PurePosixPath

from labgrid.driver import ExecutionError
from pexpect import TIMEOUT

from tzml_lab.target import RecordedConsole
from tzml_lab.time_limits import scaled

_ARCHIVE = "/tmp/.tzml-lab-files"
_TAR = f"{_ARCHIVE}.tar"
_TRIES = 3
# a terminal takes lines of up to 4095 bytes
_WIDTH = 1024
_SECONDS = 120.0


class ShellFiles:
    """The host's end of a transfer. Nothing else may use the console until it is over.

    Args:
        console: labgrid's ConsoleProtocol, with a shell's prompt
        prompt: regular expression of that prompt

    """

    def __init__(self, console: RecordedConsole, prompt: str) -> None:
        self._console = console
        self._prompt = prompt

    def put(self, local: Path, remote: PurePosixPath) -> None:
        """Copy a file or folder to exactly that path. Raises ExecutionError, pexpect's TIMEOUT."""
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as archive:
            archive.add(local, arcname=remote.name, filter=_by_root)
        # hundreds of bundles that differ in a byte take as much as one: gzip looks back only 32 KiB
        data = lzma.compress(packed.getvalue(), check=lzma.CHECK_CRC32)
        folder = shlex.quote(str(remote.parent))
        for _ in range(_TRIES):
            self._send(base64.b64encode(data).decode())
            if self._digest() == hashlib.sha256(data).hexdigest():
                # two steps: not every BusyBox has tar's -J
                self._run(f"mkdir -p {folder} && xz -dc <{_ARCHIVE} >{_TAR} && tar -xf {_TAR} -C {folder}")
                return
        raise ExecutionError(f"copying to {remote}: the console damaged it {_TRIES} times")

    def get(self, remote: PurePosixPath, local: Path) -> None:
        """Copy a file or folder to that path, or into that folder. Raises ExecutionError, pexpect's TIMEOUT."""
        packed = f"tar -cf {_TAR} -C {shlex.quote(str(remote.parent))} {shlex.quote(remote.name)}"
        self._run(f"{packed} && gzip -c <{_TAR} >{_ARCHIVE}")
        digest = self._digest()
        for _ in range(_TRIES):
            try:
                data = base64.b64decode(self._run(f"base64 {_ARCHIVE}"), validate=True)
            except binascii.Error:
                continue
            if hashlib.sha256(data).hexdigest() == digest:
                break
        else:
            raise ExecutionError(f"copying {remote}: the console damaged it {_TRIES} times")
        folder, name = (local, remote.name) if local.is_dir() else (local.parent, local.name)
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            for member in archive:
                member.name = str(PurePosixPath(name, *PurePosixPath(member.name).parts[1:]))
                archive.extract(member, folder, filter="data")

    def _send(self, text: str) -> None:
        # the start is waited for: what comes before it would be lost to the shell's own reading of the line
        self._console.sendline(f"stty -echo; echo '= st''art'; base64 -d >{_ARCHIVE}; stty echo")
        try:
            self._console.expect(r"= start\r", timeout=scaled(_SECONDS))
            for at in range(0, len(text), _WIDTH):
                self._console.sendline(text[at : at + _WIDTH])
            self._console.sendcontrol("d")
            self._console.expect(self._prompt, timeout=scaled(_SECONDS))
        except TIMEOUT:
            self._console.sendcontrol("c")
            self._console.sendline("stty echo")
            raise

    def _digest(self) -> str:
        return self._run(f"sha256sum <{_ARCHIVE}")[:64]

    def _run(self, command: str) -> str:
        """A command's output without its line ends. Raises ExecutionError."""
        self._console.sendline(f"echo '= st''art'; {{ {command}; }} 2>&1; echo \"= end $?\"")
        self._console.expect(r"= start\r\n", timeout=scaled(_SECONDS))
        _, heard, match, _ = self._console.expect(r"= end (\d+)\r", timeout=scaled(_SECONDS))
        self._console.expect(self._prompt, timeout=scaled(_SECONDS))
        said = heard.decode("utf-8", "replace")
        if int(match[1]):
            raise ExecutionError(f"{command}: {' '.join(said.split())}")
        return re.sub(r"\s", "", said)


def _by_root(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member
