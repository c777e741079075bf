"""The image boots: every stage is seen, Linux is healthy, both worlds answer."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

import pytest
from labgrid import Target

from tzml.boards import find_board
from tzml_lab.consoles.record import ConsoleRecord
from tzml_lab.environment import image_of
from tzml_lab.target import Shell, commands_of, files_of
from tzml_lab.time_limits import scaled


def test_stages_come_in_order(shell: Shell, target: Target, record: ConsoleRecord) -> None:
    reached = record.progress.reached
    image = image_of(target.env.config).description
    others = {"systemd"} - {image.features.init}
    assert list(reached) == [stage for stage in find_board(image.machine).boot_stages if stage not in others]
    assert list(reached.values()) == sorted(reached.values())


def test_linux_is_arm64(shell: Shell) -> None:
    assert shell.run_check("uname -m") == ["aarch64"]


@pytest.mark.lg_feature("systemd")
def test_systemd_has_started_everything(shell: Shell) -> None:
    shell.run("systemctl is-system-running --wait", timeout=scaled(60))
    assert shell.run_check("systemctl list-units --failed --plain --no-legend | cat") == []


def test_linux_finds_optee(tee: Shell) -> None:
    assert tee.run_check("ls -1 /dev/tee0 /dev/teepriv0") == ["/dev/tee0", "/dev/teepriv0"]
    (revision,) = tee.run_check(
        "cat /sys/class/tee/tee0/revision 2>/dev/null || dmesg | grep -o 'optee: revision.*'"
    )
    assert revision


@pytest.mark.lg_feature("secure-console")
def test_secure_world_says_its_version(tee: Shell, target: Target, record: ConsoleRecord) -> None:
    console = target.get_driver("SecureConsoleDriver")
    _, _, match, _ = console.expect(rb"OP-TEE version: (\S+)", timeout=5)
    assert match[1]
    assert "Primary CPU switching to normal world boot" in console.text()


@pytest.mark.lg_feature("secure-console")
def test_random_numbers_come_from_where_image_json_says(tee: Shell, target: Target) -> None:
    said = target.get_driver("SecureConsoleDriver").text()
    source = image_of(target.env.config).description.entropy
    assert ("Random numbers are seeded from:" in said) == (source != "none")
    assert source == "none" or f"Random numbers are seeded from: {source}" in said


def test_files_travel(tee: Shell, target: Target, tmp_path: Path) -> None:
    """Files are copied over SSH if there is a network, and over the serial line otherwise."""
    files, command = files_of(target), commands_of(target)
    there, back = tmp_path / "there", tmp_path / "back"
    there.mkdir()
    data = {"empty": b"", "all": bytes(range(256)) * 16, "random": random.Random(1).randbytes(40_000)}
    for name, content in data.items():
        (there / name).write_bytes(content)
    command.run_check("rm -rf /tmp/travels")
    files.put(str(there), "/tmp/travels")
    said = command.run_check("cd /tmp/travels && sha256sum *")
    assert {name: digest for digest, name in map(str.split, said)} == {
        name: hashlib.sha256(content).hexdigest() for name, content in data.items()
    }
    files.get("/tmp/travels/random", str(back))
    assert back.read_bytes() == data["random"]
