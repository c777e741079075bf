"""Write an image to a board only once: this host and the board itself note which image it has."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labgrid.driver import ExecutionError
from labgrid.resource.remote import RemotePlace

from tzml.files import write_file
from tzml_lab.failures import FailureClass, TargetError
from tzml_lab.target import Commands
from tzml_lab.time_limits import scaled, time_limit

# The file on the board that names its image. Writing another image removes it.
MARK = "/etc/tzml-flashed"


@dataclass(frozen=True)
class FlashNote:
    """The note on this host of the image that it last wrote to a board. The board's own mark overrides it.

    Args:
        path: a JSON file for this board

    """

    path: Path

    @property
    def digest(self) -> str:
        """The digest of the image that was written, or an empty string."""
        try:
            found = json.loads(self.path.read_text())["digest"]
        except (OSError, ValueError, KeyError, TypeError):
            return ""
        return str(found)

    def write(self, digest: str) -> None:
        """Note an image that was written completely."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_file(self.path, json.dumps({"digest": digest}))

    def discard(self) -> None:
        """Forget the image: nobody knows what is on the board."""
        self.path.unlink(missing_ok=True)


class SDCardFlasher:
    """Takes the card from the board, writes it, and gives it back."""

    def __init__(self, target: Any, mux: Any, card: Any, seconds: float) -> None:
        self._target, self._mux, self._card, self._seconds = target, mux, card, seconds

    def write(self) -> None:
        """Write the card while the board is off. Raises TargetError, CalledProcessError, ExecutionError."""
        self._target.activate(self._mux)
        with time_limit(30, "switching the SD card to the host"):
            self._mux.set_mode("host")
        self._target.activate(self._card)
        with time_limit(self._seconds, "writing the SD card", FailureClass.flash):
            self._card.write()
        self._target.deactivate(self._card)
        with time_limit(30, "switching the SD card to the board"):
            self._mux.set_mode("dut")


class FastbootFlasher:
    """Writes partitions with fastboot, which the board's firmware offers after power-on."""

    def __init__(self, target: Any, power: Any, fastboot: Any, seconds: float) -> None:
        self._target, self._power, self._fastboot, self._seconds = target, power, fastboot, seconds

    def write(self) -> None:
        """Write all partitions. The board is off before and afterwards. Raises TargetError, CalledProcessError."""
        with time_limit(30, "the power switch"):
            self._power.on()
        with time_limit(60, "waiting for the board's fastboot", FailureClass.flash):
            self._fastboot.fastboot.timeout = scaled(60)  # labgrid's own wait for a USB device, 2 s otherwise
            self._target.activate(self._fastboot)
            self._fastboot("getvar", "product")
        with time_limit(self._seconds, "writing with fastboot", FailureClass.flash):
            self._fastboot.flash_all()
        with time_limit(30, "the power switch"):
            self._power.off()

    def boot(self) -> None:
        """Let the board continue from fastboot into the image. Raises TargetError, CalledProcessError."""
        self._target.activate(self._fastboot)
        with time_limit(60, "leaving fastboot", FailureClass.boot):
            self._fastboot.continue_boot()


class BoardImage:
    """The image that belongs on a board, and whether the board has it.

    Args:
        flasher: how it gets there
        note: what this host wrote last
        digest: names the image

    """

    def __init__(self, flasher: SDCardFlasher | FastbootFlasher, note: FlashNote, digest: str) -> None:
        self.flasher, self.note, self.digest = flasher, note, digest
        self.writes = 0
        self._marked = False

    def write_if_needed(self) -> None:
        """Write the image unless this host's note says that the board has it. Raises TargetError."""
        if self.note.digest == self.digest:
            return
        self.note.discard()
        self._marked = False
        try:
            self.flasher.write()
        except (subprocess.CalledProcessError, ExecutionError, OSError) as error:
            raise TargetError(FailureClass.flash, reason(error)) from error
        self.note.write(self.digest)
        self.writes += 1

    def confirm(self, shell: Commands) -> bool:
        """Whether the booted board has this image. Marks the board if the image was just written."""
        if not self._marked and self.writes:
            shell.run_check(f"echo {self.digest} >{MARK}; sync")
        elif not self._marked and shell.run(f"cat {MARK} 2>/dev/null")[0] != [self.digest]:
            self.note.discard()
            return False
        self._marked = True
        return True


def board_name(target: Any) -> str:
    """The board's place in a shared lab, or the environment for a board on this host."""
    for resource in target.resources:
        if isinstance(resource, RemotePlace):
            return f"place-{resource.name}"
    return f"{Path(target.env.config_file).stem}-{target.name}"


def reason(error: Exception) -> str:
    """Why a program failed, in one line: the last two lines of its output."""
    if not isinstance(error, subprocess.CalledProcessError):
        return str(error).splitlines()[0] if str(error) else type(error).__name__
    said = (error.output or b"").decode("utf-8", "replace").replace("\r", "\n").split("\n")
    said = [" ".join(line.split()) for line in said if line.strip()]
    program = " ".join(error.cmd) if isinstance(error.cmd, list) else str(error.cmd)
    return f"{program} failed with status {error.returncode}: {'; '.join(said[-2:]) or 'no message'}"
