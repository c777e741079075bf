"""The thread that always reads a machine's consoles."""

from __future__ import annotations

import selectors
import signal
import socket
import subprocess
import threading

from tzml_lab.console import ConsoleRecord
from tzml_lab.lines import World
from tzml_lab.progress import Fault


class ConsolePump(threading.Thread):
    """Moves bytes from QEMU's console sockets into a record until QEMU ends.

    QEMU's UART stops the whole machine, its monitor included, as soon as a few hundred bytes wait in a
    socket that nobody reads. labgrid reads only while someone calls expect(), and its stack of steps is
    not made for a second thread: so this one reads always, and calls nothing of labgrid.

    Args:
        sockets: the connection to each world's console
        record: where the bytes go
        process: QEMU, whose end the pump notices and explains

    """

    def __init__(
        self, sockets: dict[World, socket.socket], record: ConsoleRecord, process: subprocess.Popen[bytes]
    ) -> None:
        super().__init__(name="console-pump", daemon=True)
        self._sockets = sockets
        self._record = record
        self._process = process
        self._stopping = False

    def run(self) -> None:
        with selectors.DefaultSelector() as selector:
            for world, connection in self._sockets.items():
                selector.register(connection, selectors.EVENT_READ, world)
            while selector.get_map():
                for key, _ in selector.select():
                    world = key.data
                    data = _receive(self._sockets[world])
                    if data:
                        self._record.feed(world, data)
                    else:
                        selector.unregister(self._sockets[world])
        if not self._stopping:
            what = f"QEMU ended ({_explain(self._process)})"
            self._record.report(Fault("machine-ended", what, self._record.seconds))

    def stop(self) -> None:
        """The end that comes next is wanted: it is no fault."""
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
