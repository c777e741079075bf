"""The fastboot of a stand-in board, over TCP.

The protocol is that of AOSP's system/core/fastboot/README.md: a handshake `FB01`, then messages with their length
in 8 bytes, big-endian; the real client `fastboot -s tcp:HOST` talks to it.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tzml_lab.standin.board import StandInBoard
from tzml_lab.standin.sparse import is_sparse, write_sparse

PORT = 5554
_LENGTH = struct.Struct(">Q")
_MOST = 256 << 20


@dataclass(frozen=True)
class PartitionFile:
    """A partition of the board's storage: a file, and its largest size in bytes."""

    path: Path
    size: int


class FastbootServer:
    """A boot loader's fastboot server.

    Args:
        board: answers only while it waits in its boot loader
        partitions: by name

    """

    def __init__(self, board: StandInBoard, partitions: Mapping[str, PartitionFile]) -> None:
        self._board = board
        self._partitions = partitions
        self._data = b""

    async def serve(self, address: str) -> asyncio.Server:
        """Listen."""
        return await asyncio.start_server(self._session, address, PORT)

    async def _session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError, ValueError):
            # a board that is off, or has left its boot loader, has no fastboot
            if self._board.waits and (await reader.readexactly(4)) == b"FB01":
                writer.write(b"FB01")
                while True:
                    command = (await self._message(reader)).decode()
                    if command.startswith("download:"):
                        await self._download(int(command.removeprefix("download:"), 16), reader, writer)
                        answer = b"OKAY"
                    else:
                        answer = await self._do(command)
                    self._send(writer, answer)
                    await writer.drain()
        writer.close()

    async def _message(self, reader: asyncio.StreamReader) -> bytes:
        (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
        return await reader.readexactly(length)

    @staticmethod
    def _send(writer: asyncio.StreamWriter, answer: bytes) -> None:
        writer.write(_LENGTH.pack(len(answer)) + answer)

    async def _download(self, size: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._send(writer, b"DATA%08x" % size)
        data = bytearray()
        while len(data) < size:
            data += await self._message(reader)
        self._data = bytes(data)

    async def _do(self, command: str) -> bytes:
        name, _, argument = command.partition(":")
        match name:
            case "getvar":
                return self._getvar(argument)
            case "flash":
                return self._flash(argument)
            case "erase":
                return self._erase(argument)
            case "continue":
                await self._board.boot()
                return b"OKAY"
            case "reboot" | "reboot-bootloader":
                await self._board.off()
                await self._board.on(boot=False)
                return b"OKAY"
        return b"FAILunknown command"

    def _getvar(self, name: str) -> bytes:
        name, _, partition = name.partition(":")
        known = {"product": "tzml-standin", "version": "0.4", "max-download-size": hex(_MOST)}
        if name in ("has-slot", "is-logical"):
            return b"OKAYno"
        if name == "partition-size" and partition in self._partitions:
            return b"OKAY%#x" % self._partitions[partition].size
        return b"OKAY" + known[name].encode() if name in known else b"FAILunknown variable"

    def _erase(self, name: str) -> bytes:
        if name not in self._partitions:
            return b"FAILno such partition"
        self._partitions[name].path.unlink(missing_ok=True)
        return b"OKAY"

    def _flash(self, name: str) -> bytes:
        partition = self._partitions.get(name)
        if not partition:
            return b"FAILno such partition"
        data, self._data = self._data, b""
        if not is_sparse(data):
            if len(data) > partition.size:
                return b"FAILtoo large for the partition"
            partition.path.write_bytes(data)
            return b"OKAY"
        partition.path.touch()
        with partition.path.open("r+b") as out:
            try:
                write_sparse(data, out)
            except (ValueError, struct.error) as error:
                return f"FAIL{error}".encode()[:256]
            if out.seek(0, 2) > partition.size:
                return b"FAILtoo large for the partition"
        return b"OKAY"
