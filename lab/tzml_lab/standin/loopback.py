"""A shared lab on this host: labgrid's coordinator, an exporter with a stand-in board, and sshd.

All are the real programs. They use the stand-in's own address in 127.0.0.0/8, and end with this process.
"""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from tzml.errors import TzmlError
from tzml_lab.processes import WITH_PARENT
from tzml_lab.standin.process import StandIn
from tzml_lab.time_limits import scaled

_SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
_SER2NET = shutil.which("ser2net", path=f"{os.environ.get('PATH', '')}:/usr/sbin")

# In this file "#" begins a Jinja statement; a comment is "##".
_EXPORTER = """\
board:
  RawSerialPort: {{port: '{tty}', speed: 115200}}
  NetworkPowerPort: {{model: simplerest, host: 'http://{address}:9101/relay/{{index}}/{{value}}', index: 1}}
"""
_MUX = """\
  NetworkUSBSDMuxDevice:
    {{host: '{address}', busnum: 1, devnum: 1, path: '{folder}/card', control_path: '{folder}/sdmux',
     vendor_id: 0x0424, model_id: 0x4041}}
"""
_FASTBOOT = """\
  AndroidNetFastboot: {{address: '{address}', port: 5554, protocol: tcp}}
"""
_SSHD_CONFIG = """\
ListenAddress {address}
Port 2222
HostKey {folder}/ssh/host
AuthorizedKeysFile {folder}/ssh/user.pub
PidFile none
StrictModes no
UsePAM no
SetEnv PATH={path}
"""
_SSH_CONFIG = """\
Host *
  Port 2222
  User {user}
  IdentityFile {folder}/ssh/user
  IdentitiesOnly yes
  UserKnownHostsFile {folder}/ssh/known_hosts
"""


def missing() -> str:
    """The command that installs what this host lacks, or an empty string."""
    found = {"openssh-server": _SSHD, "ser2net": _SER2NET, "rsync": shutil.which("rsync")}
    packages = [package for package, program in found.items() if not program]
    return f"sudo apt-get install {' '.join(packages)}" if packages else ""


class LoopbackLab:
    """Coordinator and exporter of one board, whose place is `<board>-1` with the tag `board=<board>`."""

    def __init__(self, standin: StandIn) -> None:
        self.standin = standin
        self.place = f"{standin.board.name}-1"
        self.coordinator_address = f"{standin.address}:20408"
        self._folder = standin.folder
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._make_ssh()

    @property
    def variables(self) -> dict[str, str]:
        """Environment variables that make programs use this lab."""
        path = f"{self._folder}/bin:{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin"
        return {"LG_COORDINATOR": self.coordinator_address, "PATH": path}

    def start(self) -> None:
        """Start everything, and make the place. Raises TzmlError."""
        self.start_coordinator()
        self.start_exporter()
        if self.place not in self.client("places"):
            self.client("-p", self.place, "create")
            self.client("-p", self.place, "set-tags", f"board={self.standin.board.name}")
            self.client("-p", self.place, "add-match", "*/board/*")
        self._run("sshd", [str(_SSHD), "-D", "-e", "-f", str(self._folder / "ssh" / "sshd_config")])

    def start_coordinator(self) -> None:
        """Start the coordinator, which keeps its places in its working directory."""
        self._run("coordinator", ["labgrid-coordinator", "-l", self.coordinator_address])
        self._await("the coordinator", lambda: self.client("places") is not None)

    def start_exporter(self) -> None:
        """Export the board."""
        exported = _EXPORTER + (_FASTBOOT if self.standin.board.flashing == "fastboot" else _MUX)
        tty = (self._folder / "tty").readlink()
        config = self._folder / "exporter.yaml"
        config.write_text(exported.format(tty=tty, address=self.standin.address, folder=self._folder))
        command = [
            "labgrid-exporter",
            "-c",
            self.coordinator_address,
            "-n",
            "desk",
            "--hostname",
            self.standin.address,
        ]
        self._run("exporter", [*command, str(config)])
        self._await("the exporter", lambda: "NetworkSerialPort" in self.client("resources"))

    def client(self, *arguments: str, **variables: str) -> str:
        """labgrid-client's answer. Raises CalledProcessError."""
        return subprocess.run(
            ["labgrid-client", *arguments], env=os.environ | self.variables | variables,
            check=True, capture_output=True, text=True, timeout=scaled(30),
        ).stdout  # fmt: skip

    def end(self, name: str) -> None:
        """Kill "coordinator", "exporter" or "sshd" with its child processes, as systemd does."""
        process = self._processes.pop(name)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def stop(self) -> None:
        """End everything."""
        for name in list(self._processes):
            self.end(name)

    def _run(self, name: str, command: list[str]) -> None:
        """Start a program that ends with this one."""
        with (self._folder / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                [*WITH_PARENT, *command], cwd=self._folder,
                env=os.environ | self.variables, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    def _await(self, what: str, ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + scaled(30)
        while True:
            try:
                if ready():
                    return
            except subprocess.CalledProcessError:
                pass
            if time.monotonic() > deadline:
                raise TzmlError(f"{what} does not start: see {self._folder}/*.log")
            time.sleep(0.2)

    def _make_ssh(self) -> None:
        """Make keys and settings for this lab only. The user's are not touched."""
        folder = self._folder / "ssh"
        folder.mkdir()
        for name in ("host", "user"):
            command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
            subprocess.run(command, check=True)
        values: Mapping[str, str] = {
            "address": self.standin.address,
            "folder": str(self._folder),
            "user": getpass.getuser(),
            "path": self.variables["PATH"],
        }
        (folder / "sshd_config").write_text(_SSHD_CONFIG.format(**values))
        (folder / "ssh_config").write_text(_SSH_CONFIG.format(**values))
        key = (folder / "host.pub").read_text()
        (folder / "known_hosts").write_text(f"[{self.standin.address}]:2222 {key}")
        wrapper = self._folder / "bin" / "ssh"
        wrapper.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {folder}/ssh_config "$@"\n')
        wrapper.chmod(0o755)
        if os.getuid() == 0:  # where sshd shuts itself in
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
