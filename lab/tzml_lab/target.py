"""Types for what the lab uses of a booted target: labgrid's own drivers have none."""

from __future__ import annotations

import re
from typing import Protocol

from labgrid import Target

from tzml_lab.consoles.record import ConsoleRecord
from tzml_lab.labgrid_internals import CommandResult


class Commands(Protocol):
    """Runs commands.

    Raises TargetError or labgrid's own error when one takes longer than `timeout` seconds: 30, scaled, if it is not
    given.
    """

    def run(self, cmd: str, *, timeout: float | None = None) -> CommandResult:
        """Standard output and standard error in lines, and the exit status."""
        ...

    def run_check(self, cmd: str, *, timeout: float | None = None) -> list[str]:
        """Standard output in lines. Raises labgrid's ExecutionError when the command fails."""
        ...

    def poll_until_success(self, cmd: str, *, timeout: float | None = None) -> bool:
        """Run it again and again until it succeeds: whether it did so within `timeout` seconds."""
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
    """A console that one of our drivers reads all the time."""

    record: ConsoleRecord

    def sendline(self, line: str) -> None:
        """Type a line."""
        ...

    def sendcontrol(self, char: str) -> None:
        """Type a control character: "c" is Ctrl-C."""
        ...

    def expect(self, pattern: str | list[str], timeout: float = -1) -> tuple[int, bytes, re.Match[bytes], bytes]:
        """Wait for a pattern: its index, the bytes before it, its match, its bytes. Raises pexpect's TIMEOUT."""
        ...


class Shell(Commands, Protocol):
    """A shell on a console."""

    console: RecordedConsole
    prompt: str
    target: Target


def commands_of(target: Target) -> Commands:
    """The best way to run commands: SSH if the target has a network, otherwise a shell on the console."""
    found: Commands = target.get_driver("CommandProtocol")
    return found


def files_of(target: Target) -> FileTransfer:
    """The best way to copy files: SSH if the target has a network, otherwise the serial line."""
    found: FileTransfer = target.get_driver("FileTransferProtocol")
    return found


def shell_of(target: Target) -> Shell:
    """A shell on the console."""
    found: Shell = target.get_driver("ShellDriver")
    return found
