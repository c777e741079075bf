"""A console that other terminals can attach to, over a socket in a folder; and the other end of it.

Paths of sockets are short. Both ends reach the socket through the folder's descriptor, so the folder's may be long.
"""

from __future__ import annotations

import os
import select
import socket
import sys
import termios
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tzml.errors import TzmlError

SOCKET = "console.sock"
LEAVE = b"\x1d"  # Ctrl-], as in telnet
_IDLE = 2.0  # seconds without output after which a client whose input has ended leaves


@contextmanager
def _address(folder: Path) -> Iterator[str]:
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}/{SOCKET}"
    finally:
        os.close(descriptor)


class ConsoleServer:
    """Gives a console to everybody who attaches, until it is closed.

    Args:
        folder: where the socket is made
        send: takes what somebody typed

    """

    def __init__(self, folder: Path, send: Callable[[bytes], object]) -> None:
        self._path = folder / SOCKET
        self._path.unlink(missing_ok=True)
        self._send = send
        self._clients: list[socket.socket] = []
        self._listener = socket.socket(socket.AF_UNIX)
        with _address(folder) as address:
            self._listener.bind(address)
        self._path.chmod(0o600)
        self._listener.listen()

    def serve(self, output: bytes, greeting: bytes, seconds: float) -> None:
        """Give output to all who are attached, and take their input for that long at most.

        Args:
            output: what the console said since the last call
            greeting: what those see who attach now
            seconds: how long to wait for input

        """
        for client in list(self._clients):
            self._give(client, output)
        ready, _, _ = select.select([self._listener, *self._clients], [], [], seconds)
        for one in ready:
            if one is self._listener:
                client, _ = self._listener.accept()
                client.settimeout(5)  # somebody who reads nothing does not stop the others for long
                self._clients.append(client)
                self._give(client, greeting)
            else:
                self._take(one)

    def _give(self, client: socket.socket, data: bytes) -> None:
        try:
            client.sendall(data)
        except OSError:
            self._drop(client)

    def _take(self, client: socket.socket) -> None:
        try:
            data = client.recv(4096)
        except OSError:
            data = b""
        if data:
            self._send(data)
        else:
            self._drop(client)

    def _drop(self, client: socket.socket) -> None:
        client.close()
        self._clients.remove(client)

    def close(self) -> None:
        """Send everybody away."""
        for one in (*self._clients, self._listener):
            one.close()
        self._path.unlink(missing_ok=True)


def attach(folder: Path) -> None:
    """Connect this process's terminal, or its standard input and output, to the console in a folder.

    It ends with Ctrl-], with the console, or soon after standard input if that is no terminal. Raises TzmlError.
    """
    server = socket.socket(socket.AF_UNIX)
    try:
        with _address(folder) as address:
            server.connect(address)
    except OSError as error:
        raise TzmlError(
            f"no machine is kept in {folder}", "keep one with pytest lab --lg-env ENVIRONMENT --lg-keep"
        ) from error
    with server, _raw(sys.stdin.fileno()):
        _relay(server, sys.stdin.fileno(), sys.stdout.fileno())


def _relay(server: socket.socket, source: int, target: int) -> None:
    sources: list[socket.socket | int] = [server, source]
    while True:
        ready, _, _ = select.select(sources, [], [], None if source in sources else _IDLE)
        if not ready:
            return
        if server in ready:
            data = server.recv(65536)
            if not data:
                return
            os.write(target, data)
        if source in ready:
            typed = os.read(source, 4096)
            before, leave, _ = typed.partition(LEAVE)
            server.sendall(before)
            if leave:  # the other end reads what was typed before it hangs up
                server.shutdown(socket.SHUT_WR)
            if leave or not typed:
                sources.remove(source)


@contextmanager
def _raw(descriptor: int) -> Iterator[None]:
    """A terminal that passes every key on, as long as the context is open."""
    if not os.isatty(descriptor):
        yield
        return
    before = termios.tcgetattr(descriptor)
    try:
        tty.setraw(descriptor)
        yield
    finally:
        with suppress(termios.error):
            termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
