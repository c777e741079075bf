"""QEMU with nothing but the firmware, and with memory that can be read and changed while it boots."""

from __future__ import annotations

import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from labgrid.util.qmp import QMPMonitor

from tzml.image import Emulator, Image
from tzml_lab.emulation.secure_flash import SecureFlash
from tzml_lab.time_limits import scaled

# OP-TEE's last line before there is a normal world
HANDOVER = "Primary CPU switching to normal world boot"
RAM = 0x4000_0000  # of the virt machine, all of it the normal world's; QEMU puts the device tree at its start


def bare_machine(emulator: Emulator) -> list[str]:
    """QEMU's command line for a machine without storage, network and consoles."""
    command = [emulator.program, "-machine", emulator.machine, "-cpu", emulator.cpu]
    command += ["-smp", str(emulator.cpus), "-m", str(emulator.memory_mib)]
    return [*command, "-nic", "none", "-display", "none"]


class FirmwareBoot:
    """A virt machine, halted at its first instruction. Use as a context manager.

    Args:
        image: whose firmware it runs
        folder: for its files
        flash: whether it has a secure flash; that is kept in the folder
        options: more of QEMU's arguments

    """

    def __init__(self, image: Image, folder: Path, *options: str, flash: bool = True) -> None:
        emulator = image.description.emulator
        assert emulator, "an image for QEMU"
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._secure, self._gdb = folder / "secure.log", folder / "gdb"
        self._memory_size = emulator.memory_mib << 20
        firmware = image.path("firmware")
        start = ["-bios", str(firmware)]
        if flash:
            device = SecureFlash(folder / "secure.flash", firmware)
            device.prepare()
            start = device.arguments
        self._command = [
            *bare_machine(emulator), "-S", *start,
            "-serial", "null", "-serial", f"file:{self._secure}",
            "-chardev", f"socket,id=gdb,path={self._gdb},server=on,wait=off", "-gdb", "chardev:gdb",
            "-qmp", "stdio", *options,
        ]  # fmt: skip

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdin
        assert self._process.stdout
        self._monitor = QMPMonitor(self._process.stdout, self._process.stdin)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe
            pipe.close()

    def memory(self, address: int = RAM, size: int = 0) -> bytes:
        """A piece of what the normal world can read; all of its RAM by default."""
        path = self._folder / "memory"
        arguments = {"val": address, "size": size or self._memory_size, "filename": str(path)}
        self._monitor.execute("pmemsave", arguments)
        data = path.read_bytes()
        path.unlink()
        return data

    def write(self, address: int, data: bytes) -> None:
        """Change memory while the machine is halted, through QEMU's stub for GDB."""
        packet = f"M{address:x},{len(data):x}:{data.hex()}".encode()
        with socket.socket(socket.AF_UNIX) as gdb:
            gdb.connect(str(self._gdb))
            gdb.settimeout(scaled(10))
            gdb.sendall(b"+$" + packet + b"#" + f"{sum(packet) % 256:02x}".encode())
            answer = b""
            while answer.count(b"#") < 1:
                answer += gdb.recv(64)
        if b"$OK#" not in answer:
            raise RuntimeError(f"QEMU did not write to {address:#x}: {answer!r}")

    def run(self, *until: str, seconds: float = 30) -> str:
        """Let it go on until OP-TEE says one of these, then halt it. Returns what OP-TEE said.

        Raises TimeoutError if it says none.
        """
        self._monitor.execute("cont")
        deadline = time.monotonic() + scaled(seconds)
        said = ""
        while not any(text in said for text in until):
            if time.monotonic() > deadline:
                raise TimeoutError(f"OP-TEE said none of {until}: {said}")
            time.sleep(0.05)
            said = self._secure.read_text(errors="replace") if self._secure.exists() else ""
        self._monitor.execute("stop")
        return said
