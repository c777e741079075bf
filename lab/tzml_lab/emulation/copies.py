"""Copies of a running QEMU machine, which go on within seconds: a fleet that bears load.

A machine is frozen once: memory and devices as a stream of QEMU's migration, the disk, and the secure flash. Each
copy goes on from there, with a disk and a flash of its own. **Copies are one device**: they have one key, and
generators of random numbers in one state. What is to be several devices has to boot (tzml_lab.emulation.another).
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from labgrid.util.qmp import QMPError, QMPMonitor

from tzml_lab.drivers.qemu import USER_NETWORK, TrustZoneQEMUDriver, forwarded_port
from tzml_lab.emulation.connection import Connection
from tzml_lab.failures import FailureClass, TargetError
from tzml_lab.processes import WITH_PARENT, free_port
from tzml_lab.time_limits import scaled

_FORWARDED = re.compile(r"(hostfwd=tcp:[^:]*):\d+-")
_MEMORY = "memory"


@dataclass(frozen=True)
class FrozenMachine:
    """A machine as it was at one moment: `folder` has what it was made of, `command` starts QEMU with it."""

    folder: Path
    command: tuple[str, ...]


def freeze(machine: TrustZoneQEMUDriver, folder: Path) -> FrozenMachine:
    """Keep what the machine is now. It stands still meanwhile, and goes on afterwards. Raises TargetError."""
    folder.mkdir(parents=True)
    command = machine.get_qemu_base_args()
    machine.monitor_command("stop")
    try:
        stream = shlex.quote(str(folder / _MEMORY))
        machine.monitor_command("migrate", {"uri": f"exec:cat >{stream}"})
        _wait_for_stream(machine)
        for part in (machine.overlay, machine.device_flash):
            if part:
                shutil.copy(part.path, folder)
                command = [word.replace(str(part.path), str(folder / part.path.name)) for word in command]
    finally:
        machine.monitor_command("cont")
    return FrozenMachine(folder, tuple(_FORWARDED.sub(r"\1:0-", word) for word in command))


def _wait_for_stream(machine: TrustZoneQEMUDriver) -> None:
    deadline = time.monotonic() + scaled(300)
    while time.monotonic() < deadline:
        status = machine.monitor_command("query-migrate").get("status")
        if status == "completed":
            return
        if status in ("failed", "cancelled"):
            raise TargetError(FailureClass.infrastructure, f"QEMU cannot freeze the machine: migration {status}")
        time.sleep(0.1)
    raise TargetError(FailureClass.infrastructure, "QEMU has not frozen the machine in time")


@dataclass
class MachineCopy:
    """A machine that goes on where another one was frozen; `port` of this host leads to its SSH server."""

    process: subprocess.Popen[bytes]
    folder: Path
    port: int = field(default=0)

    @property
    def cpu_seconds(self) -> float:
        """What QEMU's process has had of this host's processors, in user and kernel mode."""
        return cpu_seconds(self.process.pid)

    @contextlib.contextmanager
    def forward(self, there: int, key: str | Path, here: int = 0) -> Iterator[int]:
        """A port of this host, `here` or a free one, that leads to one of the machine's, over SSH with this key."""
        connection = Connection("root", "127.0.0.1", self.port, str(key), str(self.folder / "known_hosts"))
        here = here or free_port()
        tunnel = subprocess.Popen([*WITH_PARENT, *connection.forward(here, there)], stdin=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + scaled(60)
            while not _answers(here):
                if tunnel.poll() is not None or time.monotonic() > deadline:
                    raise TargetError(FailureClass.infrastructure, "the copy's SSH server cannot be reached")
                time.sleep(0.1)
            yield here
        finally:
            tunnel.terminate()
            tunnel.wait()


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def cpu_seconds(process: int) -> float:
    """Seconds that all threads of a process have had of this host's processors, in user and kernel mode."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def copy(frozen: FrozenMachine, folder: Path) -> Iterator[MachineCopy]:
    """A copy of the machine that runs as long as the context lasts, with files in `folder`. Raises TargetError."""
    folder.mkdir(parents=True)
    command = list(frozen.command)
    for path in frozen.folder.iterdir():
        if path.name != _MEMORY:
            shutil.copy(path, folder)
            command = [word.replace(str(path), str(folder / path.name)) for word in command]
    stream = shlex.quote(str(frozen.folder / _MEMORY))
    command += ["-S", "-qmp", "stdio", "-incoming", f"exec:cat {stream}"]
    for console in ("normal", "secure"):
        command += ["-chardev", f"file,id={console},path={folder / console}.log", "-serial", f"chardev:{console}"]
    with (folder / "stderr").open("wb") as stderr:
        process = subprocess.Popen(
            [*WITH_PARENT, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr
        )
    try:
        made = MachineCopy(process, folder)
        made.port = _go_on(QMPMonitor(process.stdout, process.stdin))
        yield made
    except (QMPError, ValueError) as error:
        said = (folder / "stderr").read_text(errors="replace").strip() or error
        raise TargetError(FailureClass.infrastructure, f"a copy of the machine does not go on: {said}") from error
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            assert pipe
            pipe.close()


def _go_on(monitor: QMPMonitor) -> int:
    """Wait until the machine is read, let it go on, and return the port that leads to SSH. Raises QMPError."""
    deadline = time.monotonic() + scaled(300)
    while monitor.execute("query-status")["status"] == "inmigrate":
        if time.monotonic() > deadline:
            raise QMPError("it is not read in time")
        time.sleep(0.1)
    monitor.execute("cont")
    answer = monitor.execute(*USER_NETWORK)
    port = forwarded_port(answer)
    if not port:
        raise QMPError(f"QEMU forwards no port: {answer}")
    return port
