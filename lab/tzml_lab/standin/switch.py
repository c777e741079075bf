"""A network power switch for labgrid's model `simplerest`, which can also cause faults."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from tzml_lab.standin.board import StandInBoard

PORT = 9101


class PowerSwitch:
    """An HTTP server: /relay/1/1 and /relay/1/0 switch, /relay/1 reads. For tests: /fault/<what>/<number>.

    Faults: `lost` and `garbled` (thousandths of the bytes on the serial line), `unplugged` (the serial adapter),
    `paused` (the machine), `stuck` (this switch answers no more).

    Args:
        board: what it switches
        fastboot: whether the board waits in fastboot after power-on

    """

    def __init__(self, board: StandInBoard, *, fastboot: bool = False) -> None:
        self._board = board
        self._fastboot = fastboot
        self._stuck = False

    async def serve(self, address: str) -> asyncio.Server:
        """Listen."""
        return await asyncio.start_server(self._answer, address, PORT)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, ValueError, IndexError):
            _, path, _ = (await reader.readline()).decode("latin-1").split(" ", 2)
            while (await reader.readline()).strip():
                pass
            if self._stuck and path.startswith("/relay"):
                await asyncio.sleep(3600)
            status, body = await self._do(path.strip("/").split("/"))
            writer.write(
                f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode()
            )
            await writer.drain()
        writer.close()

    async def _do(self, words: list[str]) -> tuple[str, str]:
        match words:
            case ["relay", "1"]:
                return "200 OK", str(int(self._board.powered))
            case ["relay", "1", "1"]:
                await self._board.on(boot=not self._fastboot)
            case ["relay", "1", "0"]:
                await self._board.off()
            case ["fault", what, number]:
                return self._fault(what, int(number))
            case _:
                return "404 Not Found", ""
        return "200 OK", ""

    def _fault(self, what: str, number: int) -> tuple[str, str]:
        uart = self._board.uart
        match what:
            case "lost":
                uart.noise.lost = number
            case "garbled":
                uart.noise.garbled = number
            case "unplugged":
                uart.unplug() if number else uart.plug()
            case "paused":
                self._board.pause(bool(number))
            case "stuck":
                self._stuck = bool(number)
            case _:
                return "404 Not Found", ""
        return "200 OK", ""
