"""The machines of stand-in boards: QEMU, started from the board's own storage."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from tzml.errors import TzmlError
from tzml.image import Emulator, Image
from tzml_lab.emulation.firmware import bare_machine
from tzml_lab.emulation.secure_flash import SecureFlash
from tzml_lab.emulation.video_core import VideoCore, card_size, emulated_cores


class Machine(Protocol):
    """A machine that boots from the storage of a stand-in board.

    Args:
        uarts: how many serial ports to connect; the board's line has all of them

    """

    uarts: int

    def command(self) -> list[str] | None:
        """QEMU's command line without serial ports. None if there is nothing to boot: then the board is silent."""
        ...


class VirtMachine:
    """QEMU's virt machine, with firmware, kernel and disk from the board's storage.

    QEMU is told where they are; a real board's boot ROM would find them by itself.

    Args:
        image: tells the machine and the kernel's arguments
        storage: where the board has now the files that the image has by role: firmware, kernel, initrd, rootfs

    """

    uarts = 2  # Linux's and OP-TEE's

    def __init__(self, image: Image, storage: Callable[[], Mapping[str, Path]]) -> None:
        self._image = image
        self._storage = storage

    def command(self) -> list[str] | None:
        found = {role: path for role, path in self._storage().items() if path.exists()}
        if "firmware" not in found:
            return None
        about = self._image.description
        emulator = about.emulator
        assert emulator, "an image for QEMU"
        flash = SecureFlash(found["firmware"].with_suffix(".flash"), found["firmware"])
        flash.prepare()
        command = [*_machine(emulator), *flash.arguments, "-append", about.kernel_arguments]
        for role, option in (("kernel", "-kernel"), ("initrd", "-initrd")):
            if role in found:
                command += [option, str(found[role])]
        if "rootfs" in found:
            command += _disk(emulator, found["rootfs"])
        return command


class PiMachine:
    """QEMU's Raspberry Pi 3, started from its card as the VideoCore would do it.

    Args:
        image: tells QEMU's machine; what boots is on the card
        card: the file that is the card, as long as the board has it
        folder: where the VideoCore puts files together

    """

    uarts = 1  # the mini UART, which both worlds share

    def __init__(self, image: Image, card: Callable[[], Path | None], folder: Path) -> None:
        self._image = image
        self._card = card
        self._folder = folder

    def command(self) -> list[str] | None:
        card = self._card()
        if not card:
            return None
        emulator = self._image.description.emulator
        assert emulator, "an image that QEMU can boot"
        try:
            cores = emulated_cores(self._image.description.machine)
            core = VideoCore(card, self._folder / "videocore", emulator.memory_mib, cores)
            started = core.arguments(emulator.cpu)
        except TzmlError as error:  # the real one would not say why
            print(error, flush=True)
            return None
        os.truncate(card, card_size(card.stat().st_size))
        # the first UART leads to Bluetooth
        return [*_machine(emulator), *_disk(emulator, card), *started, "-serial", "null"]


def _machine(emulator: Emulator) -> list[str]:
    return [*bare_machine(emulator), "-monitor", "none"]


def _disk(emulator: Emulator, file: Path) -> list[str]:
    return ["-drive", f"if={emulator.disk_interface},format=raw,file={file}"]
