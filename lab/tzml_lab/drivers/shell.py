"""Shells on a console: prompts from the image, and diagnosis of commands that do not end."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

import attr
from labgrid import step, target_factory
from labgrid.driver import Driver
from pexpect import TIMEOUT

from tzml_lab.boards.power import power_was_cut
from tzml_lab.consoles.file_transfer import SerialFiles
from tzml_lab.consoles.shell_files import ShellFiles
from tzml_lab.environment import image_of
from tzml_lab.failures import FailureClass, TargetError
from tzml_lab.labgrid_internals import CommandResult, ShellBase, forget_unread, unread
from tzml_lab.time_limits import scaled

# Sent when a command gives no answer: if it comes back unchanged, the serial line is sound.
_PATTERN = "0123456789-abcdefghijklmnopqrstuvwxyz-ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_TRIES = 4
# bash sends this before its prompt if the terminal supports bracketed paste
_BRACKETED_PASTE = r"(?:\x1b\[\?2004h)?"


@target_factory.reg_driver
@attr.s(eq=False)
class ImageShellDriver(ShellBase):
    """ShellDriver that takes prompts and user from image.json unless they are given.

    Args:
        prompt (regex): optional, the shell's prompt (default: image.json's)
        login_prompt (regex): optional, what asks for a user (default: image.json's)
        username (str): optional, who logs in (default: image.json's)

    See ShellDriver for the others.

    """

    prompt: str = attr.ib(default="", validator=attr.validators.instance_of(str))
    login_prompt: str = attr.ib(default="", validator=attr.validators.instance_of(str))
    username: str = attr.ib(default="", validator=attr.validators.instance_of(str))

    def on_activate(self) -> None:
        login = image_of(self.target.env.config).description.login
        self.prompt = self.prompt or _BRACKETED_PASTE + re.escape(login.prompt)
        self.login_prompt = self.login_prompt or re.escape(login.login_prompt)
        self.username = self.username or login.user or ""
        super().on_activate()


@target_factory.reg_driver
@attr.s(eq=False)
class DiagnosingShellDriver(ImageShellDriver):
    """A shell that finds out why a command gives no answer: the target, the command, or the serial line.

    labgrid raises pexpect's TIMEOUT for all of them. This driver raises a TargetError of the right class. It also
    copies files over the serial line; labgrid's own way needs an XMODEM program on the target and cannot copy
    folders.
    """

    def execute(self, command: str, timeout: float, codec: str, errors: str) -> CommandResult:
        """Run a command. Raises TargetError."""
        try:
            return super().execute(command, timeout, codec, errors)
        except (TIMEOUT, UnicodeDecodeError) as error:
            raise self._reason(command, timeout) from error

    @Driver.check_active
    @step(args=["localfile", "remotefile"])
    def put(self, localfile: str, remotefile: str) -> None:
        """Copy a file or folder to the target. Raises ExecutionError, TargetError."""
        self.check_prompt()
        try:
            self._files.put(Path(localfile), PurePosixPath(remotefile))
        except TIMEOUT as error:
            raise self._reason(f"copying to {remotefile}", scaled(30)) from error

    @Driver.check_active
    @step(args=["remotefile", "localfile"])
    def get(self, remotefile: str, localfile: str) -> None:
        """Copy a file or folder from the target. Raises ExecutionError, TargetError."""
        self.check_prompt()
        try:
            self._files.get(PurePosixPath(remotefile), Path(localfile))
        except TIMEOUT as error:
            raise self._reason(f"copying {remotefile}", scaled(30)) from error

    @property
    def _files(self) -> SerialFiles | ShellFiles:
        """What the system on the other end has the programs for."""
        python = image_of(self.target.env.config).description.features.python
        return (SerialFiles if python else ShellFiles)(self.console, self.prompt)

    def _reason(self, command: str, timeout: float) -> TargetError:
        """Why a command has not ended in time."""
        record = self.console.record
        answers = self._probe()
        if not any(answers) and power_was_cut(self.target):
            return TargetError(FailureClass.infrastructure, f"the power was cut, after: {command}", record=record)
        if not any(answers):
            what = f"the target says nothing any more, after: {command}"
            return TargetError(FailureClass.test, what, record=record)
        damaged = [answer for answer in answers if _PATTERN not in answer]
        if damaged:
            what = f"the serial line loses or garbles bytes: {_PATTERN!r} came back as {damaged[0]!r}"
            return TargetError(FailureClass.infrastructure, what, record=record)
        return TargetError(FailureClass.test, f"no end after {timeout:.0f} s: {command}", record=record)

    def _probe(self) -> list[str]:
        """Send a pattern a few times, and return what the terminal or the shell sends back."""
        forget_unread(self.console)  # the rest of the command's output is not an answer to this
        self.console.sendcontrol("c")
        answers = []
        for _ in range(_TRIES):
            self.console.sendline(f"echo '{_PATTERN}'")
            answers.append(self._heard(scaled(3)))
        return answers

    def _heard(self, seconds: float) -> str:
        """The longest word that comes next. It is the pattern if all is well."""
        try:
            _, heard, _, _ = self.console.expect(self.prompt, timeout=seconds)
        except TIMEOUT:
            heard = unread(self.console)
            forget_unread(self.console)
        words = re.findall(r"\S+", heard.decode("utf-8", "replace"))
        return max((word.strip("'") for word in words), key=len, default="")
