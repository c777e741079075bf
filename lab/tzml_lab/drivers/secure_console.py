"""OP-TEE's console on a machine that has one of its own."""
# mypy: allow-subclassing-any, allow-untyped-calls, allow-untyped-decorators, disable-error-code="import-untyped"

from __future__ import annotations

import attr
from labgrid import target_factory
from labgrid.driver import Driver
from labgrid.driver.consoleexpectmixin import ConsoleExpectMixin

from tzml_lab.consoles.lines import World
from tzml_lab.drivers.qemu import TrustZoneQEMUDriver


@target_factory.reg_driver
@attr.s(eq=False)
class SecureConsoleDriver(ConsoleExpectMixin, Driver):
    """expect() on what OP-TEE says.

    It is no ConsoleProtocol: OP-TEE listens to nobody, and a ShellDriver must not bind to it.
    """

    bindings = {"qemu": TrustZoneQEMUDriver}  # noqa: RUF012 (how labgrid declares them)
    listens_only = True

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self.txdelay = None

    def _read(self, size: int = 1, timeout: float = 0.0, max_size: int | None = None) -> bytes:
        data: bytes = self.qemu.read_console(World.secure, max_size or 4096, timeout)
        return data

    def _write(self, data: bytes) -> int:
        raise OSError("OP-TEE's console takes no input")

    @Driver.check_active
    def text(self) -> str:
        """Everything since power-on that is still kept (some hundred lines), one line each."""
        return "\n".join(line.text for line in self.qemu.record.lines(World.secure))
