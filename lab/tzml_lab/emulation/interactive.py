"""An environment's QEMU machine for a person, with its console on a terminal."""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass
from pathlib import Path

from labgrid import Environment
from labgrid.exceptions import NoDriverFoundError
from labgrid.util.helper import get_free_port

from tzml.boards import boards
from tzml.errors import TzmlError
from tzml_lab.drivers.qemu import TrustZoneQEMUDriver
from tzml_lab.emulation.disk_overlay import DiskOverlay
from tzml_lab.environment import ROOT, EnvironmentFile, find, set_variables, use_folders

FOLDER = ROOT / "build" / "boot"
# The names of machines, and the environment that runs each on QEMU
MACHINES = {name: board.emulation.environment for name, board in boards().items() if board.emulation}


@dataclass(frozen=True)
class InteractiveMachine:
    """A machine that is ready to start.

    Args:
        command: QEMU's command line
        folder: where its disk is kept, with the host key that ssh learned
        secure_log: what OP-TEE says
        ssh: command line that leads into the machine, if it has a network
        overlay: the disk that it writes to, kept for the next time

    """

    command: list[str]
    folder: Path
    secure_log: Path
    ssh: list[str]
    overlay: DiskOverlay | None

    def lock(self) -> None:
        """Lock this machine's disk until this process, or the QEMU that it becomes, ends.

        Raises TzmlError when it is locked already.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        os.set_inheritable(handle, True)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise TzmlError(
                f"the machine with the disk in {self.folder} runs already",
                "leave it, or give another --folder",
            ) from error

    def discard(self) -> None:
        """Forget everything that the machine ever wrote."""
        if self.overlay:
            self.overlay.discard()
        self.folder.joinpath("known_hosts").unlink(missing_ok=True)

    def prepare(self) -> None:
        """Make the disk if it does not exist. Raises TzmlError."""
        if self.overlay:
            if not self.overlay.usable():  # another image has other host keys
                self.discard()
            self.overlay.prepare()

    def run(self) -> None:
        """Replace this process with QEMU, which takes over the terminal."""
        os.execv(self.command[0], self.command)


def describe(name: str, folder: Path | None = None, *, both_consoles: bool = False) -> InteractiveMachine:
    """The machine of an environment, with the same arguments as in the tests.

    Args:
        name: one of MACHINES, or an environment
        folder: where the machine's disk is kept
        both_consoles: show what OP-TEE says on the terminal, too

    Raises TzmlError.

    """
    set_variables()
    path = find(MACHINES.get(name, name))
    EnvironmentFile.read(path).check_syntax()
    folder = (folder or FOLDER / path.stem).resolve()
    environment = Environment(str(path))
    use_folders(environment, run_folder=None, scratch=folder)
    try:
        driver = environment.get_target().get_driver(TrustZoneQEMUDriver, activate=False)
    except NoDriverFoundError as error:
        raise TzmlError(
            f"the environment {name} has no QEMU machine", f"{' and '.join(MACHINES)} have one"
        ) from error
    if driver.network:
        driver.network.port = get_free_port()
    secure_log = folder / "console-secure.log"
    return InteractiveMachine(
        command=[*driver.get_qemu_base_args(), *driver.terminal_args(secure_log, both=both_consoles)],
        folder=folder,
        secure_log=secure_log,
        ssh=_ssh(driver, folder / "known_hosts") if driver.network else [],
        overlay=driver.overlay,
    )


def _ssh(driver: TrustZoneQEMUDriver, known_hosts: Path) -> list[str]:
    network = driver.network
    options = (f"UserKnownHostsFile={known_hosts}", "HostKeyAlias=target", "StrictHostKeyChecking=accept-new")
    command = ["ssh", "-p", str(network.port), "-i", str(driver.image.path("ssh-key"))]
    for option in options:
        command += ["-o", option]
    return [*command, f"{network.username}@{network.address}"]
