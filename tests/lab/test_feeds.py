"""An environment fits the image that is tested: what the image says it has, decides."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path, PurePosixPath

import pytest
from labgrid import Environment
from labgrid.driver import ExecutionError

from tzml.errors import TzmlError
from tzml.image import load_image
from tzml_lab import environment as environments
from tzml_lab.consoles.boot_progress import BootProgress
from tzml_lab.consoles.lines import Line, Speaker
from tzml_lab.consoles.shell_files import ShellFiles
from tzml_lab.environment import ROOT

from .test_file_transfer import PROMPT
from .test_file_transfer import Line as LocalLine

BUSYBOX = {"init": "busybox", "package_manager": None, "python": False, "ssh": False, "xtest": False}
ROLES = ("firmware", "kernel", "initrd")


def fitted(name: str) -> tuple[Environment, list[str]]:
    """An environment, and the names of its drivers."""
    environments.set_variables()
    environment = Environment(str(environments.find(name)))
    environments.fit_to_image(environment)
    drivers = environment.config.data["targets"]["main"]["drivers"]
    return environment, [driver for entry in drivers for driver in entry]


def test_of_an_image_that_says_nothing_all_is_there(deploy: Path) -> None:
    environment, drivers = fitted("qemu")
    features = environment.get_target_features()
    assert features >= {"qemu", "network", "disk", "systemd", "apt", "python", "ssh", "xtest"}
    assert "ConsoleTrustSSHDriver" in drivers


def test_what_an_image_lacks_is_left_out(deploy: Path, edit: Callable[..., None]) -> None:
    files = load_image(deploy).description.model_dump()["files"]
    edit(feed="buildroot", features=BUSYBOX, files=[file for file in files if file["role"] in ROLES])
    environment, drivers = fitted("qemu")
    assert environment.get_target_features() == {"qemu", "emulator", "secure-console", "busybox", "console-login"}
    assert "ConsoleTrustSSHDriver" not in drivers
    target = environment.get_target()
    assert target
    # commands and files go over the console, and the machine has no disk
    assert type(target.get_driver("CommandProtocol", activate=False)).__name__ == "DiagnosingShellDriver"
    assert type(target.get_driver("FileTransferProtocol", activate=False)).__name__ == "DiagnosingShellDriver"
    command = target.get_driver("TrustZoneQEMUDriver", activate=False).get_qemu_base_args()
    drives = [value for option, value in pairwise(command) if option == "-drive"]
    assert [drive for drive in drives if "if=pflash" not in drive] == []  # only flash, which is no disk
    assert command[command.index("-initrd") + 1].endswith("/initramfs.cpio")
    environment.cleanup()


def test_a_root_file_system_in_memory_is_no_disk(deploy: Path, edit: Callable[..., None]) -> None:
    """As on a card that Buildroot's image is on: what is written is gone when the machine is off."""
    edit(kernel_arguments="console=ttyAMA0,115200")
    environment, _ = fitted("qemu")
    assert "disk" not in environment.get_target_features()
    environment.cleanup()


def test_where_nobody_logs_in_on_the_console_all_goes_over_ssh(deploy: Path, edit: Callable[..., None]) -> None:
    login = {"user": None, "login_prompt": "tzml login: ", "prompt": "root@tzml:~# "}
    edit(login=login, release=True)
    environment, drivers = fitted("qemu")
    features = environment.get_target_features()
    assert "release" in features
    assert "console-login" not in features
    assert not {"ImageShellDriver", "ConsoleTrustSSHDriver"} & set(drivers)
    target = environment.get_target()
    assert target
    for protocol in ("CommandProtocol", "FileTransferProtocol"):
        assert type(target.get_driver(protocol, activate=False)).__name__ == "FirstUseSSHDriver"
    assert target.get_driver("TrustZoneStrategy", activate=False).shell is None
    environment.cleanup()


def test_an_image_that_lets_nobody_in_is_refused(deploy: Path, edit: Callable[..., None]) -> None:
    edit(login={"user": None, "login_prompt": "", "prompt": ""}, features=BUSYBOX)
    with pytest.raises(TzmlError, match="lets nobody in"):
        fitted("qemu")


def test_a_greeting_is_not_systemd() -> None:
    progress = BootProgress()
    for text in ("Welcome to Buildroot", "Welcome to tzml", "tzml login:"):
        progress.see(Line(1.0, Speaker.normal, text))
    assert list(progress.reached) == ["login"]
    progress.see(Line(2.0, Speaker.normal, "Welcome to Debian GNU/Linux 13 (trixie)!"))
    assert "systemd" in progress.reached


# -- Files without Python -------------------------------------------------------------------------------


@pytest.fixture
def line() -> Iterator[LocalLine]:
    found = LocalLine()
    yield found
    found.close(force=True)


def test_files_arrive_as_they_were(line: LocalLine, tmp_path: Path) -> None:
    files = ShellFiles(line, re.escape(PROMPT))
    here = tmp_path / "here"
    (here / "sub").mkdir(parents=True)
    (here / "empty").touch()
    (here / "sub" / "random").write_bytes(random.Random(1).randbytes(20_000))
    files.put(here, PurePosixPath(tmp_path / "new" / "there"))
    there = tmp_path / "new" / "there"
    assert (there / "empty").read_bytes() == b""
    assert (there / "sub" / "random").read_bytes() == (here / "sub" / "random").read_bytes()
    files.get(PurePosixPath(there), tmp_path / "back")
    assert (tmp_path / "back" / "sub" / "random").read_bytes() == (here / "sub" / "random").read_bytes()
    files.get(PurePosixPath(there / "sub" / "random"), tmp_path)  # a folder: the name stays
    assert (tmp_path / "random").read_bytes() == (here / "sub" / "random").read_bytes()
    with pytest.raises(ExecutionError, match="No such file"):
        files.get(PurePosixPath(tmp_path / "missing"), tmp_path / "x")
    line.sendline("echo $((6 * 7))")
    line.expect(r"\n42\r")


# Of the lab's modules, those with tests that run on any image, also without Python, systemd, SSH, xtest. They ask
# models with tzml-run, send messages with tzml-ta-test, start and stop the machine, or need none.
FOR_ALL_IMAGES = {
    "bad_input", "boot", "entropy", "faults", "inference", "ptest", "recovery", "shared_lab", "supplicant",
}  # fmt: skip

LIST_WHAT_IS_NOT_SKIPPED = """
import pytest

@pytest.hookimpl(trylast=True)
def pytest_collection_finish(session):
    for item in session.items:
        if not item.get_closest_marker("skip"):
            print("selected", item.path.stem)
"""


def test_tests_say_what_they_need_of_an_image(tmp_path: Path) -> None:
    """While tests are only collected, no image adds its features: whoever says nothing is still selected."""
    (tmp_path / "list_selected.py").write_text(LIST_WHAT_IS_NOT_SKIPPED)
    # the cases of xtest are those of the image's OP-TEE, and there may be no image here
    command = [sys.executable, "-m", "pytest", "lab", "--ignore=lab/test_xtest.py", "--collect-only", "-q"]
    command += ["-p", "list_selected"]
    done = subprocess.run(
        [*command, "-p", "no:cacheprovider", "--lg-env", "qemu.yaml"], cwd=ROOT, text=True, check=False,
        capture_output=True, env=os.environ | {"PYTHONPATH": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:]
    selected = {line.split()[1] for line in done.stdout.splitlines() if line.startswith("selected ")}
    assert selected == {f"test_{name}" for name in FOR_ALL_IMAGES}
