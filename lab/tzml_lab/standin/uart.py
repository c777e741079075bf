"""The serial line of a stand-in board: a pseudo-terminal in place of a USB adapter's tty."""

from __future__ import annotations

import asyncio
import os
import random
import tty
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Noise:
    """Noise on the line, in thousandths of the bytes. It is reproducible, because the seed is fixed."""

    lost: int = 0
    garbled: int = 0

    def __post_init__(self) -> None:
        self._random = random.Random(1)

    def __call__(self, data: bytes) -> bytes:
        """Return the bytes as they arrive."""
        if not self.lost and not self.garbled:
            return data
        heard = bytearray()
        for byte in data:
            dice = self._random.randrange(1000)
            if dice >= self.lost + self.garbled:
                heard.append(byte)
            elif dice >= self.lost:
                heard.append(byte ^ 1 << self._random.randrange(8))
        return bytes(heard)


class Uart:
    """A tty at `link` that outlives the power cycles of what is behind it.

    Args:
        link: a symbolic link to the tty
        take: gets what the lab writes

    """

    def __init__(self, link: Path, take: Callable[[bytes], None]) -> None:
        self.noise = Noise()
        self._link = link
        self._take = take
        self._plugged = False
        self.plug()

    def plug(self) -> None:
        """Make the tty."""
        self._master, self._slave = os.openpty()  # the slave stays open, so that nobody has to listen
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        new = self._link.with_name("tty.new")
        new.unlink(missing_ok=True)
        new.symlink_to(os.ttyname(self._slave))
        new.replace(self._link)
        asyncio.get_running_loop().add_reader(self._master, self._read)
        self._plugged = True

    def unplug(self) -> None:
        """Pull the adapter out: the tty disappears."""
        self._plugged = False
        asyncio.get_running_loop().remove_reader(self._master)
        os.close(self._slave)
        os.close(self._master)

    def _read(self) -> None:
        try:
            data = os.read(self._master, 4096)
        except OSError:  # it is being unplugged
            return
        self._take(self.noise(data))

    def write(self, data: bytes) -> None:
        """Send the board's output. As on a real line, it is lost if nobody reads it."""
        data = self.noise(data)
        while data and self._plugged:
            try:
                data = data[os.write(self._master, data) :]
            except OSError:
                return
