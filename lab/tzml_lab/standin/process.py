"""Start a stand-in board for an environment that asks for one, and end it after the tests."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from tzml.boards import Board
from tzml.errors import TzmlError
from tzml.image import Image, load_image
from tzml_lab.environment import EnvironmentFile
from tzml_lab.processes import WITH_PARENT
from tzml_lab.standin.__main__ import READY
from tzml_lab.standin.switch import PORT
from tzml_lab.time_limits import scaled

_PACKAGES = {"bmaptool": "bmap-tools", "fastboot": "fastboot", "setpriv": "util-linux"}


class StandIn:
    """A stand-in board in a process of its own, which ends when this process does.

    Environment files find it by the variables LG_STANDIN (its folder) and LG_STANDIN_ADDRESS: every one has an
    address of its own in 127.0.0.0/8, and its services have the ports that they always have.

    Args:
        board: what it stands in for
        image: what it can boot

    """

    def __init__(self, board: Board, image: Image) -> None:
        for program, package in _PACKAGES.items():
            if not shutil.which(program):
                raise TzmlError(f"{program} is not installed", f"sudo apt-get install {package}")
        self.board = board
        self.folder = Path(tempfile.mkdtemp(prefix="tzml-standin-"))
        pid = os.getpid()
        self.address = f"127.{1 + (pid >> 16)}.{pid >> 8 & 255}.{pid & 255}"
        try:
            self._make_deploy_folder(board, image)
            self._make_usbsdmux()
            self._start(board, image)
        except BaseException:
            shutil.rmtree(self.folder)
            raise

    def _make_deploy_folder(self, board: Board, image: Image) -> None:
        """Make a deploy folder `deploy/<board>` with the files of `image` in the roles of the board's image."""
        folder = self.folder / "deploy" / board.name
        folder.mkdir(parents=True)
        description = json.loads((image.folder / "image.json").read_text())
        files = {file["role"]: file for file in description["files"]}
        for file in files.values():
            folder.joinpath(file["path"]).symlink_to(image.folder / file["path"])
        for partition in board.partitions:
            # QEMU's machine boots from its own files, which take the places of the board's
            if partition.standin:
                files[partition.file] = files[partition.standin] | {"role": partition.file}
            elif partition.file:
                files[partition.file] = _small_file(folder, partition.file)
        if board.flashing == "sd-card" and "sdcard" not in files:
            # the virt machine boots from a disk without partitions
            files["sdcard"] = files["rootfs"] | {"role": "sdcard", "path": "sdcard.img"}
            disk = folder / "sdcard.img"
            disk.symlink_to(image.path("rootfs"))
            command = ["bmaptool", "--quiet", "create", "--output", f"{disk}.bmap", str(disk.resolve())]
            subprocess.run(command, check=True, capture_output=True)
        description |= {"machine": board.name, "files": list(files.values())}
        (folder / "image.json").write_text(json.dumps(description))

    def _make_usbsdmux(self) -> None:
        tool = self.folder / "bin" / "usbsdmux"
        tool.parent.mkdir()
        tool.write_text(f'#!/bin/sh\nexec {sys.executable} -m tzml_lab.standin.sdmux "$@"\n')
        tool.chmod(0o755)

    def _start(self, board: Board, image: Image) -> None:
        command = [
            sys.executable,
            "-m",
            "tzml_lab.standin",
            board.name,
            str(image.folder),
            str(self.folder),
            self.address,
        ]
        log = self.folder / "log"
        with log.open("wb") as out:
            self._process = subprocess.Popen(
                [*WITH_PARENT, *command], stdout=out, stderr=out, start_new_session=True
            )
        deadline = time.monotonic() + scaled(30)
        while not (self.folder / READY).exists():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self._process.kill()
                said = log.read_text().strip().splitlines()
                raise TzmlError(f"the stand-in board does not start: {said[-1] if said else 'no message'}")
            time.sleep(0.05)

    @property
    def variables(self) -> dict[str, str]:
        """Variables for environment files, and a new folder for notes of flashed images: this is a new board."""
        notes = str(self.folder / "flashed")
        return {"LG_STANDIN": str(self.folder), "LG_STANDIN_ADDRESS": self.address, "LG_FLASH_NOTES": notes}

    def ask(self, path: str) -> str:
        """Send a request to the power switch: `relay/1/0`, `fault/lost/20`. It is thread-safe."""
        with urllib.request.urlopen(f"http://{self.address}:{PORT}/{path}", timeout=scaled(30)) as answer:
            text: str = answer.read().decode()
        return text

    def stop(self) -> None:
        """Switch off and end."""
        self._process.terminate()
        try:
            self._process.wait(timeout=scaled(10))
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def _small_file(folder: Path, role: str) -> dict[str, str | int]:
    """Make a file that the board takes and QEMU does not need, and return its entry for image.json."""
    data = role.encode()
    (folder / role).write_bytes(data)
    return {"role": role, "path": role, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def stand_in_for(file: EnvironmentFile) -> StandIn | None:
    """Start the stand-in that the environment asks for with the option `standin`, and set its variables.

    Raises TzmlError.
    """
    board = file.standin
    if not board or not board.standin:
        return None
    image = load_image(Path(os.environ["LG_DEPLOY"], board.standin.image).resolve())
    standin = StandIn(board, image)
    os.environ.update(standin.variables)
    return standin
