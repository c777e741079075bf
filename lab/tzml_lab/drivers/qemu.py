"""labgrid's QEMU driver, extended for a machine with two worlds."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import tempfile
import time
from functools import cached_property
from pathlib import Path
from typing import Any

import attr
from labgrid import step, target_factory
from labgrid.resource import NetworkService
from labgrid.util.qmp import QMPError, QMPMonitor

from tzml.errors import TzmlError
from tzml.image import Emulator, Image
from tzml_lab.consoles.lines import Speaker
from tzml_lab.consoles.pumps import ConsolePump
from tzml_lab.consoles.record import ConsoleRecord
from tzml_lab.emulation.disk_overlay import DiskOverlay
from tzml_lab.emulation.secure_flash import SecureFlash
from tzml_lab.environment import image_of, run_folder
from tzml_lab.failures import FailureClass, TargetError, fault_of, take_or_fail
from tzml_lab.labgrid_internals import QEMUBase
from tzml_lab.processes import WITH_PARENT
from tzml_lab.time_limits import scaled

USER_NETWORK = ("human-monitor-command", {"command-line": "info usernet"})
"""The monitor's command whose answer forwarded_port() reads."""

_OPTIONAL_STRING = attr.validators.optional(attr.validators.instance_of(str))


def forwarded_port(answer: str) -> int | None:
    """The port of this host that QEMU forwards to the machine, from its answer to USER_NETWORK."""
    found = re.search(r"TCP\[HOST_FORWARD\]\s+\d+\s+\S+\s+(\d+)", answer)
    return int(found[1]) if found else None


