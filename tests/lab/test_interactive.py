"""`tzml boot` is the machine of the tests."""

from __future__ import annotations

import json
import re
import socket
import subprocess
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from labgrid import Environment
from programs import run_module

from tzml.errors import TzmlError
from tzml_lab import environment as environments
from tzml_lab.drivers.qemu import TrustZoneQEMUDriver
from tzml_lab.emulation.connection import find_connection
from tzml_lab.emulation.interactive import describe
from tzml_lab.failures import FailureClass
from tzml_lab.processes import free_port


def machine_of(command: list[str]) -> list[str]:
    """A command line without the parts that differ between two runs: disk, port, consoles, monitor."""
    options = iter(command)
    found = [next(options)]
    for option in options:
        if option in ("-serial", "-chardev", "-qmp"):
            next(options)
        elif option != "-S":
            found.append(
                re.sub(r"file=\S+/(rootfs\.qcow2|secure\.flash)|hostfwd=tcp:127\.0\.0\.1:\d+", "…", option)
            )
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
    assert f"file={tmp_path / 'machine' / 'secure.flash'} " in result.stdout


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("nope", "there is no environment nope; give a file, or one of"),
        ("qemu", "build it: kas build kas/qemu.yml"),
        ("rpi3", "build it: kas build kas/rpi3.yml"),
        ("hikey", "nothing emulates the HiKey"),
        ("hikey.yaml", "the environment hikey.yaml has no QEMU machine; qemu and rpi3 have one"),
        ("hikey-standin", "the environment hikey-standin has no QEMU machine; qemu and rpi3 have one"),
        ("rpi3-remote", "the environment rpi3-remote has no QEMU machine; qemu and rpi3 have one"),
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
    assert machine.flash
    assert machine.flash.path.exists()
    assert (machine.folder / "known_hosts").exists()
    machine.discard()
    assert list(machine.folder.iterdir()) == []


def test_ssh_and_scp_of_a_machine_that_runs(deploy: Path, tmp_path: Path) -> None:
    machine = describe("qemu", tmp_path / "machine", port=free_port())
    (deploy / "ssh_ed25519").chmod(0o644)
    with pytest.raises(
        TzmlError, match=r"no machine runs with the disk in .*machine; start it in another terminal: tzml boot"
    ):
        find_connection(machine.folder, "qemu")
    machine.lock()
    machine.prepare()
    found = find_connection(machine.folder, "qemu")
    assert found == machine.connection
    assert f"hostfwd=tcp:127.0.0.1:{found.port}-:22" in " ".join(machine.command)
    assert Path(found.key).stat().st_mode & 0o777 == 0o600  # ssh wants it so, whatever the image's is
    assert found.ssh("uname", "-a")[:3] == ["ssh", "-p", str(found.port)]
    assert found.ssh("uname", "-a")[-3:] == ["root@127.0.0.1", "uname", "-a"]
    assert found.scp(["a", "b"], ":/tmp/")[-4:] == ["--", "a", "b", "root@127.0.0.1:/tmp/"]
    assert [name for name, _ in found.describe()] == ["ssh", "scp"]
    assert found.describe()[1][1].endswith(" -r FILE root@127.0.0.1:")


def test_a_port_that_is_in_use(deploy: Path) -> None:
    with socket.socket() as somebody:
        somebody.bind(("127.0.0.1", 0))
        somebody.listen()
        port = str(somebody.getsockname()[1])
        result = boot("qemu", "--port", port, "--print")
    assert result.returncode == 2
    assert result.stderr == f"tzml: port {port} of this host: Address already in use; give another --port\n"


@pytest.mark.parametrize(
    ("paths", "says"),
    [
        (("a", "b"), "give paths of one machine"),
        (("qemu:a", "qemu:b"), "give paths of one machine"),
        (("qemu:a", "rpi3:b"), "give paths of one machine"),
        (("a", "qemu:b", "."), "give sources of one side"),
        (("a", "qemu:"), "no machine runs with the disk in"),
        ((":a", "."), "no machine runs with the disk in"),
    ],
)
def test_cp_needs_two_sides(tmp_path: Path, paths: tuple[str, ...], says: str) -> None:
    result = run_module("tzml", "cp", "--folder", tmp_path, *paths)
    assert result.returncode == 2
    assert says in result.stderr


def test_a_command_with_a_console_makes_no_sense(deploy: Path, tmp_path: Path) -> None:
    result = boot("qemu", "--command", "true", "--secure-console", "--folder", str(tmp_path))
    assert result.returncode == 2
    assert "both consoles are in log files" in result.stderr


def test_a_machine_that_does_not_boot_has_the_exit_code_of_its_class(
    deploy: Path, edit: Callable[..., None], tmp_path: Path
) -> None:
    program = tmp_path / "qemu"
    program.write_text(
        "#!/bin/sh\n[ $1 = -version ] && echo QEMU 7.2.0 && exit\necho no such machine >&2\nexit 1\n"
    )
    program.chmod(0o755)
    edit(emulator=json.loads((deploy / "image.json").read_text())["emulator"] | {"program": str(program)})
    result = boot("qemu", "--command", "true", "--folder", str(tmp_path / "machine"))
    assert result.returncode == FailureClass.infrastructure.value
    assert (
        "infrastructure failure: on the way to state booted: QEMU did not start: no such machine" in result.stderr
    )
    assert "Traceback" not in result.stderr
