"""An environment's QEMU machine for a person, with its console on a terminal."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labgrid import Environment
from labgrid.exceptions import NoDriverFoundError

from tzml.boards import boards
from tzml.errors import TzmlError
from tzml_lab.drivers.qemu import TrustZoneQEMUDriver
from tzml_lab.emulation.connection import Connection, copy_key, lock
from tzml_lab.emulation.disk_overlay import DiskOverlay
from tzml_lab.emulation.secure_flash import SecureFlash
from tzml_lab.environment import ROOT, EnvironmentFile, find, fit_to_image, main_target, set_variables, use_folders
from tzml_lab.processes import free_port

FOLDER = ROOT / "build" / "boot"
# The names of machines, and the environment that runs each on QEMU
MACHINES = {name: board.emulation.environment for name, board in boards().items() if board.emulation}


# Drivers whose machine is QEMU's
_EMULATORS = {"TrustZoneQEMUDriver", "EmulatedRaspberryPiDriver"}


@dataclass(frozen=True)
class InteractiveMachine:
    """A machine that is ready to start.

    Args:
        command: QEMU's command line
        folder: where its disk is kept, with the host key that ssh learned
        secure_log: what OP-TEE says
        connection: how ssh reaches it, if it has a network
        key: the image's private key
        overlay: the disk that it writes to, kept for the next time
        flash: with the firmware and the device's own key and counter, kept as long as the disk

    """

    command: list[str]
    folder: Path
    secure_log: Path
    connection: Connection | None
    key: Path | None
    overlay: DiskOverlay | None
    flash: SecureFlash | None

    def lock(self) -> None:
        """Lock this machine's disk until this process, or the QEMU that it becomes, ends.

        Raises TzmlError when it is locked already.
        """
        lock(self.folder)

    def discard(self) -> None:
        """Forget everything that the machine ever wrote."""
        if self.overlay:
            self.overlay.discard()
        if self.flash:
            self.flash.discard()
        for name in ("known_hosts", "ssh_key", "connection.json"):
            self.folder.joinpath(name).unlink(missing_ok=True)

    def prepare(self) -> None:
        """Make disk and flash if they do not exist. Raises TzmlError."""
        if self.overlay:
            if not self.overlay.usable():  # another image has other host keys
                self.discard()
            self.overlay.prepare()
        if self.flash:
            self.flash.prepare()
        if self.connection and self.key:
            copy_key(self.key, Path(self.connection.key))
            self.connection.write(self.folder)

    def run(self, seconds: float | None = None) -> None:
        """Replace this process with QEMU, which takes over the terminal, for that long at most."""
        command = self.command
        if seconds:
            command = ["timeout", "--foreground", str(seconds), *command]
        os.execvp(command[0], command)


def machine_folder(path: Path, folder: Path | None) -> Path:
    """The folder of an environment's machine: the given one, or that in build/boot."""
    return (folder or FOLDER / path.stem).resolve()


def find_machine(name: str) -> Path:
    """The environment of a machine that QEMU emulates.

    Args:
        name: one of MACHINES, or an environment

    Raises TzmlError.

    """
    set_variables()
    board = boards().get(name)
    if board and not board.emulation:
        raise TzmlError(f"nothing emulates the {board.title}", f"{' and '.join(MACHINES)} can be booted here")
    path = find(MACHINES.get(name, name))
    targets = EnvironmentFile.read(path).data.get("targets") or {}
    drivers = {name for target in targets.values() for name in driver_names(target)}
    if drivers and drivers.isdisjoint(_EMULATORS):
        raise TzmlError(f"the environment {name} has no QEMU machine", f"{' and '.join(MACHINES)} have one")
    return path


def driver_names(target: dict[str, Any]) -> list[str]:
    """The classes of a target's drivers. labgrid takes a list of mappings, or one mapping."""
    drivers = target.get("drivers") or []
    return [name for entry in (drivers if isinstance(drivers, list) else [drivers]) for name in entry]


def describe(
    name: str, folder: Path | None = None, *, both_consoles: bool = False, port: int | None = None
) -> InteractiveMachine:
    """The machine of an environment, with the same arguments as in the tests.

    Args:
        name: one of MACHINES, or an environment
        folder: where the machine's disk is kept
        both_consoles: show what OP-TEE says on the terminal, too
        port: on this host, that leads to the machine's SSH; None: any that is free

    Raises TzmlError.

    """
    path = find_machine(name)
    EnvironmentFile.read(path).check_syntax()
    folder = machine_folder(path, folder)
    environment = Environment(str(path))
    fit_to_image(environment)
    use_folders(environment, run_folder=None, scratch=folder)
    try:
        driver = main_target(environment).get_driver(TrustZoneQEMUDriver, activate=False)
    except NoDriverFoundError as error:
        raise TzmlError(
            f"the environment {name} has no QEMU machine", f"{' and '.join(MACHINES)} have one"
        ) from error
    if driver.network:
        driver.network.port = check_port(port) if port else free_port()
    elif port:
        raise TzmlError(f"the machine {name} has no network, so nothing can lead to its SSH", "leave out --port")
    secure_log = folder / "console-secure.log"
    return InteractiveMachine(
        command=[*driver.get_qemu_base_args(), *driver.terminal_args(secure_log, both=both_consoles)],
        folder=folder,
        secure_log=secure_log,
        connection=_connection(driver, folder) if driver.network else None,
        key=driver.image.path("ssh-key") if driver.network else None,
        overlay=driver.overlay,
        flash=driver.device_flash,
    )


def _connection(driver: TrustZoneQEMUDriver, folder: Path) -> Connection:
    network = driver.network
    key, hosts = folder / "ssh_key", folder / "known_hosts"
    return Connection(network.username, network.address, network.port, str(key), str(hosts))


def check_port(port: int) -> int:
    """A port of this host that nobody uses. Raises TzmlError if somebody does."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise TzmlError(f"port {port} of this host: {error.strerror}", "give another --port") from error
    return port
