# SPDX-License-Identifier: GPL-2.0-only
"""The framing between bb.runqueue, this worker and the worker's children.

bb.runqueue to worker:  <name> length:4, big-endian  pickle  </name>
worker to bb.runqueue:  <event> pickle </event>  or  <exitcode> pickle of (task, status) </exitcode>
child to worker:        length:4, big-endian  then data that the worker passes on to bb.runqueue unchanged
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator

REQUESTS = frozenset(
    {
        "cookerconfig",
        "extraconfigdata",
        "finishnow",
        "newtaskhashes",
        "ping",
        "quit",
        "runtask",
        "workerdata",
    }
)
LENGTH = 4
LONGEST_TAG = max(len(name) for name in REQUESTS) + len("<>")


class ProtocolError(Exception):
    """The other end does not speak the worker protocol of BitBake 2.19."""


class RequestStream:
    """Splits the bytes that arrive from bb.runqueue into requests (name, pickle)."""

    def __init__(self) -> None:
        self._pending = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[str, bytes]]:
        self._pending += data
        while (request := self._next()) is not None:
            yield request

    def _next(self) -> tuple[str, bytes] | None:
        end_of_tag = self._pending.find(b">", 0, LONGEST_TAG)
        if end_of_tag < 0:
            if len(self._pending) >= LONGEST_TAG:
                raise ProtocolError(f"no request begins with {bytes(self._pending[:LONGEST_TAG])!r}")
            return None
        name = self._pending[1:end_of_tag].decode("ascii", "replace")
        if self._pending[:1] != b"<" or name not in REQUESTS:
            raise ProtocolError(f"{bytes(self._pending[: end_of_tag + 1])!r} is not a request of BitBake 2.19")
        body = end_of_tag + 1 + LENGTH
        if len(self._pending) < body:
            return None
        end = body + int.from_bytes(self._pending[end_of_tag + 1 : body], "big")
        closing = f"</{name}>".encode()
        if len(self._pending) < end + len(closing):
            return None
        if self._pending[end : end + len(closing)] != closing:
            raise ProtocolError(f"request <{name}> does not end where its length says")
        payload = bytes(self._pending[body:end])
        del self._pending[: end + len(closing)]
        return name, payload


class ReplyStream:
    """Splits the bytes that arrive from a child into replies."""

    def __init__(self) -> None:
        self._pending = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        self._pending += data
        while len(self._pending) >= LENGTH:
            end = LENGTH + int.from_bytes(self._pending[:LENGTH], "big")
            if len(self._pending) < end:
                return
            yield bytes(self._pending[LENGTH:end])
            del self._pending[:end]


def event(content: object) -> bytes:
    return b"<event>" + pickle.dumps(content) + b"</event>"


def exit_code(task: str, status: int) -> bytes:
    return b"<exitcode>" + pickle.dumps((task, status)) + b"</exitcode>"


def frame(reply: bytes) -> bytes:
    return len(reply).to_bytes(LENGTH, "big") + reply


def write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