@target_factory.reg_driver
@attr.s(eq=False)
class TrustZoneQEMUDriver(QEMUBase):
    """A QEMU machine with two worlds, booted from the image in the environment's path `deploy`.

    This driver is the console on the machine's first serial port, which is Linux's. SecureConsoleDriver is the
    console on the second one, which is OP-TEE's. A thread reads both all the time into `record`. QEMU ends with the
    process that started it, for whatever reason that ends. The environment's images are the files of image.json by
    role, and the kernel's arguments come from there, too.

    A bound NetworkService leads to the guest's SSH port. If its port is 0, a free one is set at power-on.

    Args:
        qemu_bin (str): optional, reference to the tools key for the QEMU binary
        machine (str): optional, QEMU machine type
        cpu (str): optional, QEMU CPU type
        memory (str): optional, QEMU memory size (ends with M or G); image.json tells what is not given here
        initrd (str): optional, reference to the images key of the initial RAM disk
        rootdisk (str): optional, reference to the images key of the raw root disk; the machine writes to an
            overlay that survives power cycles, never to the disk itself
        secure_flash (str): optional, reference to the images key of the firmware, which starts from a flash that
            survives power cycles as long as the overlay does: both together are one device

    See QEMUDriver for the others. `disk`, `nic` and `boot_args` are not allowed.

    """

    bindings = {"network": {NetworkService, None}}  # noqa: RUF012 (how labgrid declares them)

    qemu_bin: str | None = attr.ib(default=None, validator=_OPTIONAL_STRING)
    machine: str | None = attr.ib(default=None, validator=_OPTIONAL_STRING)
    cpu: str | None = attr.ib(default=None, validator=_OPTIONAL_STRING)
    memory: str | None = attr.ib(default=None, validator=_OPTIONAL_STRING)
    initrd: str | None = attr.ib(default=None, validator=_OPTIONAL_STRING)
    rootdisk: str | None = attr.ib(default=None, validator=_OPTIONAL_STRING)
    secure_flash: str | None = attr.ib(default=None, validator=_OPTIONAL_STRING)

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self.status: int
        if self.disk or self.nic or self.boot_args:
            raise ValueError("TrustZoneQEMUDriver takes rootdisk, a NetworkService and image.json instead of "
                             "disk, nic and boot_args")  # fmt: skip
        self._listeners: dict[Speaker, socket.socket] = {}
        self._consoles: dict[Speaker, socket.socket] = {}
        self._pump: ConsolePump | None = None
        self._chose_port = False

    @cached_property
    def image(self) -> Image:
        """The image that is booted. Raises TzmlError."""
        return image_of(self._config)

    @cached_property
    def record(self) -> ConsoleRecord:
        """The record of the consoles, also written to the folder in the option `run_folder` if there is one."""
        return ConsoleRecord(run_folder(self._config))

    @cached_property
    def scratch(self) -> Path:
        """Where the overlay is: the option `scratch_folder`, or a temporary folder of this driver."""
        folder = self._config.data.get("options", {}).get("scratch_folder")
        if folder:
            return Path(folder)
        self._own_scratch = tempfile.TemporaryDirectory(prefix="tzml-lab-")
        return Path(self._own_scratch.name)

    @property
    def _config(self) -> Any:
        return self.target.env.config

    @property
    def emulator(self) -> Emulator:
        """The machine that the image was built for. Raises TzmlError."""
        found = self.image.description.emulator
        if not found:
            raise TzmlError(f"the image in {self.image.folder} is for a board, not for QEMU")
        return found

    @property
    def qemu(self) -> str:
        """Path of the QEMU binary. Raises TzmlError."""
        name: str = self._config.get_tool(self.qemu_bin or self.emulator.program)
        found = shutil.which(name)
        if not found:
            raise TzmlError(f"{name} is not installed", "sudo apt-get install qemu-system-arm qemu-utils")
        return found

    @property
    def overlay(self) -> DiskOverlay | None:
        """The disk that the machine writes to."""
        if not self.rootdisk:
            return None
        disk = self.image.path(self.rootdisk)
        return DiskOverlay(self.scratch / f"{self.rootdisk}.qcow2", disk, self.image.sha256(self.rootdisk))

    @property
    def device_flash(self) -> SecureFlash | None:
        """The flash with the firmware and the device's own key and counter."""
        if not self.secure_flash:
            return None
        return SecureFlash(self.scratch / "secure.flash", self.image.path(self.secure_flash))

    def prepare_device(self) -> None:
        """Make disk and flash if they are missing. With another disk it is another device. Raises TzmlError."""
        if self.overlay:
            if self.device_flash and not self.overlay.usable():
                self.device_flash.discard()
            self.overlay.prepare()
        if self.device_flash:
            self.device_flash.prepare()

    @property
    def pid(self) -> int:
        """QEMU's process."""
        self._require_power()
        assert self.process
        return self.process.pid

    def check(self) -> None:
        """Check that QEMU is installed and the image is the one that was built. Raises TzmlError."""
        assert self.qemu
        self.image.verify()

    def context(self) -> dict[str, str]:
        """What the times on this machine depend on."""
        return {"qemu": ".".join(map(str, self.get_qemu_version(self.qemu)))}

    def get_qemu_base_args(self) -> list[str]:
        """QEMU's command line without consoles and monitor, also for `tzml boot`. Raises TzmlError."""
        emulator = self.emulator
        self.qemu_bin = self.qemu
        self.machine = self.machine or emulator.machine
        self.cpu = self.cpu or emulator.cpu
        self.memory = self.memory or f"{emulator.memory_mib}M"
        self.boot_args = self.image.description.kernel_arguments
        command: list[str] = super().get_qemu_base_args()
        command += ["-smp", str(emulator.cpus)]
        if self.initrd:
            command += ["-initrd", self._config.get_image_path(self.initrd)]
        if self.device_flash:
            command += self.device_flash.arguments
        if self.overlay:
            command += ["-drive", f"if={emulator.disk_interface},format=qcow2,file={self.overlay.path}"]
        if self.network:
            forward = f"hostfwd=tcp:{self.network.address}:{self.network.port}-:22"
            device = f"{emulator.network_device},netdev=net"
            if emulator.network_device.endswith("-pci"):
                device += ",romfile="  # otherwise QEMU needs a ROM from a package that nothing else needs
            command += ["-netdev", f"user,id=net,{forward}", "-device", device]
        else:
            command += ["-nic", "none"]
        return command

    def terminal_args(self, secure_log: Path, *, both: bool) -> list[str]:
        """QEMU's arguments for consoles and monitor on a terminal, with OP-TEE's console if `both`."""
        secure = f"file,id=secure,path={secure_log}"
        if both:  # it is output only: the keyboard stays with Linux
            secure = f"file,id=secure,path=/dev/stderr,append=on,logfile={secure_log}"
        return ["-serial", "mon:stdio", "-chardev", secure, "-serial", "chardev:secure"]

    def on_activate(self) -> None:
        super().on_activate()  # its command line ends with the first serial port
        self._add_consoles()

    def _add_consoles(self) -> None:
        """The second serial port."""
        self._listeners = {Speaker.normal: self.listener, Speaker.secure: socket.socket(socket.AF_UNIX)}
        path = self.folder / "secure"
        self._listeners[Speaker.secure].bind(str(path))
        self._listeners[Speaker.secure].listen(0)
        self.command.extend(("-chardev", f"socket,id=secure,path={path}", "-serial", "chardev:secure"))

    def on_deactivate(self) -> None:
        super().on_deactivate()
        for listener in self._listeners.values():
            listener.close()

    @step()
    def on(self) -> None:
        """Start QEMU with the machine halted, connect its consoles, then let the machine run."""
        if self.status:
            return
        self.prepare_device()
        with (self.folder / "stderr").open("wb") as stderr:
            self.process = subprocess.Popen(
                [*WITH_PARENT, *self.command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr
            )
        self.status = 1
        try:
            self._consoles = {speaker: self._accept(listener) for speaker, listener in self._listeners.items()}
            self.qmp = QMPMonitor(self.process.stdout, self.process.stdin)
            self._find_ssh_port()
            self.record.power_on()
            self._pump = ConsolePump(self._consoles, self.record, self.process)
            self._pump.start()
            self.monitor_command("cont")
        except BaseException:
            self.off()
            raise

    def _accept(self, listener: socket.socket) -> socket.socket:
        """Accept QEMU's connection. Unlike labgrid's accept(), this ends when QEMU does."""
        assert self.process
        deadline = time.monotonic() + scaled(30)
        listener.settimeout(0.1)
        while self.process.poll() is None and time.monotonic() < deadline:
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                continue
            connection.settimeout(scaled(30))
            return connection
        said = (self.folder / "stderr").read_text(errors="replace").strip().splitlines()
        raise TargetError(FailureClass.infrastructure, f"QEMU did not start: {said[-1] if said else 'no message'}")

    def _find_ssh_port(self) -> None:
        """Set the NetworkService's port to the one that the system chose."""
        if not self.network or self.network.port:
            return
        answer = self.monitor_command(*USER_NETWORK)
        port = forwarded_port(answer)
        if not port:
            raise TargetError(FailureClass.infrastructure, f"QEMU forwards no port: {answer}")
        self.network.port, self._chose_port = port, True

    @step()
    def off(self) -> None:
        """End QEMU as a power switch would, even if it hangs or is gone already."""
        if not self.status:
            return
        if self._pump:
            self._pump.stop()
        self._end_process()
        self.status = 0
        if self._pump:
            self._pump.join()
            self._pump = None
        for connection in self._consoles.values():
            connection.close()
        self._consoles = {}
        self.record.close()
        if self._chose_port:
            self.network.port, self._chose_port = 0, False

    def _end_process(self) -> None:
        assert self.process
        self.process.terminate()
        try:
            self.process.wait(timeout=scaled(5))
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe
            pipe.close()
        self.process = None

    @step(result=True, args=["command", "arguments"])
    def monitor_command(self, command: str, arguments: dict[str, Any] | None = None) -> Any:
        """Run a QMP command."""
        try:
            return super().monitor_command(command, arguments or {})
        except (QMPError, OSError) as error:
            failure = TargetError(FailureClass.infrastructure, f"QEMU's monitor: {error}", record=self.record)
            raise fault_of(self.record) or failure from error

    def read_console(self, speaker: Speaker, limit: int, timeout: float) -> bytes:
        """Bytes of that console. Raises pexpect's TIMEOUT, or TargetError when the machine cannot go on."""
        self._require_power()
        return take_or_fail(self.record, speaker, limit, timeout)

    def resolve_conflicts(self, client: Any) -> None:
        """Only one client at a time may talk to Linux. A client that only listens to OP-TEE does not conflict."""
        if not getattr(client, "listens_only", False):
            for other in self.clients:
                if other is not client and not getattr(other, "listens_only", False):
                    self.target.deactivate(other)

    def _require_power(self) -> None:
        if not self.status:
            raise TargetError(FailureClass.infrastructure, "QEMU does not run: power it on first")

    def receive(self, limit: int, timeout: float) -> bytes:
        """Bytes of Linux's console. Raises pexpect's TIMEOUT, or TargetError when the machine cannot go on."""
        return self.read_console(Speaker.normal, limit, timeout)

    def transmit(self, data: bytes) -> int:
        """Send bytes to Linux's console. Raises TargetError."""
        self._require_power()
        try:
            self._consoles[Speaker.normal].sendall(data)
        except OSError as error:
            what = f"QEMU takes no input: {error}"
            failure = TargetError(FailureClass.infrastructure, what, record=self.record)
            raise fault_of(self.record) or failure from error
        return len(data)
