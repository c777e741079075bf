"""Copy files over the serial line of a shell, for boards without a network.

Files and folders are packed into one archive and sent in lines with checksums. Every line is confirmed, and sent
again if it was damaged: a UART has no flow control, and kernel messages appear in between.
"""

from __future__ import annotations

import base64
import io
import re
import shlex
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from labgrid.driver import ExecutionError
from pexpect import TIMEOUT

from tzml_lab.folders import DATA
from tzml_lab.target import RecordedConsole
from tzml_lab.time_limits import scaled

_HELPER = DATA / "target" / "files.py"
# the same as in lab/target/files.py
SIZE = 2100
_TRIES = 5
# seconds until a line or its answer counts as lost, and seconds to pack or unpack everything
_LOST, _PACK = 5.0, 120.0


class SerialFiles:
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
        with tarfile.open(fileobj=packed, mode="w:xz") as archive:
            archive.add(local, arcname=remote.name)
        parts = list(_parts(packed.getvalue()))
        with self._helper("receive", str(remote.parent), str(len(parts))):
            for number, part in enumerate(parts):
                line = f"{number} {zlib.crc32(part):08x} {base64.b64encode(part).decode()}"
                self._ask(line, rf"= {number} ok\r")

    def get(self, remote: PurePosixPath, local: Path) -> None:
        """Copy a file or folder to that path, or into that folder. Raises ExecutionError, pexpect's TIMEOUT."""
        parts = []
        with self._helper("send", str(remote)):
            lines = int(self._await(r"= lines (\d+)\r", _PACK)[1])
            for number in range(lines):
                parts.append(self._part(number))
        folder, name = (local, remote.name) if local.is_dir() else (local.parent, local.name)
        with tarfile.open(fileobj=io.BytesIO(b"".join(parts))) as archive:
            for member in archive:
                member.name = str(PurePosixPath(name, *PurePosixPath(member.name).parts[1:]))
                archive.extract(member, folder, filter="data")

    def _part(self, number: int) -> bytes:
        """The content of a line. Asks again for a damaged one."""
        for _ in range(_TRIES):
            answer = self._ask(str(number), rf"= {number} ([0-9a-f]{{8}}) ([A-Za-z0-9+/=]*)\r")
            try:
                data = base64.b64decode(answer[2], validate=True)
            except ValueError:
                continue
            if zlib.crc32(data) == int(answer[1], 16):
                return data
        raise TIMEOUT(f"line {number} was damaged {_TRIES} times")

    @contextmanager
    def _helper(self, *arguments: str) -> Iterator[None]:
        """The target's end of the transfer, in the foreground of the shell."""
        # the program is too long for a command line
        start = "import base64,zlib;print('= start');exec(zlib.decompress(base64.b64decode(input())))"
        program = base64.b64encode(zlib.compress(_HELPER.read_bytes(), 9)).decode()
        self._console.sendline(f"stty -echo; python3 -uc {shlex.quote(start)} {shlex.join(arguments)}; stty echo")
        try:
            self._await("= start\r", _PACK)
            self._console.sendline(program)
            self._await("= ready\r", _PACK)
            yield
            self._ask("end", "= done\r", _PACK)
        except BaseException:
            self._console.sendcontrol("c")
            self._console.sendline("stty echo")
            raise
        self._console.expect(self._prompt, timeout=scaled(_PACK))

    def _ask(self, line: str, answer: str, seconds: float | None = None) -> re.Match[bytes]:
        """Send a line until it is answered. Raises ExecutionError, TIMEOUT."""
        for left in reversed(range(_TRIES)):
            self._console.sendline(line)
            try:
                return self._await(answer, seconds or _LOST)
            except TIMEOUT:
                if not left:
                    raise
        raise AssertionError("unreachable")

    def _await(self, answer: str, seconds: float) -> re.Match[bytes]:
        index, _, match, _ = self._console.expect([rf"[\r\n]{answer}", r"\n! (.*)\r"], timeout=scaled(seconds))
        if index:
            raise ExecutionError(match[1].decode("utf-8", "replace"))
        found: re.Match[bytes] = match
        return found


def _parts(data: bytes) -> Iterator[bytes]:
    for start in range(0, len(data), SIZE):
        yield data[start : start + SIZE]
