"""Run xtest on a target's console and follow it while it runs."""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Sequence
from pathlib import Path

from labgrid.util import gen_marker
from pexpect import TIMEOUT

from tzml_lab.boards.power import power_was_cut
from tzml_lab.consoles.record import ConsoleRecord
from tzml_lab.failures import FailureClass, TargetError
from tzml_lab.target import Shell
from tzml_lab.time_limits import scaled
from tzml_lab.xtest.parser import XtestCase, XtestParser

# a command for the target
SUPPLICANT_RUNS = "grep -qx tee-supplicant /proc/[0-9]*/comm"


class XtestRun:
    """One run of xtest, read line by line, so that a test waits only until its own case has ended.

    Without tee-supplicant xtest would wait for ever, in silence: then it is not started, and `failure` says so.

    Args:
        shell: an active ShellDriver; the run has its console until it is over
        record: what the consoles say
        filters: parts of case names; xtest runs the cases whose names contain one of them, or all
        silence: seconds without a line after which xtest hangs
        log: optional, file for the lines as they came

    """

    def __init__(
        self,
        shell: Shell,
        record: ConsoleRecord,
        filters: Sequence[str] = (),
        *,
        silence: float,
        log: Path | None = None,
    ) -> None:
        self.parser = XtestParser()
        self.filters = tuple(filters)
        self.exit_status: int | None = None
        self.failure: TargetError | None = None
        self._shell = shell
        self._console = shell.console
        self._record = record
        self._silence = silence
        self._log = log.open("w", encoding="utf-8") if log else None
        self._marker = gen_marker()
        self._started = False
        if shell.run(SUPPLICANT_RUNS, timeout=scaled(30))[2] != 0:
            self._fail("tee-supplicant does not run (systemctl status tee-supplicant)")
            return
        command = shlex.join(["xtest", "-t", "regression", *filters])
        # the echo of the command must not look like the marker itself
        end = f"'{self._marker[:4]}''{self._marker[4:]}'"
        self._started = True
        self._console.sendline(f"{command}; status=$?; echo; echo {end} $status")

    @property
    def over(self) -> bool:
        """Whether the run has ended or failed."""
        return self.exit_status is not None or self.failure is not None

    def case(self, name: str) -> XtestCase | None:
        """Wait for a case. None if the run ends without it. Raises TargetError if the case ended the run."""
        while not self.over and not self._ended(name):
            self._read_line()
        if self.failure and name == self._unfinished:
            raise self.failure
        return self.parser.cases[name] if self._ended(name) else None

    def finish(self) -> None:
        """Read to the end of the run. Raises TargetError if it does not come."""
        while not self.over:
            self._read_line()
        if self.failure:
            raise self.failure

    def stop(self) -> bool:
        """End a run that is not over with Ctrl-C. Returns whether the shell is usable again."""
        if self._log:
            self._log.close()
            self._log = None
        if self.exit_status is not None or not self._started:
            return True
        marker = gen_marker()
        try:
            # Ctrl-C also ends the list of commands that would have shown the first marker
            self._console.sendcontrol("c")
            self._console.sendline(f"echo '{marker[:4]}''{marker[4:]}'")
            self._console.expect(rf"{marker}\s+{self._shell.prompt}", timeout=scaled(10))
        except (TIMEOUT, TargetError):
            return False
        return True

    def _ended(self, name: str) -> bool:
        case = self.parser.cases.get(name)
        return case is not None and case is not self.parser.current

    @property
    def _unfinished(self) -> str:
        return self.parser.current.name if self.parser.current else ""

    def _read_line(self) -> None:
        try:
            _, before, _, _ = self._console.expect(r"\r?\n", timeout=self._silence)
        except TIMEOUT:
            self._fail(f"no output for {self._silence:.0f} s")
            return
        except TargetError as error:
            self._fail(error.what)
            return
        line = before.decode("utf-8", "replace").strip("\r")
        if self._log:
            print(line, file=self._log, flush=True)
        if match := re.match(rf"{self._marker} (\d+)$", line):
            self._console.expect(self._shell.prompt, timeout=scaled(30))
            self.exit_status = int(match[1])
            return
        self.parser.feed(line, time.monotonic())

    def _fail(self, why: str) -> None:
        where = f"in {self._unfinished}" if self._unfinished else "between two cases"
        what = f"xtest stopped {where}" if self.parser.cases else "xtest did not start"
        kind = FailureClass.test
        if power_was_cut(self._shell.target):
            kind, why = FailureClass.infrastructure, "the power was cut"
        self.failure = TargetError(kind, f"{what}: {why}", record=self._record)
