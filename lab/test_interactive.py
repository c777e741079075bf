"""`tzml boot` on a terminal, as a person uses it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pexpect
import pytest
from labgrid import Environment, Target

from tzml_lab.drivers.qemu import TrustZoneQEMUDriver
from tzml_lab.drivers.strategy import TrustZoneStrategy
from tzml_lab.time_limits import scaled

pytestmark = pytest.mark.lg_feature(["emulator", "ssh"])


@pytest.fixture
def folder(strategy: TrustZoneStrategy, tmp_path: Path) -> Path:
    strategy.transition("off")
    return tmp_path / "machine"


def tzml(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tzml", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=scaled(600))


def copies_files(scp: str, folder: Path) -> None:
    """The printed command copies FILE."""
    (folder / "sent").write_text("by scp\n")
    command = [word.replace("FILE", str(folder / "sent")) for word in scp.split()]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=scaled(60))
    assert done.returncode == 0, done.stderr


def other_terminal(env: Environment, folder: Path) -> None:
    """`tzml ssh` and `tzml cp` while the machine runs."""
    done = tzml("ssh", "--folder", folder, env.config_file, "cat", "sent;", "exit", "3")
    assert (done.returncode, done.stdout) == (3, "by scp\n"), done.stderr
    name = "rpi3" if "rpi3" in env.config_file else "qemu"
    (folder / "data").write_bytes(bytes(range(256)))
    for paths in ((folder / "data", f"{name}:/tmp/"), (f"{name}:/tmp/data", folder / "back")):
        done = tzml("cp", "--folder", folder, *paths)
        assert done.returncode == 0, done.stderr
    assert (folder / "back").read_bytes() == bytes(range(256))


def test_a_command_has_its_time(folder: Path, env: Environment) -> None:
    done = tzml("boot", env.config_file, "--folder", folder, "--command", "echo hello", "--timeout", "1")
    assert (done.returncode, done.stdout) == (124, "")
    assert f"no end after 1 s; the consoles are in {folder}" in done.stderr


@pytest.mark.full
def test_a_person_boots_logs_in_and_leaves(folder: Path, env: Environment, target: Target) -> None:
    command = ["-m", "tzml", "boot", env.config_file, "--folder", str(folder)]
    driver = target.get_driver(TrustZoneQEMUDriver, activate=False)
    terminal = pexpect.spawn(sys.executable, command, encoding="utf-8", codec_errors="replace", timeout=scaled(600))
    try:
        terminal.expect(r"OP-TEE's console: (\S+)\r")
        assert terminal.match[1] == str(folder / "console-secure.log")
        if driver.network:
            terminal.expect(r"ssh: +(ssh [^\r]*)")
            ssh = terminal.match[1]
            terminal.expect(r"scp: +(scp [^\r]*)")
            scp = terminal.match[1]
        terminal.expect("login: $")
        terminal.sendline("root")
        terminal.expect("root@tzml:~# $")
        terminal.sendline("echo $((6 * 7)) >kept && sync && cat kept")
        terminal.expect(r"\b42\r")
        assert b"OP-TEE version" in (folder / "console-secure.log").read_bytes()
        if driver.network:
            # it uses the build's key, and learns the host key of this disk
            said = subprocess.run(
                [*ssh.split(), "cat kept"], capture_output=True, text=True, check=False, timeout=scaled(60)
            )
            assert said.stdout == "42\n", said.stderr
            copies_files(scp, folder)
            other_terminal(env, folder)
        terminal.send("\x01x")
        terminal.expect(pexpect.EOF)
        terminal.wait()
        assert terminal.exitstatus == 0
    finally:
        terminal.close(force=True)
    done = tzml("boot", env.config_file, "--folder", folder, "--command", "cat kept; echo no >&2; exit 7")
    assert done.returncode == 7, done.stderr
    assert done.stdout.splitlines()[0] == "42"  # the same disk
    driver.image.verify()  # what it wrote is in the overlay
    assert (folder / f"{driver.rootdisk}.qcow2").stat().st_size > 1 << 20
