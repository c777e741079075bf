"""The serial line of a board, recorded like the consoles of QEMU."""
# mypy: allow-subclassing-any, allow-untyped-calls, allow-untyped-decorators, disable-error-code="import-untyped"

from __future__ import annotations

from functools import cached_property

import attr
from labgrid import target_factory
from labgrid.driver import SerialDriver
from serial import SerialException

from tzml_lab.consoles.lines import World
from tzml_lab.consoles.pumps import SerialPump
from tzml_lab.consoles.record import ConsoleRecord
from tzml_lab.environment import run_folder
from tzml_lab.failures import FailureClass, TargetError, fault_of, take_or_fail


@target_factory.reg_driver
@attr.s(eq=False)
class RecordedSerialDriver(SerialDriver):
    """SerialDriver that reads always, into `record`, and knows which lines are OP-TEE's.

    Boards have one UART for both worlds: what Linux says is this console's output, what OP-TEE says is in
    the record and the logs. A line that ends (adapter pulled out, exporter gone) is a fault of the lab.
    """

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self._pump: SerialPump | None = None

    @cached_property
    def record(self) -> ConsoleRecord:
        """What the board said; written to the option `run_folder`, if there is one."""
        return ConsoleRecord(run_folder(self.target.env.config))

    def open(self) -> None:
        """Open the port and start to read it. Raises TargetError."""
        if self.status:
            return
        try:
            super().open()
        except (SerialException, OSError) as error:
            raise TargetError(FailureClass.infrastructure, str(error)) from error
        self.record.power_on()  # whatever state the board is in: from here on it is heard
        self._pump = SerialPump(self.serial, self.record)
        self._pump.start()

    def close(self) -> None:
        """Stop reading, close the port and the logs."""
        if self._pump:
            self._pump.stop()
            self._pump = None
        super().close()
        self.record.close()

    def _read(self, size: int = 1, timeout: float = 0.0, max_size: int | None = None) -> bytes:
        return take_or_fail(self.record, World.normal, max_size or 4096, timeout)

    def _write(self, data: bytes) -> int:
        try:
            written: int = super()._write(data)
        except (SerialException, OSError) as error:
            failure = TargetError(
                FailureClass.infrastructure, f"the serial line is gone: {error}", record=self.record
            )
            raise fault_of(self.record) or failure from error
        return written
