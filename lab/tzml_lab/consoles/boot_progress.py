"""How far a boot has come, and what stopped it, recognised from the lines of both consoles."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tzml_lab.consoles.lines import Line


@dataclass(frozen=True)
class BootStage:
    """A milestone of a boot.

    Args:
        name: as it appears in timings
        title: as it appears in messages
        pattern: what a line says when the stage begins

    """

    name: str
    title: str
    pattern: re.Pattern[str]


# In the order of a boot. The kernel's first line comes late when its console starts late, and never when it is
# quiet, so U-Boot's last line counts as the kernel's start, too.
STAGES = tuple(
    BootStage(name, title, re.compile(pattern))
    for name, title, pattern in (
        ("bl1", "TF-A BL1", r"^NOTICE:\s+(Booting Trusted Firmware|BL1: v)"),
        ("bl2", "TF-A BL2", r"^NOTICE:\s+BL2: v"),
        ("bl31", "TF-A BL31", r"^NOTICE:\s+BL31: v"),
        ("optee", "OP-TEE", r"^[IDEF]/TC:\S*\s.*\bOP-TEE version: "),
        ("u-boot", "U-Boot", r"^U-Boot (SPL )?\d{4}\.\d{2}"),
        ("kernel", "Linux kernel", r"^Starting kernel \.\.\.|\bBooting Linux( Kernel|\.{3}| on)|\bLinux version "),
        ("systemd", "systemd", r"\bsystemd\[1\]: systemd \d+|^Welcome to .+!$"),
        ("login", "login prompt", r"\blogin:( \w+)?$"),
    )
)  # fmt: skip
_RESET = STAGES[0]


@dataclass(frozen=True)
class Fault:
    """Why a machine cannot go on.

    Args:
        kind: "kernel-panic", "optee-panic", "machine-ended", …
        what: a sentence without its full stop
        seconds: since power-on

    """

    kind: str
    what: str
    seconds: float


@dataclass(frozen=True)
class _Sign:
    """A line that shows a fault. A `prompt` is recognised before the line ends."""

    kind: str
    what: str
    pattern: re.Pattern[str]
    prompt: bool = False


# A user TA that panics is not a fault: xtest makes some of them panic.
_SIGNS = (
    _Sign("kernel-panic", "Linux panicked", re.compile(r"\bKernel panic - not syncing")),
    _Sign("kernel-oops", "Linux crashed", re.compile(r"\bInternal error: ")),
    _Sign("optee-panic", "OP-TEE panicked", re.compile(r"^[EF]/TC:\S*\s+(\d+\s+)?(Panic|Core \w+-abort)\b")),
    _Sign(
        "firmware-panic", "TF-A panicked", re.compile(r"^(PANIC (at|in) |Unhandled .*[Ee]xception (in|from) EL)")
    ),
    _Sign("no-boot", "U-Boot found nothing to boot", re.compile(r"^=>$"), prompt=True),
    _Sign(
        "no-root",
        "the initramfs gave up",
        re.compile(r"^initramfs: (.* did not appear|cannot mount|.* has no /)"),
    ),
    # udev was too slow for systemd, which waits a minute and a half for the device
    _Sign("no-login", "systemd offers no login on the console", re.compile(r"^\[DEPEND\].* Serial Getty on ")),
    _Sign("emergency", "systemd went into emergency mode", re.compile(r"^You are in emergency mode")),
)


class BootProgress:
    """The stages that one power cycle has reached, in seconds since power-on, and the fault that stopped it."""

    def __init__(self) -> None:
        self.reached: dict[str, float] = {}
        self.fault: Fault | None = None

    def see(self, line: Line, ended: bool = True) -> None:
        """Look at a line, or at the start of one that has not ended. The same line may be seen more than once."""
        for stage in STAGES:
            if stage.pattern.search(line.text):
                self._reach(stage, line)
        for sign in _SIGNS:
            if ended != sign.prompt and sign.pattern.search(line.text):
                self.report(Fault(sign.kind, f"{sign.what}: {line.text}", line.seconds))

    def _reach(self, stage: BootStage, line: Line) -> None:
        # TF-A prints its banner again when the machine was reset without our doing
        if stage is _RESET and len(self.reached) > 1:
            self.report(Fault("reset", "the machine was reset", line.seconds))
        self.reached.setdefault(stage.name, line.seconds)

    def report(self, fault: Fault) -> None:
        """Note a fault. The first one stays: it is the cause of those that follow."""
        self.fault = self.fault or fault

    @property
    def last(self) -> BootStage | None:
        """The stage that was reached last."""
        if not self.reached:
            return None
        latest = max(self.reached, key=lambda name: self.reached[name])
        return next(stage for stage in STAGES if stage.name == latest)

    def __str__(self) -> str:
        last = self.last
        return f"the last stage was {last.title}, {self.reached[last.name]:.1f} s after power-on" if last else (
            "the firmware said nothing"
        )  # fmt: skip
