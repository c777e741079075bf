"""One strategy for every machine with OP-TEE: off, flashed, booted, shell, tee."""

from __future__ import annotations

import enum
import os
import time
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import attr
from labgrid import step, target_factory
from labgrid.driver import AndroidFastbootDriver, ExecutionError, ShellDriver, USBSDMuxDriver
from labgrid.protocol import ConsoleProtocol, PowerProtocol
from labgrid.strategy import Strategy, StrategyError
from pexpect import TIMEOUT

from tzml.image import ImageError
from tzml_lab.boards.flashing import BoardImage, FastbootFlasher, FlashNote, SDCardFlasher, board_name, reason
from tzml_lab.consoles.lines import Speaker
from tzml_lab.consoles.login import await_login
from tzml_lab.consoles.record import ConsoleRecord
from tzml_lab.drivers.sd_card import SDCardDriver
from tzml_lab.drivers.secure_console import SecureConsoleDriver
from tzml_lab.environment import ROOT, image_of
from tzml_lab.failures import FailureClass, TargetError, fault_of
from tzml_lab.results.timings import Timings
from tzml_lab.target import commands_of
from tzml_lab.time_limits import scaled, time_limit
from tzml_lab.xtest.run import SUPPLICANT_RUNS


class Status(enum.IntEnum):
    """The states in order. Each includes the ones before it."""

    unknown = enum.auto()
    off = enum.auto()
    flashed = enum.auto()
    booted = enum.auto()
    shell = enum.auto()
    tee = enum.auto()

    @classmethod
    def named(cls, status: Status | str) -> Status:
        """A status from its name. Raises StrategyError."""
        if isinstance(status, cls) and status is not cls.unknown:
            return status
        known = [state.name for state in cls if state is not cls.unknown]
        if status not in known:
            raise StrategyError(f"there is no state {status}; the states are {', '.join(known)}")
        return cls[str(status)]


