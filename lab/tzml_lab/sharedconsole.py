"""One serial port for both worlds: OP-TEE's lines are told from Linux's by how they begin."""

from __future__ import annotations

import re

from tzml_lab.console import ConsoleRecord
from tzml_lab.lines import World

# Level, and who speaks: OP-TEE's core, a TA, its loader
_TAG = re.compile(rb"[EIDFM]/(?:TC|TA|LD):")
# What may become a tag with the next bytes
_PARTIAL_TAG = re.compile(rb"[EIDFM](?:/(?:T[CA]?|LD?)?)?\Z")


class ConsoleSplitter:
    """Divides the bytes of a shared port between the worlds.

    OP-TEE writes whole lines, but whenever it likes: also in the middle of one of Linux's, which then goes on
    after it. TF-A, which only speaks before Linux does, counts as part of the normal world's boot.
    """

    def __init__(self) -> None:
        self._held = b""
        self._secure = False

    def feed(self, data: bytes) -> list[tuple[World, bytes]]:
        """Bytes that came, with their world; the last few may be held back until it is clear whose they are."""
        data, self._held = self._held + data, b""
        found: list[tuple[World, bytes]] = []
        while data:
            if self._secure:
                line, newline, data = data.partition(b"\n")
                self._secure = not newline
                found.append((World.secure, line + newline))
            elif tag := _TAG.search(data):
                self._secure = True
                found.append((World.normal, data[: tag.start()]))
                data = data[tag.start() :]
            else:
                partial = _PARTIAL_TAG.search(data)
                end = partial.start() if partial else len(data)
                found.append((World.normal, data[:end]))
                self._held, data = data[end:], b""
        return [(world, piece) for world, piece in found if piece]


class SharedConsoleRecord(ConsoleRecord):
    """A record whose only source is a shared port: feed it as the normal world's."""

    def power_on(self) -> None:
        """Start the clock: a new power cycle begins."""
        self._splitter = ConsoleSplitter()
        super().power_on()

    def feed(self, world: World, data: bytes) -> None:
        """Bytes that just came from the port."""
        for whose, piece in self._splitter.feed(data):
            super().feed(whose, piece)
