"""A record of one serial port that both worlds share."""

from __future__ import annotations

from tzml_lab.console import ConsoleRecord
from tzml_lab.lines import World
from tzml_lab.shareduart import SharedUart


class SharedConsoleRecord(ConsoleRecord):
    """A record whose only source is a shared port: feed it as the normal world's."""

    def power_on(self) -> None:
        """Start the clock: a new power cycle begins."""
        self._uart = SharedUart()
        super().power_on()

    def feed(self, world: World, data: bytes) -> None:
        """Bytes that just came from the port."""
        for whose, piece in self._uart.split(data):
            super().feed(whose, piece)