@target_factory.reg_driver
@attr.s(eq=False)
class TrustZoneStrategy(Strategy):
    """off → flashed → booted (login prompt) → shell (logged in) → tee (OP-TEE and tee-supplicant answer).

    Where nobody logs in on the console, and so there is no ShellDriver, the state shell is reached over SSH.

    A board is flashed through its SD mux or with fastboot, if the environment has a driver for one of them, and
    only if its image is not the one in the environment's path `deploy`. This host keeps a note of the board's image
    in LG_FLASH_NOTES, and compares it with the board's own mark after the boot.

    The first failure on the way breaks the strategy. It is raised in full once; everything after it fails at once
    with its summary. If a target reaches its state and fails later, in a test, the next transition starts it again.

    Args:
        power_timeout (int): optional, seconds that the power switch, and opening the console, may take
        flash_timeout (int): optional, seconds that writing the image may take
        boot_timeout (int): optional, seconds from power-on to the login prompt
        silence_timeout (int): optional, seconds without a word from the normal world after which a boot hangs
        tee_timeout (int): optional, seconds from the shell until tee-supplicant runs

    All are multiplied by the environment variable LG_TIME_SCALE.

    """

    bindings = {  # noqa: RUF012 (how labgrid declares them)
        "power": PowerProtocol,
        "console": ConsoleProtocol,
        "shell": {ShellDriver, None},
        "secure_console": {SecureConsoleDriver, None},
        "sdmux": {USBSDMuxDriver, None},
        "card": {SDCardDriver, None},
        "fastboot": {AndroidFastbootDriver, None},
    }

    power_timeout: int = attr.ib(default=60, validator=attr.validators.instance_of(int))
    flash_timeout: int = attr.ib(default=1200, validator=attr.validators.instance_of(int))
    boot_timeout: int = attr.ib(default=180, validator=attr.validators.instance_of(int))
    silence_timeout: int = attr.ib(default=60, validator=attr.validators.instance_of(int))
    tee_timeout: int = attr.ib(default=60, validator=attr.validators.instance_of(int))

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self.status = Status.unknown
        self.broken: TargetError | None
        self.seconds: dict[str, list[float]] = {}
        self.boots: list[dict[str, float]] = []
        self._steps: dict[Status, Callable[[], None]] = {
            Status.off: self._power_off,
            Status.flashed: self._flash,  # notes its seconds itself, because only writing counts
            Status.booted: self._boot_image,
            Status.shell: self._log_in,
            Status.tee: self._await_tee,
        }
        self._suspicion = ""

    @property
    def record(self) -> ConsoleRecord:
        """The record of the consoles."""
        record: ConsoleRecord = self.console.record
        return record

    @step(args=["status"])
    def transition(self, status: Status | str) -> None:
        """Bring the target into that state. Raises TargetError, and StrategyError if that happened before."""
        self._raise_if_broken()
        wanted = Status.named(status)
        if self._lost or (wanted < self.status and wanted is not Status.shell):
            self._reach(Status.off)
        for state in Status:
            if self.status < state <= wanted:
                self._reach(state)
        self.status = wanted

    def restart(self) -> None:
        """Cut the power, and bring the target to where OP-TEE answers. Raises as `transition` does."""
        self.transition(Status.off)
        self.transition(Status.tee)

    @step(args=["status"])
    def force(self, status: Status | str) -> None:
        """Assume that the target is in that state already, for boards during development."""
        self._raise_if_broken()
        wanted = Status.named(status)
        try:
            self.target.activate(self.console)
            self.target.activate(self.power)
            if wanted >= Status.shell and self.shell:
                self.target.activate(self.shell)
        except (TargetError, TIMEOUT) as error:
            self.broken = self._failure(error, wanted)
            raise self.broken from error
        self.status = wanted

    def suspect(self, reason: str) -> None:
        """Note that the target may be unusable: the next transition starts it again."""
        self.logger.warning("the target will be started anew: %s", reason)
        self._suspicion = reason

    @step()
    def reboot(self) -> None:
        """Let Linux reboot, and wait for the login prompt. The state must be shell. Raises TargetError."""
        if not self.shell:
            raise StrategyError("a machine without a login on its console is started anew instead")
        self.shell.console.sendline("reboot")
        self.record.power_on()  # the reset that follows is not a fault
        self.target.deactivate(self.shell)
        try:
            await_login(self.target, self.record, self.boot_timeout, self.silence_timeout)
        except TargetError as error:
            self.broken = self._failure(error, Status.booted)
            self._suspicion = self.broken.what
            raise self.broken from error
        self.record.take(Speaker.normal, 1 << 22, 0)  # the old shell's last prompt is not the new one's
        self.status = Status.booted

    def finish(self) -> None:
        """Switch the target off at the end of a run, even if the strategy is broken. Raises nothing."""
        try:
            self._power_off()
        except Exception as error:
            self.logger.error("the target may be on still: %s", reason(error))

    def add_times(self, timings: Timings) -> None:
        """Add the seconds in which every complete boot reached each stage, and every transition each state."""
        for boot in self.boots:
            if "login" in boot:
                for stage, seconds in boot.items():
                    timings.add(f"boot/{stage}", [seconds])
        for state, samples in self.seconds.items():
            timings.add(f"state/{state}", samples)

    @property
    def _lost(self) -> bool:
        """Whether the target is no longer in the state that it had reached."""
        fault = self.record.progress.fault
        return self.status > Status.off and bool(fault or self._suspicion)

    def _raise_if_broken(self) -> None:
        if self.broken:
            raise StrategyError(f"not tried again after this: {self.broken.summary}")

    def _reach(self, state: Status) -> None:
        start = time.monotonic()
        try:
            self._steps[state]()
        except Exception as error:
            self.broken = self._failure(error, state)
            self._suspicion = self.broken.what  # another attempt starts with power off
            raise self.broken from error
        if state is not Status.flashed:
            self.seconds.setdefault(state.name, []).append(time.monotonic() - start)
        self.status = state

    def _failure(self, error: Exception, state: Status) -> TargetError:
        """The error, with the state that was not reached and the last lines of both consoles."""
        kind: FailureClass
        if isinstance(error, TargetError):
            kind = FailureClass.boot if error.kind is FailureClass.test else error.kind
            return TargetError(kind, error.what, state=state.name, record=self.record)
        if isinstance(error, TIMEOUT | ExecutionError):
            fault = fault_of(self.record)
            what = fault.what if fault else reason(error)
            kind = fault.kind if fault else FailureClass.boot
            return TargetError(kind, what, state=state.name, record=self.record)
        kind = FailureClass.build if isinstance(error, ImageError) else FailureClass.infrastructure
        return TargetError(kind, reason(error), state=state.name, record=self.record)

    def _power_off(self) -> None:
        for driver in filter(None, (self.shell, self.console)):
            self.target.deactivate(driver)
        with time_limit(self.power_timeout, "the power switch"):
            self.target.activate(self.power)
            self.power.off()
        self._suspicion = ""

    @cached_property
    def board_image(self) -> BoardImage | None:
        """The image that belongs on the board, if this environment can write it. Raises ImageError."""
        flasher: SDCardFlasher | FastbootFlasher
        if self.fastboot:
            flasher = FastbootFlasher(self.target, self.power, self.fastboot, self.flash_timeout)
        elif self.sdmux and self.card:
            flasher = SDCardFlasher(self.target, self.sdmux, self.card, self.flash_timeout)
        else:
            return None
        config = self.target.env.config
        image = image_of(config)
        for role in self.fastboot.flash_images.values() if self.fastboot else ():
            image.path(role)
        folder = Path(os.environ.get("LG_FLASH_NOTES", ROOT / "build" / "flashed"))
        note = FlashNote(folder / f"{board_name(self.target)}.json")
        return BoardImage(flasher, note, image.digest)

    def _flash(self) -> None:
        if not self.board_image:
            return
        start, writes = time.monotonic(), self.board_image.writes
        self.board_image.write_if_needed()
        if self.board_image.writes > writes:
            self.seconds.setdefault(Status.flashed.name, []).append(time.monotonic() - start)

    def _boot_image(self) -> None:
        """Boot. If a board fails whose image was not written in this run, write it and try once more."""
        try:
            self._boot()
        except TargetError as error:
            if error.kind is not FailureClass.boot or not self.board_image or self.board_image.writes:
                raise
            self.logger.warning("%s: writing the image again", error.what)
            self.board_image.note.discard()
            self._power_off()
            self._flash()
            self._boot()

    def _boot(self) -> None:
        with time_limit(self.power_timeout, "opening the console"):
            self.target.activate(self.console)  # before power-on, so that no output is lost
        with time_limit(self.power_timeout, "the power switch"):
            self.power.on()
        if self.board_image and isinstance(self.board_image.flasher, FastbootFlasher):
            self.board_image.flasher.boot()
        try:
            await_login(self.target, self.record, self.boot_timeout, self.silence_timeout)
        finally:
            self.boots.append(dict(self.record.progress.reached))

    def _log_in(self) -> None:
        if not self.shell:
            commands_of(self.target).run_check("true")
            return
        self.target.activate(self.shell)
        if self.board_image and not self.board_image.confirm(self.shell):
            self.logger.warning("somebody wrote another image to the board: writing this one again")
            for state in (Status.off, Status.flashed, Status.booted, Status.shell):
                self._steps[state]()
        # a serial terminal has no size, and at 80 columns long commands are wrapped
        self.shell.run_check("stty columns 1000")

    def _await_tee(self) -> None:
        ready = f"test -c /dev/tee0 && {SUPPLICANT_RUNS}"
        commands = self.shell or commands_of(self.target)
        if commands.poll_until_success(ready, timeout=scaled(self.tee_timeout)):
            return
        missing = (
            "tee-supplicant does not run" if commands.run("test -c /dev/tee0")[2] == 0 else "there is no /dev/tee0"
        )
        raise TargetError(FailureClass.boot, f"{missing} {scaled(self.tee_timeout):.0f} s after login")
