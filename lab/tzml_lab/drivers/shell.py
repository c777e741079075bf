"""A shell on a serial line that may be at fault itself."""
# mypy: allow-subclassing-any, allow-untyped-calls, allow-untyped-decorators, disable-error-code="import-untyped"

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

import attr
from labgrid import step, target_factory
from labgrid.driver import ShellDriver
from pexpect import TIMEOUT

from tzml_lab.boards.power import power_was_cut
from tzml_lab.consoles.file_transfer import SerialFiles
from tzml_lab.failures import FailureClass, TargetError
from tzml_lab.time_limits import scaled

# what is sent when a command gives no answer: if it comes back as it was, the line is sound
_PATTERN = "0123456789-abcdefghijklmnopqrstuvwxyz-ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_TRIES = 4


@target_factory.reg_driver
@attr.s(eq=False)
class DiagnosingShellDriver(ShellDriver):
    """ShellDriver that finds out why a command gives no answer: the target, the command, or the line between.

    labgrid raises pexpect's TIMEOUT for all of them; this raises TargetError of the right class. Files travel
    over the same line; labgrid's own way needs a program for XMODEM on the target, and has no folders.
    """

    def _run(
        self, cmd: str, *, timeout: float = 30.0, codec: str = "utf-8", decodeerrors: str = "strict"
    ) -> tuple[list[str], list[str], int]:
        try:
            answer: tuple[list[str], list[str], int]
            answer = super()._run(cmd, timeout=timeout, codec=codec, decodeerrors=decodeerrors)
        except (TIMEOUT, UnicodeDecodeError) as error:
            raise self._reason(cmd, timeout) from error
        return answer

    @ShellDriver.check_active
    @step(args=["localfile", "remotefile"])
    def put(self, localfile: str, remotefile: str) -> None:
        """Copy a file or folder to the target. Raises ExecutionError, TargetError."""
        self._check_prompt()
        try:
            SerialFiles(self.console, self.prompt).put(Path(localfile), PurePosixPath(remotefile))
        except TIMEOUT as error:
            raise self._reason(f"copying to {remotefile}", scaled(30)) from error

    @ShellDriver.check_active
    @step(args=["remotefile", "localfile"])
    def get(self, remotefile: str, localfile: str) -> None:
        """Copy a file or folder from the target. Raises ExecutionError, TargetError."""
        self._check_prompt()
        try:
            SerialFiles(self.console, self.prompt).get(PurePosixPath(remotefile), Path(localfile))
        except TIMEOUT as error:
            raise self._reason(f"copying {remotefile}", scaled(30)) from error

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
        """What a pattern that the terminal or the shell sends back looks like, a few times."""
        self._forget()  # what came of the command is no answer to this
        self.console.sendcontrol("c")
        answers = []
        for _ in range(_TRIES):
            self.console.sendline(f"echo '{_PATTERN}'")
            answers.append(self._heard(scaled(3)))
        return answers

    def _heard(self, seconds: float) -> str:
        """The longest word of what comes next: the pattern if all is well."""
        try:
            _, heard, _, _ = self.console.expect(self.prompt, timeout=seconds)
        except TIMEOUT:
            heard = self.console._expect.before
            self._forget()
        words = re.findall(r"\S+", heard.decode("utf-8", "replace"))
        return max((word.strip("'") for word in words), key=len, default="")

    def _forget(self) -> None:
        """Drop what pexpect keeps when an expect() times out."""
        expect = self.console._expect
        expect._before, expect._buffer = expect.buffer_type(), expect.buffer_type()
