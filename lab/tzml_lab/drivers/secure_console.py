"""OP-TEE's console on a machine that has one of its own."""

from __future__ import annotations

import attr
from labgrid import target_factory
from labgrid.driver import Driver

from tzml_lab.consoles.lines import Speaker
from tzml_lab.drivers.qemu import TrustZoneQEMUDriver
from tzml_lab.labgrid_internals import ListeningConsoleBase


@target_factory.reg_driver
@attr.s(eq=False)
class SecureConsoleDriver(ListeningConsoleBase):
    """expect() on what OP-TEE says.

    It does not implement ConsoleProtocol: OP-TEE takes no input, and a ShellDriver must not bind to it.
    """

    bindings = {"qemu": TrustZoneQEMUDriver}  # noqa: RUF012 (how labgrid declares them)
    listens_only = True

    def receive(self, limit: int, timeout: float) -> bytes:
        """What OP-TEE said. Raises pexpect's TIMEOUT, or TargetError when the machine cannot go on."""
        data: bytes = self.qemu.read_console(Speaker.secure, limit, timeout)
        return data

    def transmit(self, data: bytes) -> int:
        """Raises OSError."""
        raise OSError("OP-TEE's console takes no input")

    @Driver.check_active
    def text(self) -> str:
        """The last few hundred lines since power-on."""
        return "\n".join(line.text for line in self.qemu.record.lines(Speaker.secure))
