"""The thread that always reads a board's serial line."""
# mypy: disable-error-code="import-untyped"

from __future__ import annotations

import threading
from typing import Any

from serial import SerialException

from tzml_lab.console import ConsoleRecord
from tzml_lab.progress import Fault
from tzml_lab.shareduart import Pieces, SharedUart

# seconds without a byte after which a line is taken to have paused
_PAUSE = 0.1


class SerialPump(threading.Thread):
    """Moves bytes from a serial port into a record until it is stopped, each world's to its own console.

    A boot says things while nobody waits for any, and the end of a serial line is noticed only by who reads.

    Args:
        port: an open pyserial port; nobody else reads from it
        record: where the bytes go

    """

    def __init__(self, port: Any, record: ConsoleRecord) -> None:
        super().__init__(name="serial-pump", daemon=True)
        self._port = port
        self._record = record
        self._uart = SharedUart()
        self._stopping = threading.Event()

    def run(self) -> None:
        self._port.timeout = _PAUSE
        while not self._stopping.is_set():
            try:
                data = self._port.read(max(1, self._port.in_waiting))
            except (SerialException, OSError, TypeError, ValueError) as error:  # the last two when it was closed
                if not self._stopping.is_set():
                    self._record.report(
                        Fault("line-lost", f"the serial line is gone: {error}", self._record.seconds)
                    )
                return
            self._feed(self._uart.split(data) if data else self._uart.release())

    def _feed(self, pieces: Pieces) -> None:
        for world, data in pieces:
            self._record.feed(world, data)

    def stop(self) -> None:
        """End; must come before the port is closed."""
        self._stopping.set()
        self.join()
