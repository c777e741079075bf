"""python -m tzml_lab.standin BOARD IMAGE FOLDER ADDRESS: a stand-in board, until SIGTERM."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

from tzml.boards import Board, find_board
from tzml.image import Image, load_image
from tzml_lab.standin import sdmux
from tzml_lab.standin.board import StandInBoard
from tzml_lab.standin.fastboot import FastbootServer, PartitionFile
from tzml_lab.standin.machine import PiMachine, VirtMachine
from tzml_lab.standin.switch import PowerSwitch

READY = "ready"


def _board_with_card(image: Image, folder: Path) -> StandInBoard:
    """A board that boots from its card while the mux gives it the card."""
    mux, card = folder / "sdmux", folder / "card"
    mux.write_bytes(sdmux.POWER_ON)
    card.touch()

    def inserted() -> Path | None:
        return card if sdmux.mode(mux.read_bytes()) == "dut" else None

    def storage() -> Mapping[str, Path]:
        found = {role: image.path(role) for role in ("firmware", "kernel", "initrd")}
        return found | ({"rootfs": card} if inserted() else {})

    emulator = image.description.emulator
    if emulator and emulator.machine.startswith("raspi"):
        return StandInBoard(PiMachine(image, inserted, folder), folder)
    return StandInBoard(VirtMachine(image, storage), folder)


async def _board_with_fastboot(board: Board, image: Image, folder: Path, address: str) -> StandInBoard:
    """A board that waits in fastboot after power-on, and boots from its partitions."""
    partitions = {part.name: PartitionFile(folder / f"{part.name}.img", part.size) for part in board.partitions}
    storage = {part.standin: partitions[part.name].path for part in board.partitions if part.standin}
    storage["initrd"] = image.path("initrd")  # the virt machine's kernel needs one
    standin = StandInBoard(VirtMachine(image, lambda: storage), folder)
    await FastbootServer(standin, partitions).serve(address)
    return standin


async def _run(board: Board, image: Image, folder: Path, address: str) -> None:
    if board.flashing == "fastboot":
        standin = await _board_with_fastboot(board, image, folder, address)
    else:
        standin = _board_with_card(image, folder)
    await PowerSwitch(standin, fastboot=board.flashing == "fastboot").serve(address)
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    folder.joinpath(READY).touch()
    await ended.wait()
    await standin.off()


def main() -> None:
    """See above."""
    name, image, folder, address = sys.argv[1:]
    asyncio.run(_run(find_board(name), load_image(Path(image)), Path(folder), address))


if __name__ == "__main__":
    main()
