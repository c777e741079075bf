"""All memory of an emulated machine, as somebody with a probe on its bus would see it."""

from __future__ import annotations

import mmap
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tzml_lab.drivers.qemu import TrustZoneQEMUDriver
from tzml_lab.failures import FailureClass, TargetError

# QEMU's hw/arm/virt.c: where its memory begins, and how much of its own the secure world has
_NORMAL_START = 0x4000_0000
_SECURE_SIZE = 16 << 20


@contextmanager
def _stopped(machine: TrustZoneQEMUDriver) -> Iterator[None]:
    machine.monitor_command("stop")
    try:
        yield
    finally:
        machine.monitor_command("cont")


@contextmanager
def normal_memory(machine: TrustZoneQEMUDriver, folder: Path) -> Iterator[mmap.mmap]:
    """All that the normal world can read, kernel and every process included. Raises TargetError."""
    path = folder / "normal-memory"
    size = machine.emulator.memory_mib << 20
    with _stopped(machine):
        machine.monitor_command("pmemsave", {"val": _NORMAL_START, "size": size, "filename": str(path)})
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as memory:
            yield memory
    finally:
        path.unlink()


def secure_memory(machine: TrustZoneQEMUDriver) -> bytes:
    """OP-TEE's memory, which QEMU's monitor does not show: from QEMU's process. Raises TargetError."""
    maps = Path(f"/proc/{machine.pid}/maps").read_text()
    found = [
        (int(begin, 16), int(end, 16))
        for begin, end, file in re.findall(r"^(\w+)-(\w+) rw-p \w+ \w+:\w+ \d+ *(.*)$", maps, re.MULTILINE)
        if not file and int(end, 16) - int(begin, 16) == _SECURE_SIZE
    ]
    if len(found) != 1:
        raise TargetError(
            FailureClass.infrastructure, f"QEMU has {len(found)} mappings of the size of the secure memory, not 1"
        )
    ((begin, _),) = found
    with _stopped(machine), Path(f"/proc/{machine.pid}/mem").open("rb", buffering=0) as memory:
        memory.seek(begin)
        return memory.read(_SECURE_SIZE)
