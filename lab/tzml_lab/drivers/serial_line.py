"""The serial line of a board, recorded like the consoles of QEMU."""

from __future__ import annotations

from functools import cached_property

import attr
from labgrid import target_factory
from serial import SerialException

from tzml_lab.consoles.lines import Speaker
from tzml_lab.consoles.pumps import SerialPump
from tzml_lab.consoles.record import ConsoleRecord
from tzml_lab.environment import run_folder
from tzml_lab.failures import FailureClass, TargetError, fault_of, take_or_fail
from tzml_lab.labgrid_internals import SerialBase


@target_factory.reg_driver
@attr.s(eq=False)
class RecordedSerialDriver(SerialBase):
    """SerialDriver that reads all the time into `record`, and separates OP-TEE's lines from Linux's.

    Boards have one UART for both worlds. Linux's lines are this console's output; OP-TEE's are only in the record
    and the logs. If the serial line goes away (adapter pulled out, exporter gone), that is a fault of the lab.
    """

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self._pump: SerialPump | None = None

    @cached_property
    def record(self) -> ConsoleRecord:
        """The record of the console, also written to the folder in the option `run_folder` if there is one."""
        return ConsoleRecord(run_folder(self.target.env.config))

    def open(self) -> None:
        """Open the port and start to read it. Raises TargetError."""
        if self.status:
            return
        try:
            super().open()
        except (SerialException, OSError) as error:
            raise TargetError(FailureClass.infrastructure, str(error)) from error
        self.record.power_on()  # the clock starts now, whatever state the board is in
        self._pump = SerialPump(self.serial, self.record)
        self._pump.start()

    def close(self) -> None:
        """Stop reading, close the port and the logs."""
        if self._pump:
            self._pump.stop()
            self._pump = None
        super().close()
        self.record.close()

    def receive(self, limit: int, timeout: float) -> bytes:
        """What Linux said. Raises pexpect's TIMEOUT, or TargetError when the board cannot go on."""
        return take_or_fail(self.record, Speaker.normal, limit, timeout)

    def transmit(self, data: bytes) -> int:
        """Send bytes to Linux. Raises TargetError."""
        try:
            return super().transmit(data)
        except (SerialException, OSError) as error:
            failure = TargetError(
                FailureClass.infrastructure, f"the serial line is gone: {error}", record=self.record
            )
            raise fault_of(self.record) or failure from error
