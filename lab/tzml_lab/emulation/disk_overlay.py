"""A disk that a machine may write to, on top of an image that stays unchanged."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tzml.errors import TzmlError
from tzml.files import write_file


@dataclass(frozen=True)
class DiskOverlay:
    """A qcow2 file with everything that a machine wrote, on top of the built disk image.

    It survives power cycles, and is discarded when the image under it changes.

    Args:
        path: the qcow2 file
        base: the built disk image (raw)
        digest: SHA-256 of `base`
        size: bytes of the disk that the machine sees; None is as many as `base` has

    """

    path: Path
    base: Path
    digest: str
    size: int | None = None

    @property
    def _stamp(self) -> Path:
        return self.path.with_suffix(".json")

    def usable(self) -> bool:
        """Whether the overlay exists and belongs to this image."""
        try:
            stamp = json.loads(self._stamp.read_text())
        except (OSError, ValueError):
            return False
        return self.path.exists() and stamp == self._identity()

    def _identity(self) -> dict[str, str]:
        return {"base": str(self.base.resolve()), "sha256": self.digest}

    def prepare(self) -> None:
        """Make the overlay unless it is usable. Raises TzmlError."""
        if self.usable():
            return
        self.discard()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        command = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", str(self.base.resolve())]
        size = [str(self.size)] if self.size else []
        try:
            subprocess.run([*command, str(self.path), *size], check=True, capture_output=True, text=True)
        except FileNotFoundError as error:
            raise TzmlError("qemu-img is not installed", "sudo apt-get install qemu-utils") from error
        except subprocess.CalledProcessError as error:
            raise TzmlError(f"qemu-img failed: {error.stderr.strip()}", "see whether the disk is full") from error
        write_file(self._stamp, json.dumps(self._identity()))

    def discard(self) -> None:
        """Remove the overlay and all that the machine wrote."""
        self.path.unlink(missing_ok=True)
        self._stamp.unlink(missing_ok=True)
