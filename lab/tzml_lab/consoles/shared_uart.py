"""One UART for both worlds: which bytes are OP-TEE's."""

from __future__ import annotations

import re

from tzml_lab.consoles.lines import Speaker
from tzml_lab.consoles.record import ConsoleRecord

Pieces = list[tuple[Speaker, bytes]]

# How OP-TEE begins its lines: severity, then core, TA or loader of TAs
_START = re.compile(rb"[EIDFM]/(?:TC|TA|LD):")
_MAYBE_START = re.compile(rb"[EIDFM](?:/(?:T[CA]?|LD?)?)?$")


class SharedUart:
    """Takes OP-TEE's lines out of what a UART says, also where they begin in the middle of one of Linux's.

    OP-TEE writes whole lines; Linux goes on afterwards where it was. TF-A, which only speaks before Linux does,
    counts as part of the normal world's boot.
    """

    def __init__(self) -> None:
        self._speaker = Speaker.normal
        self._held = b""

    def split(self, data: bytes) -> Pieces:
        """The worlds' parts of what came next. What may become the start of OP-TEE's line is held back."""
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
        """What was held back, when nothing has come after it for a while: it was only a letter."""
        held, self._held = self._held, b""
        return [(Speaker.normal, held)] if held else []

    @staticmethod
    def _secure(data: bytes) -> int:
        """The length of what is OP-TEE's."""
        return data.find(b"\n") + 1 or len(data)

    @staticmethod
    def _normal(data: bytes) -> int:
        """The length of what is Linux's for sure."""
        if found := _START.search(data):
            return found.start()
        if found := _MAYBE_START.search(data):
            return found.start()
        return len(data)


class SharedConsoleRecord(ConsoleRecord):
    """A record whose only source is a shared port: feed it as the normal world's."""

    def power_on(self) -> None:
        """Start the clock: a new power cycle begins."""
        self._uart = SharedUart()
        super().power_on()

    def feed(self, speaker: Speaker, data: bytes) -> None:
        """Bytes that just came from the port."""
        for whose, piece in self._uart.split(data):
            super().feed(whose, piece)
