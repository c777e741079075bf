"""Threads that read consoles all the time: QEMU's, or a board's serial line."""

from __future__ import annotations

import selectors
import signal
import socket
import subprocess
import threading
from typing import Any

from serial import SerialException

from tzml_lab.consoles.boot_progress import Fault
from tzml_lab.consoles.lines import Speaker
from tzml_lab.consoles.record import ConsoleRecord
from tzml_lab.consoles.shared_uart import Pieces, SharedUart

# seconds without a byte after which the line counts as paused
_PAUSE = 0.1


class ConsolePump(threading.Thread):
    """Moves bytes from QEMU's console sockets into a record until QEMU ends.

    QEMU's UART stops the whole machine, including its monitor, as soon as a few hundred bytes wait in a socket
    that nobody reads. labgrid reads only during expect(), and its stack of steps is not thread-safe. So this
    thread reads all the time and calls nothing of labgrid's.

    Args:
        sockets: the connection to each world's console
        record: where the bytes go
        process: QEMU, whose end the pump notices and explains

    """

    def __init__(
        self, sockets: dict[Speaker, socket.socket], record: ConsoleRecord, process: subprocess.Popen[bytes]
    ) -> None:
        super().__init__(name="console-pump", daemon=True)
        self._sockets = sockets
        self._record = record
        self._process = process
        self._stopping = False

    def run(self) -> None:
        with selectors.DefaultSelector() as selector:
            for speaker, connection in self._sockets.items():
                selector.register(connection, selectors.EVENT_READ, speaker)
            while selector.get_map():
                for key, _ in selector.select():
                    speaker = key.data
                    data = _receive(self._sockets[speaker])
                    if data:
                        self._record.feed(speaker, data)
                    else:
                        selector.unregister(self._sockets[speaker])
        if not self._stopping:
            what = f"QEMU ended ({_explain(self._process)})"
            self._record.report(Fault("machine-ended", what, self._record.seconds))

    def stop(self) -> None:
        """QEMU is about to be ended on purpose: do not report it as a fault."""
        self._stopping = True


def _receive(connection: socket.socket) -> bytes:
    try:
        return connection.recv(65536)
    except OSError:  # QEMU was killed
        return b""


def _explain(process: subprocess.Popen[bytes]) -> str:
    try:
        status = process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        return "it closed its consoles but still runs"
    return f"killed by {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"


class SerialPump(threading.Thread):
    """Moves bytes from a serial port into a record until it is stopped, each world's to its own console.

    A board prints while nobody is waiting for it, and only a reader notices that a serial line has gone.

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
        for speaker, data in pieces:
            self._record.feed(speaker, data)

    def stop(self) -> None:
        """Stop reading. Call it before the port is closed."""
        self._stopping.set()
        self.join()
