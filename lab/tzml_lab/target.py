"""What the lab asks of a target that has booted. labgrid's drivers are not typed; these say what ours promise."""

from __future__ import annotations

import re
from typing import Protocol

from labgrid import Target

from tzml_lab.consoles.record import ConsoleRecord
from tzml_lab.labgrid_internals import CommandResult


class Commands(Protocol):
    """Runs commands; after `timeout` seconds without an end it raises TargetError, or labgrid's own error."""

    def run(self, cmd: str, *, timeout: float = 30.0) -> CommandResult:
        """Standard output and standard error in lines, and the exit status."""
        ...

    def run_check(self, cmd: str, *, timeout: float = 30.0) -> list[str]:
        """Standard output in lines. Raises labgrid's ExecutionError when the command fails."""
        ...


class FileTransfer(Protocol):
    """Copies files and folders. Raises labgrid's ExecutionError, TargetError."""

    def put(self, localfile: str, remotefile: str) -> None:
        """To the target."""
        ...

    def get(self, remotefile: str, localfile: str) -> None:
        """From the target, to that path or into that folder."""
        ...


class RecordedConsole(Protocol):
    """A console that is always read, by a driver of ours."""

    record: ConsoleRecord

    def sendline(self, line: str) -> None:
        """Type a line."""
        ...

    def sendcontrol(self, char: str) -> None:
        """Type a control character: "c" is Ctrl-C."""
        ...

    def expect(self, pattern: str | list[str], timeout: float = -1) -> tuple[int, bytes, re.Match[bytes], bytes]:
        """Index of the pattern that came, what came before it, its match and its text. Raises pexpect's TIMEOUT."""
        ...


class Shell(Commands, Protocol):
    """A shell on a console."""

    console: RecordedConsole
    prompt: str
    target: Target


def commands_of(target: Target) -> Commands:
    """Runs commands by the best way there is: SSH, or a shell on the console."""
    found: Commands = target.get_driver("CommandProtocol")
    return found


def files_of(target: Target) -> FileTransfer:
    """Copies files by the best way there is: SSH, or the serial line."""
    found: FileTransfer = target.get_driver("FileTransferProtocol")
    return found


def shell_of(target: Target) -> Shell:
    """A shell on the console."""
    found: Shell = target.get_driver("ShellDriver")
    return found
