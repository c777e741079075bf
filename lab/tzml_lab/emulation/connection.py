"""SSH to a machine that `tzml boot` started, from the same terminal or another."""

from __future__ import annotations

import fcntl
import json
import os
import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tzml.errors import TzmlError

_FILE = "connection.json"
_LOCK = "lock"


@dataclass(frozen=True)
class Connection:
    """How ssh and scp reach a machine.

    Args:
        user: who logs in
        address: of this host's end
        port: of this host's end
        key: file with the private key that the machine lets in; only this user can read it
        known_hosts: file with the machine's host key, once it is known

    """

    user: str
    address: str
    port: int
    key: str
    known_hosts: str

    @property
    def _options(self) -> list[str]:
        options = (
            f"UserKnownHostsFile={self.known_hosts}", "HostKeyAlias=target", "StrictHostKeyChecking=accept-new",
            "IdentitiesOnly=yes",
        )  # fmt: skip
        return ["-i", self.key, *(word for option in options for word in ("-o", option))]

    def ssh(self, *command: str) -> list[str]:
        """The command line that runs a command there, or opens a shell."""
        return ["ssh", "-p", str(self.port), *self._options, f"{self.user}@{self.address}", *command]

    def scp(self, sources: Sequence[str], target: str) -> list[str]:
        """The command line that copies files and folders. Paths on the machine begin with a colon."""
        paths = [
            f"{self.user}@{self.address}{path}" if path.startswith(":") else path for path in (*sources, target)
        ]
        return ["scp", "-P", str(self.port), *self._options, "-r", "--", *paths]

    def forward(self, here: int, there: int) -> list[str]:
        """The command line that makes a port of this host's 127.0.0.1 lead to the machine's, while it runs."""
        options = ["-N", "-o", "ExitOnForwardFailure=yes", "-L", f"127.0.0.1:{here}:127.0.0.1:{there}"]
        program, *rest = self.ssh()
        return [program, *options, *rest]

    def describe(self) -> list[tuple[str, str]]:
        """Names and command lines for a person."""
        copy = shlex.join(self.scp([], "")[:-2])
        return [("ssh", shlex.join(self.ssh())), ("scp", f"{copy} FILE {self.user}@{self.address}:")]

    def write(self, folder: Path) -> None:
        """Let others find it in the machine's folder."""
        (folder / _FILE).write_text(json.dumps(asdict(self)))


def copy_key(source: Path, target: Path) -> None:
    """Copy a private key for this user alone: ssh refuses one that others can read, or that is another user's."""
    target.unlink(missing_ok=True)
    target.touch(0o600)
    target.write_bytes(source.read_bytes())


def lock(folder: Path) -> None:
    """Lock a machine's folder until this process, or the one that it becomes, ends. Raises TzmlError."""
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    os.set_inheritable(handle, True)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise TzmlError(
            f"the machine with the disk in {folder} runs already", "leave it, or give another --folder"
        ) from error


def find_connection(folder: Path, name: str) -> Connection:
    """The connection to the machine that runs with this folder. Raises TzmlError."""
    if not _locked(folder):
        raise TzmlError(
            f"no machine runs with the disk in {folder}", f"start it in another terminal: tzml boot {name}"
        )
    try:
        return Connection(**json.loads((folder / _FILE).read_text()))
    except FileNotFoundError as error:
        raise TzmlError(f"the machine {name} has no network", "use its console") from error


def _locked(folder: Path) -> bool:
    try:
        handle = os.open(folder / _LOCK, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False
