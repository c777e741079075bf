"""labgrid's private names, each behind a public name of ours. No other file uses them.

This file was written for the release FITS. With another release, tests/lab/test_labgrid_internals.py fails until
somebody has compared this file with the new labgrid.
"""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from labgrid import Environment
from labgrid.driver import Driver, QEMUDriver, SerialDriver, ShellDriver, SSHDriver
from labgrid.driver.consoleexpectmixin import ConsoleExpectMixin
from labgrid.pytestplugin.hooks import LABGRID_ENV_KEY
from labgrid.resource import RemotePlace
from labgrid.util.yaml import load

from tzml_lab.time_limits import scaled

FITS = "26.0.1"

CommandResult = tuple[list[str], list[str], int]  # standard output, standard error, exit status


def read_yaml(text: str) -> Any:
    """The content of an environment file. References to variables are string.Template. Raises yaml.YAMLError."""
    return load(text)


def environment_of(config: pytest.Config) -> Environment | None:
    """The environment of --lg-env, once labgrid's plugin is configured."""
    return config.stash[LABGRID_ENV_KEY]


def place_name(place: RemotePlace) -> str:
    """The name of the acquired place. The environment may give a pattern or a reservation's token instead."""
    name: str = place.manager.session.get_place(place.name).name
    return name


class ConsoleBase:
    """A console whose bytes come from `receive` and go to `transmit`."""

    def receive(self, limit: int, timeout: float) -> bytes:
        """At least one byte. Raises pexpect's TIMEOUT."""
        raise NotImplementedError

    def transmit(self, data: bytes) -> int:
        """How many bytes were sent."""
        raise NotImplementedError

    def _read(self, size: int = 1, timeout: float = 0.0, max_size: int | None = None) -> bytes:
        return self.receive(max_size or 4096, timeout)

    def _write(self, data: bytes) -> int:
        return self.transmit(data)


def unread(console: ConsoleExpectMixin) -> bytes:
    """The bytes that came since the last match, after an expect() that timed out."""
    data: bytes = console._expect.before
    return data


def forget_unread(console: ConsoleExpectMixin) -> None:
    """Drop the bytes that pexpect keeps when an expect() times out, so that the next one sees only new bytes."""
    expect = console._expect
    expect._before, expect._buffer = expect.buffer_type(), expect.buffer_type()


class ListeningConsoleBase(ConsoleBase, ConsoleExpectMixin, Driver):
    """expect() on a console that does not implement ConsoleProtocol."""

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self.txdelay = None


class SerialBase(ConsoleBase, SerialDriver):
    """SerialDriver; `transmit` writes to the port."""

    def transmit(self, data: bytes) -> int:
        written: int = SerialDriver._write(self, data)
        return written


class _ScaledCommands:
    """Commands without a time limit of their own get labgrid's 30 seconds, scaled like all the others."""

    def run(self, cmd: str, *, timeout: float | None = None, **options: Any) -> CommandResult:
        result: CommandResult = super().run(cmd, timeout=_limit(timeout), **options)  # type: ignore[misc]
        return result

    def run_check(self, cmd: str, *, timeout: float | None = None, **options: Any) -> list[str]:
        lines: list[str] = super().run_check(cmd, timeout=_limit(timeout), **options)  # type: ignore[misc]
        return lines

    def poll_until_success(self, cmd: str, *, timeout: float | None = None, **options: Any) -> bool:
        ended: bool = super().poll_until_success(cmd, timeout=_limit(timeout), **options)  # type: ignore[misc]
        return ended


def _limit(timeout: float | None) -> float:
    return scaled(30) if timeout is None else timeout


class ShellBase(_ScaledCommands, ShellDriver):
    """ShellDriver, whose commands all go through `execute`."""

    def execute(self, command: str, timeout: float, codec: str, errors: str) -> CommandResult:
        """Run a command. Raises pexpect's TIMEOUT, UnicodeDecodeError."""
        result: CommandResult = ShellDriver._run(self, command, timeout=timeout, codec=codec, decodeerrors=errors)
        return result

    def _run(
        self, cmd: str, *, timeout: float = 30.0, codec: str = "utf-8", decodeerrors: str = "strict"
    ) -> CommandResult:
        return self.execute(cmd, timeout, codec, decodeerrors)

    def check_prompt(self) -> None:
        """Whether the shell is there. Raises pexpect's TIMEOUT."""
        self._check_prompt()


class SSHBase(_ScaledCommands, SSHDriver):
    """SSHDriver with options of ours. ssh takes the first value of an option, and ours come before labgrid's."""

    def first_options(self) -> Sequence[str]:
        """Such as "StrictHostKeyChecking=yes"."""
        raise NotImplementedError

    def command_line(self, command: str) -> list[str]:
        """What runs a command there, with the streams of whoever starts it."""
        return [str(self._ssh), "-x", *self.ssh_prefix, str(self.networkservice.address), "--", command]

    def _start_own_master(self) -> str:
        for option in self.first_options():
            self.ssh_prefix += ["-o", option]
        control: str = super()._start_own_master()
        return control


class QEMUBase(ConsoleBase, QEMUDriver):
    """QEMUDriver, with access to the process that it starts while it is active."""

    @property
    def command(self) -> list[str]:
        """QEMU's command line. It may be changed, and ends with the first serial port's option and device."""
        command: list[str] = self._cmd
        return command

    @property
    def folder(self) -> Path:
        """A folder that exists while the driver is active."""
        return Path(self._tempdir)

    @property
    def listener(self) -> socket.socket:
        """Where QEMU's first serial port connects to; labgrid closes it."""
        listener: socket.socket = self._socket
        return listener

    @property
    def process(self) -> subprocess.Popen[bytes] | None:
        """QEMU's process. labgrid ends it when Python exits."""
        process: subprocess.Popen[bytes] | None = self._child
        return process

    @process.setter
    def process(self, process: subprocess.Popen[bytes] | None) -> None:
        self._child = process
