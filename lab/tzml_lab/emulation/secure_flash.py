"""The flash of QEMU's virt machine that only the secure world sees: a file for each emulated device.

It begins with the firmware. Its last sectors hold what makes the device one of its own: OP-TEE's hardware unique
key and the counter of its storage (meta-tzml-debian/recipes-security/optee-os/files/platform/flash.h). So a device
without its file is another one, and its OP-TEE opens nothing that the first one stored.
"""

from __future__ import annotations

import os
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path

from tzml.errors import TzmlError

SIZE = 64 << 20
SECTOR = 256 << 10
SECTORS = 3  # the device, and two for the counter
DEVICE = SIZE - SECTORS * SECTOR
MAGIC = b"TZMLDEV1"
KEY_SIZE = 16
ERASED = b"\xff"


@dataclass(frozen=True)
class SecureFlash:
    """The flash of one emulated device.

    Args:
        path: its file, which only this user may read
        firmware: what the machine starts; written anew at each power-on, as an update of the firmware would

    """

    path: Path
    firmware: Path

    @property
    def arguments(self) -> list[str]:
        """QEMU's, instead of -bios."""
        return ["-drive", f"if=pflash,unit=0,format=raw,file={self.path}"]

    def prepare(self) -> None:
        """Put the firmware into it, and make a device if there is none. Raises TzmlError."""
        if self.firmware.stat().st_size > DEVICE:
            raise TzmlError(f"{self.firmware} is larger than the flash: {DEVICE:,} bytes are for it")
        if not self._has_device():
            self._make()
        with self.firmware.open("rb") as firmware, self.path.open("r+b") as flash:
            shutil.copyfileobj(firmware, flash)

    def _has_device(self) -> bool:
        try:
            with self.path.open("rb") as flash:
                flash.seek(DEVICE)
                return flash.read(len(MAGIC)) == MAGIC and self.path.stat().st_size == SIZE
        except FileNotFoundError:
            return False

    def _make(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.unlink(missing_ok=True)
        with os.fdopen(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as flash:
            flash.truncate(SIZE)
            flash.seek(DEVICE)
            flash.write((MAGIC + secrets.token_bytes(KEY_SIZE)).ljust(SECTORS * SECTOR, ERASED))

    def discard(self) -> None:
        """Remove it, and the device with it."""
        self.path.unlink(missing_ok=True)
