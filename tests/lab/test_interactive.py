"""`tzml boot` is the machine of the tests."""

from __future__ import annotations

import re
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest
from labgrid import Environment
from programs import run_module

from tzml.errors import TzmlError
from tzml_lab import environment as environments
from tzml_lab.drivers.qemu import TrustZoneQEMUDriver
from tzml_lab.emulation.interactive import describe


def machine_of(command: list[str]) -> list[str]:
    """A command line without the parts that differ between two runs: disk, port, consoles, monitor."""
    options = iter(command)
    found = [next(options)]
    for option in options:
        if option in ("-serial", "-chardev", "-qmp"):
            next(options)
        elif option != "-S":
            found.append(re.sub(r"file=\S+/rootfs\.qcow2|hostfwd=tcp:127\.0\.0\.1:\d+", "…", option))
    return found


@pytest.fixture
def of_the_tests(deploy: Path) -> list[str]:
    """The command line of TrustZoneQEMUDriver."""
    environment = Environment(str(environments.find("qemu")))
    driver = environment.get_target().get_driver(TrustZoneQEMUDriver)
    command: list[str] = list(driver.command)
    environment.cleanup()
    return command


@pytest.mark.parametrize("both", [False, True])
def test_same_arguments_as_the_tests(of_the_tests: list[str], tmp_path: Path, both: bool) -> None:
    command = describe("qemu", tmp_path, both_consoles=both).command
    assert machine_of(command) == machine_of(of_the_tests)
    # and the comparison would see a difference
    assert machine_of(command) != machine_of([*of_the_tests, "-no-reboot"])
    assert machine_of(of_the_tests).count("-append") == 1


def test_the_machine_is_what_image_json_says(of_the_tests: list[str], deploy: Path) -> None:
    pairs = set(pairwise(of_the_tests))
    assert pairs >= {
        ("-machine", "virt,secure=on,gic-version=3"),
        ("-cpu", "cortex-a57"),
        ("-smp", "2"),
        ("-m", "1024M"),
        ("-bios", str(deploy / "firmware.bin")),
        ("-kernel", str(deploy / "Image")),
        ("-initrd", str(deploy / "initramfs.cpio")),
        ("-append", "console=ttyAMA0,115200 root=/dev/vda rw"),
    }
    assert str(deploy / "rootfs.ext4") not in " ".join(of_the_tests)  # only through the overlay


def boot(*arguments: str) -> subprocess.CompletedProcess[str]:
    return run_module("tzml", "boot", *arguments)


def test_print_only_prints(deploy: Path, tmp_path: Path) -> None:
    result = boot("qemu", "--print", "--folder", str(tmp_path / "machine"))
    assert result.returncode == 0, result.stderr
    assert " -serial mon:stdio " in result.stdout
    assert len(result.stdout.splitlines()) == 1
    assert not (tmp_path / "machine").exists()


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("nope", "there is no environment nope; give a file, or one of"),
        ("qemu", "build it: kas build kas/qemu.yml"),
        ("rpi3", "build it: kas build kas/rpi3.yml"),
        ("hikey", "hikey.yaml' refers to unknown variable 'LG_HIKEY_TTY'"),
        ("hikey-standin", "refers to unknown variable 'LG_STANDIN"),
    ],
)
def test_mistakes_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, says: str) -> None:
    monkeypatch.setenv("LG_DEPLOY", str(tmp_path))
    result = boot(name, "--print")
    assert result.returncode == 2
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert says in line


def test_help_lists_the_machines() -> None:
    said = boot("--help").stdout
    assert "[qemu|rpi3]" in said
    assert "an emulated Raspberry Pi 3" in said


def test_one_machine_at_a_time(deploy: Path, tmp_path: Path) -> None:
    first, second = describe("qemu", tmp_path), describe("qemu", tmp_path)
    first.lock()
    with pytest.raises(TzmlError, match="runs already; leave it, or give another --folder"):
        second.lock()


def test_the_disk_is_kept_until_it_is_discarded(deploy: Path, tmp_path: Path) -> None:
    machine = describe("qemu", tmp_path / "machine")
    assert machine.overlay
    machine.prepare()
    (machine.folder / "known_hosts").write_text("target ssh-ed25519 AAAA\n")
    machine.prepare()
    assert machine.overlay.usable()
    assert (machine.folder / "known_hosts").exists()
    machine.discard()
    assert list(machine.folder.iterdir()) == []
