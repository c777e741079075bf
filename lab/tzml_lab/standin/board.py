"""A stand-in board: a machine that is on or off, with its serial line."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tzml_lab.processes import WITH_PARENT
from tzml_lab.standin.machine import Machine
from tzml_lab.standin.uart import Uart

_Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def _settle(future: asyncio.Future[_Connection]) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], None]:
    """A server's callback: the first connection is the future's result."""

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not future.done():
            future.set_result((reader, writer))

    return connected


async def _all(futures: list[asyncio.Future[_Connection]]) -> None:
    await asyncio.gather(*futures)


class StandInBoard:
    """QEMU between a power switch and a UART. All methods belong to one event loop.

    QEMU ends with this process (which starts it in its main thread, as the kernel wants it for that).

    Args:
        machine: what to start
        folder: where the tty and QEMU's log are

    """

    def __init__(self, machine: Machine, folder: Path) -> None:
        self.machine = machine
        self.uart = Uart(folder / "tty", self._to_machine)
        self.powered = False
        self._folder = folder
        self._process: asyncio.subprocess.Process | None = None
        self._switching = asyncio.Lock()
        self._writers: list[asyncio.StreamWriter] = []
        self._readers: list[asyncio.Task[None]] = []

    @property
    def waits(self) -> bool:
        """Whether it has power and its boot loader is waiting for `boot()`."""
        return self.powered and not self._process

    async def on(self, boot: bool = True) -> None:
        """Power on. Without `boot` the boot loader offers fastboot until `boot()` is called."""
        if not self.powered:
            self.powered = True
            if boot:
                await self.boot()

    async def boot(self) -> None:
        """Start the machine from the present content of its storage."""
        async with self._switching:
            await self._start()

    async def _start(self) -> None:
        if self._process:
            return
        command = await asyncio.to_thread(self.machine.command)
        if not command:
            return
        loop = asyncio.get_running_loop()
        connections: list[asyncio.Future[_Connection]] = []
        servers = []
        for number in range(self.machine.uarts):
            path = self._folder / f"uart{number}"
            path.unlink(missing_ok=True)
            connections.append(loop.create_future())
            servers.append(await asyncio.start_unix_server(_settle(connections[-1]), path))
            command += ["-chardev", f"socket,id=uart{number},path={path}", "-serial", f"chardev:uart{number}"]
        with self._folder.joinpath("qemu.log").open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(*WITH_PARENT, *command),
                stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        ended = asyncio.ensure_future(self._process.wait())
        await asyncio.wait({asyncio.ensure_future(_all(connections)), ended}, return_when=asyncio.FIRST_COMPLETED)
        # If one is missing, qemu.log says why. A board that does not start is silent.
        for number, connection in enumerate(connections if all(c.done() for c in connections) else []):
            reader, writer = connection.result()
            self._writers.append(writer)
            # The first port is Linux's. OP-TEE's is forwarded in whole lines, as on a UART that both share.
            self._readers.append(asyncio.ensure_future(self._from_machine(reader, lines=number > 0)))
        for server in servers:
            server.close()

    async def off(self) -> None:
        """Cut the power. If the machine is just being started, that comes first."""
        async with self._switching:
            await self._stop()

    async def _stop(self) -> None:
        self.powered = False
        if self._process:
            with suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
            self._process = None
        for task in self._readers:
            task.cancel()
        for writer in self._writers:
            writer.close()
        self._readers, self._writers = [], []

    def pause(self, stopped: bool) -> None:
        """Pause the machine, or let it continue."""
        if self._process:
            self._process.send_signal(signal.SIGSTOP if stopped else signal.SIGCONT)

    async def _from_machine(self, reader: asyncio.StreamReader, lines: bool) -> None:
        with suppress(ConnectionError):
            while data := await (reader.readline() if lines else reader.read(4096)):
                self.uart.write(data)

    def _to_machine(self, data: bytes) -> None:
        if self._writers and data:
            self._writers[0].write(data)
