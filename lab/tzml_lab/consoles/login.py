"""Wait for a boot to finish, and explain one that does not."""

from __future__ import annotations

from typing import Any

from tzml_lab.boards.power import power_was_cut
from tzml_lab.consoles.lines import Speaker
from tzml_lab.consoles.record import ConsoleRecord
from tzml_lab.failures import FailureClass, TargetError, fault_of
from tzml_lab.time_limits import scaled

# if a larger share of the bytes is not text, the serial line is at fault, not the boot
_MUCH_NOISE = 0.02


def await_login(target: Any, record: ConsoleRecord, boot_timeout: float, silence_timeout: float) -> None:
    """Wait until the login prompt is there. Raises TargetError.

    Args:
        target: labgrid's target, whose power switch may be asked
        record: what its consoles say
        boot_timeout: seconds since power-on, not scaled yet
        silence_timeout: seconds without a word from the normal world, not scaled yet

    """
    while not record.wait(lambda: "login" in record.progress.reached, 0.5):
        failure = fault_of(record)
        if failure:
            raise failure
        # OP-TEE's console does not show a hang: OP-TEE may go on printing while Linux is dead
        silence = record.silent_for(Speaker.normal)
        if silence > scaled(silence_timeout) or record.seconds > scaled(boot_timeout):
            raise _no_login(target, record, silence, hangs=silence > scaled(silence_timeout))


def _no_login(target: Any, record: ConsoleRecord, silence: float, *, hangs: bool) -> TargetError:
    """The reason why there is no login prompt."""
    if power_was_cut(target):
        return TargetError(FailureClass.infrastructure, f"the power was cut; {record.progress}")
    if not record.heard:
        hint = "look at power, wiring and SD card"
        what = f"nothing came over the serial line for {record.seconds:.0f} s: {hint}"
    elif record.noise > _MUCH_NOISE:
        share = f"{record.noise:.0%} of {record.heard} bytes are no text"
        what = f"the serial line garbles, or has another baud rate: {share}; {record.progress}"
        return TargetError(FailureClass.infrastructure, what)
    elif hangs:
        what = f"the boot hangs: no output for {silence:.0f} s; {record.progress}"
    else:
        what = f"no login prompt within {record.seconds:.0f} s; {record.progress}"
    return TargetError(FailureClass.boot, what)
