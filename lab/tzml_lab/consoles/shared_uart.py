"""One UART for both worlds: tell OP-TEE's lines from Linux's."""

from __future__ import annotations

import re

from tzml_lab.consoles.lines import Speaker
from tzml_lab.consoles.record import ConsoleRecord

Pieces = list[tuple[Speaker, bytes]]

# The beginning of OP-TEE's lines: severity, then core, TA or loader of TAs
_START = re.compile(rb"[EIDFM]/(?:TC|TA|LD):")
_MAYBE_START = re.compile(rb"[EIDFM](?:/(?:T[CA]?|LD?)?)?$")


class SharedUart:
    """Separates OP-TEE's lines from Linux's, even where one begins in the middle of the other.

    OP-TEE writes whole lines, and Linux then continues where it was. TF-A, which prints only before Linux does,
    counts as the normal world.
    """

    def __init__(self) -> None:
        self._speaker = Speaker.normal
        self._held = b""

    def split(self, data: bytes) -> Pieces:
        """Split new bytes by world. Bytes that may be the start of OP-TEE's line are held back until more come."""
        data, self._held = self._held + data, b""
        pieces: Pieces = []
        while data:
            if self._speaker is Speaker.normal and _START.match(data):
                self._speaker = Speaker.secure
            size = self._secure(data) if self._speaker is Speaker.secure else self._normal(data)
            if not size:
                self._held = data
                break
            pieces.append((self._speaker, data[:size]))
            if self._speaker is Speaker.secure and data[:size].endswith(b"\n"):
                self._speaker = Speaker.normal
            data = data[size:]
        return pieces

    def release(self) -> Pieces:
        """The bytes that were held back. Call it when nothing has come for a while: they were not OP-TEE's."""
        held, self._held = self._held, b""
        return [(Speaker.normal, held)] if held else []

    @staticmethod
    def _secure(data: bytes) -> int:
        """How many of the first bytes are OP-TEE's."""
        return data.find(b"\n") + 1 or len(data)

    @staticmethod
    def _normal(data: bytes) -> int:
        """How many of the first bytes are certainly Linux's."""
        if found := _START.search(data):
            return found.start()
        if found := _MAYBE_START.search(data):
            return found.start()
        return len(data)


class SharedConsoleRecord(ConsoleRecord):
    """A record of a port that both worlds share. Feed it as the normal world's console."""

    def power_on(self) -> None:
        """Start the clock: a new power cycle begins."""
        self._uart = SharedUart()
        super().power_on()

    def feed(self, speaker: Speaker, data: bytes) -> None:
        """Add bytes that just came from the port."""
        for whose, piece in self._uart.split(data):
            super().feed(whose, piece)
