"""python -m tzml_lab.standin BOARD IMAGE FOLDER ADDRESS: a stand-in board, until SIGTERM."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

from tzml.image import Image, load_image
from tzml_lab.standin import sdmux
from tzml_lab.standin.board import Board
from tzml_lab.standin.fastboot import FastbootServer, Partition
from tzml_lab.standin.machine import PiMachine, VirtMachine
from tzml_lab.standin.switch import PowerSwitch

READY = "ready"
# the HiKey's partitions (a 4 GB eMMC), with the bytes they have, and what QEMU's machine takes from them
PARTITIONS = {
    "ptable": ("", 34 * 512),
    "loader": ("", (4 << 20) - 2048),
    "fastboot": ("firmware", 8 << 20),
    "nvme": ("", 2 << 20),
    "boot": ("kernel", 64 << 20),
    "cache": ("", 256 << 20),
    "system": ("rootfs", 3206528512),
}


async def _board_with_card(image: Image, folder: Path) -> tuple[Board, bool]:
    """A board that boots from the card, as long as the mux gives it the card."""
    mux, card = folder / "sdmux", folder / "card"
    mux.write_bytes(sdmux.POWER_ON)
    card.touch()

    def inserted() -> Path | None:
        return card if sdmux.mode(mux.read_bytes()) == "dut" else None

    def storage() -> Mapping[str, Path]:
        found = {role: image.path(role) for role in ("firmware", "kernel", "initrd")}
        return found | ({"rootfs": card} if inserted() else {})

    if image.description.machine == "rpi3":
        return Board(PiMachine(image, inserted, folder), folder), False
    return Board(VirtMachine(image, storage), folder), False


async def _board_with_fastboot(image: Image, folder: Path, address: str) -> tuple[Board, bool]:
    """A board that waits in fastboot after power-on, and boots from its partitions."""
    partitions = {name: Partition(folder / f"{name}.img", size) for name, (_, size) in PARTITIONS.items()}
    storage = {role: partitions[name].path for name, (role, _) in PARTITIONS.items() if role}
    storage["initrd"] = image.path("initrd")  # the virt machine's kernel cannot do without
    board = Board(VirtMachine(image, lambda: storage), folder)
    await FastbootServer(board, partitions).serve(address)
    return board, True


async def _run(kind: str, image: Image, folder: Path, address: str) -> None:
    if kind == "hikey":
        board, fastboot = await _board_with_fastboot(image, folder, address)
    else:
        board, fastboot = await _board_with_card(image, folder)
    await PowerSwitch(board, fastboot=fastboot).serve(address)
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    folder.joinpath(READY).touch()
    await ended.wait()
    await board.off()


def main() -> None:
    """See above."""
    kind, image, folder, address = sys.argv[1:]
    asyncio.run(_run(kind, load_image(Path(image)), Path(folder), address))


if __name__ == "__main__":
    main()
