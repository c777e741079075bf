"""A deploy folder with small files, for tests that need an image.json but boot no real machine."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from labgrid import Environment, Target

from tzml_lab import environment as environments
from tzml_lab.boards.flashing import BoardImage
from tzml_lab.drivers.strategy import TrustZoneStrategy
from tzml_lab.environment import ROOT, EnvironmentFile
from tzml_lab.standin.process import StandIn, stand_in_for
from tzml_lab.target import Shell

FILES = {
    "firmware": "firmware.bin",
    "kernel": "Image",
    "initrd": "initramfs.cpio",
    "rootfs": "rootfs.ext4",
    "ssh-key": "ssh_ed25519",
}
DESCRIPTION = {
    "format": 1,
    "machine": "qemu",
    "feed": "debian",
    "image": "tzml-image",
    "kernel_release": "6.12.0-arm64",
    "kernel_arguments": "console=ttyAMA0,115200 root=/dev/vda rw",
    "consoles": [{"world": "normal", "port": 0, "baud": 115200}, {"world": "secure", "port": 1, "baud": 115200}],
    "login": {
        "user": "root",
        "login_prompt": "tzml login: ",
        "prompt": "root@tzml:~# ",
        "password": None,
        "ssh_user": "root",
        "ssh_key_role": "ssh-key",
    },
    "emulator": {
        "program": "qemu-system-aarch64",
        "machine": "virt,secure=on,gic-version=3",
        "cpu": "cortex-a57",
        "cpus": 2,
        "memory_mib": 1024,
        "network_device": "virtio-net-pci",
        "disk_interface": "virtio",
        "disk_format": "raw",
    },
    "components": [
        {"name": "optee-os", "version": "4.10.0-2", "origin": "Debian"},
        {"name": "xtest", "version": "4.10.0-1", "origin": "Debian"},
    ],
    "secure_memory": {
        "tzdram_base": 235929600,
        "tzdram_size": 15728640,
        "core_size": 2097152,
        "ta_size": 13631488,
        "protected": True,
    },
}


@pytest.fixture
def deploy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A deploy folder of the machine `qemu`, where environments find it."""
    folder = tmp_path / "deploy" / "qemu"
    folder.mkdir(parents=True)
    files = []
    for role, name in FILES.items():
        data = role.encode() * 300
        (folder / name).write_bytes(data)
        files.append({"role": role, "path": name, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()})
    (folder / "image.json").write_text(json.dumps(DESCRIPTION | {"files": files}))
    monkeypatch.setenv("LG_DEPLOY", str(folder.parent))
    return folder


@pytest.fixture
def edit(deploy: Path) -> Callable[..., None]:
    """Change image.json: edit(format=2) sets a field, edit(machine=None) removes one."""

    def change(**values: Any) -> None:
        path = deploy / "image.json"
        description = json.loads(path.read_text()) | values
        path.write_text(json.dumps({key: value for key, value in description.items() if value is not None}))

    return change


def recorded(name: str) -> Path:
    """A file that was recorded in a real run."""
    return ROOT / "tests" / "lab" / "data" / name


class Bench:
    """A stand-in board with a machine that boots in no time, and labgrid's target for it."""

    def __init__(self, name: str) -> None:
        environments.set_variables()
        path = environments.find(name)
        standin = stand_in_for(EnvironmentFile.read(path))
        assert standin
        self.standin: StandIn = standin
        self.path = path
        self.environment: Environment | None = None
        self.use()

    def use(self) -> None:
        """Make everything but the board again, as a new run would."""
        self.leave()
        self.environment = Environment(str(self.path))
        self.target: Target = self.environment.get_target()
        self.strategy: TrustZoneStrategy = self.target.get_driver("TrustZoneStrategy", activate=False)
        self.shell: Shell = self.target.get_driver("ShellDriver", activate=False)

    @property
    def image(self) -> BoardImage:
        """The image that belongs on the board."""
        assert self.strategy.board_image
        return self.strategy.board_image

    def leave(self) -> None:
        if self.environment:
            self.environment.cleanup()


@pytest.fixture
def bench(
    deploy: Path, edit: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str], Bench]]:
    """Makes a bench for an environment: bench("rpi3-standin")."""
    program = str(Path(__file__).parent / "fake_machine.py")
    emulator = json.loads((deploy / "image.json").read_text())["emulator"]
    edit(emulator=emulator | {"program": program})
    (deploy.parent / "rpi3").symlink_to(deploy)
    for name in ("LG_STANDIN", "LG_STANDIN_ADDRESS", "LG_FLASH_NOTES"):
        monkeypatch.setenv(name, "")  # to be undone
    made: list[Bench] = []

    def make(name: str) -> Bench:
        made.append(Bench(name))
        return made[-1]

    yield make
    for one in made:
        one.leave()
        one.standin.stop()
