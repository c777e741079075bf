"""Faults of a lab, caused on purpose: each is reported within its budget, and its message says where it stopped.

The tests use real machines, one at a time. Budgets are seconds on a quiet machine. LG_TIME_SCALE multiplies them.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any
from xml.etree import ElementTree

import pytest
from labgrid import Environment, Target

from tzml_lab.drivers.qemu import TrustZoneQEMUDriver
from tzml_lab.drivers.strategy import TrustZoneStrategy
from tzml_lab.environment import ROOT, fit_to_image, image_of, use_folders
from tzml_lab.failures import FailureClass
from tzml_lab.faults import ExpectedFailure, RecordProperty, in_background, without_optee_init
from tzml_lab.target import shell_of
from tzml_lab.time_limits import scaled
from tzml_lab.xtest.run import XtestRun

pytestmark = pytest.mark.lg_feature("emulator")


class ExpectedFailureOnBothConsoles(ExpectedFailure):
    """The error also shows the last lines of both consoles."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        expected = super().__exit__(kind, error, trace)
        for world in ("normal", "secure"):
            assert f"last lines of the {world} world's console" in str(error)
        return expected


@pytest.fixture
def qemu(target: Target, strategy: TrustZoneStrategy) -> TrustZoneQEMUDriver:
    """The session's machine, with OP-TEE running."""
    strategy.transition("tee")
    driver: TrustZoneQEMUDriver = target.get_driver(TrustZoneQEMUDriver)
    return driver


@pytest.mark.lg_feature("xtest")
def test_hung_xtest_case(
    qemu: TrustZoneQEMUDriver, target: Target, strategy: TrustZoneStrategy, record_property: RecordProperty
) -> None:
    """Xtest stops in the middle of a case."""
    shell = shell_of(target)
    # OP-TEE makes its storage when the first TA is opened. It must not be doing so when the machine is stopped.
    shell.run_check("xtest -t regression 1004", timeout=scaled(60))
    run = XtestRun(shell, strategy.record, ["regression_1009"], silence=scaled(5))
    in_background(lambda: os.kill(qemu.pid, signal.SIGSTOP), lambda: run.parser.current)
    with ExpectedFailureOnBothConsoles(20, record_property) as expected:
        run.case("regression_1009")
    os.kill(qemu.pid, signal.SIGCONT)
    assert expected.error.kind is FailureClass.test
    assert "xtest stopped in regression_1009" in expected.error.summary
    # the lab goes on with the same machine
    assert run.stop()
    assert shell.run_check("echo $((6 * 7))") == ["42"]


@pytest.mark.full
def test_linux_panic(
    qemu: TrustZoneQEMUDriver,
    target: Target,
    strategy: TrustZoneStrategy,
    env: Environment,
    record_property: RecordProperty,
) -> None:
    shell = shell_of(target)
    shell.run_check("echo kept > /root/kept && sync")
    with ExpectedFailureOnBothConsoles(20, record_property) as expected:
        shell.run("echo c > /proc/sysrq-trigger", timeout=scaled(60))
    assert expected.error.kind is FailureClass.test
    assert "Linux panicked: " in expected.error.summary
    assert "sysrq triggered crash" in expected.error.consoles
    # the next user gets a freshly started machine with the same disk, if it has one
    cycle = strategy.record.cycle
    strategy.transition("tee")
    assert strategy.record.cycle == cycle + 1
    kept = ["kept"] if "disk" in env.get_target_features() else []
    assert shell_of(target).run("cat /root/kept 2>/dev/null")[0] == kept
    image_of(target.env.config).verify()  # nothing was written to the image itself


def test_qemu_killed_from_outside(
    qemu: TrustZoneQEMUDriver, target: Target, strategy: TrustZoneStrategy, record_property: RecordProperty
) -> None:
    shell = shell_of(target)
    in_background(lambda: os.kill(qemu.pid, signal.SIGKILL), lambda: True)
    with ExpectedFailureOnBothConsoles(20, record_property) as expected:
        shell.run("sleep 60", timeout=scaled(60))
    assert expected.error.kind is FailureClass.infrastructure
    assert "QEMU ended (killed by SIGKILL)" in expected.error.summary
    strategy.transition("off")


@pytest.fixture
def another(
    env: Environment, strategy: TrustZoneStrategy, run_folder: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Environment]:
    """A second environment from the same file, which a test may change. The first machine is off."""
    strategy.transition("off")
    environment = Environment(env.config_file)
    fit_to_image(environment)
    folder = run_folder / "faults" / request.node.name
    folder.mkdir(parents=True)
    use_folders(environment, run_folder=folder, scratch=tmp_path)
    yield environment
    environment.cleanup()


def arguments(environment: Environment, driver: str) -> dict[str, Any]:
    """A driver's arguments in the environment, before the driver exists."""
    found: dict[str, Any]
    (found,) = [entry[driver] for entry in environment.config.data["targets"]["main"]["drivers"] if driver in entry]
    return found


@pytest.mark.lg_feature(["qemu", "disk"])  # what an emulated board boots is on that disk
def test_boot_without_root_disk(another: Environment, record_property: RecordProperty) -> None:
    del arguments(another, "TrustZoneQEMUDriver")["rootdisk"]
    target = another.get_target()
    qemu, strategy = target.get_driver(TrustZoneQEMUDriver, activate=False), target.get_driver("TrustZoneStrategy")
    qemu.image.description.kernel_arguments += " rootwait=5"  # the initramfs waits half a minute otherwise
    with ExpectedFailureOnBothConsoles(60, record_property) as expected:
        strategy.transition("shell")
    assert expected.error.kind is FailureClass.boot
    assert expected.error.state == "booted"
    assert "the initramfs gave up: initramfs: /dev/vda did not appear within 5 s" in expected.error.summary


def test_boot_that_hangs(another: Environment, record_property: RecordProperty) -> None:
    """QEMU is stopped, and answers no monitor command."""
    arguments(another, "TrustZoneStrategy")["silence_timeout"] = 5
    target = another.get_target()
    qemu, strategy = target.get_driver(TrustZoneQEMUDriver), target.get_driver("TrustZoneStrategy")
    in_background(lambda: os.kill(qemu.pid, signal.SIGSTOP), lambda: "kernel" in qemu.record.progress.reached)
    with ExpectedFailureOnBothConsoles(30, record_property) as expected:
        strategy.transition("shell")
    assert expected.error.kind is FailureClass.boot
    assert "on the way to state booted: the boot hangs" in expected.error.summary
    assert "the last stage was Linux kernel" in expected.error.summary
    # it is tried only once
    with pytest.raises(Exception, match="not tried again after this: boot failure"):
        strategy.transition("shell")


class Child:
    """pytest in a process of its own, with the same environment file and results in a folder of its own."""

    def __init__(self, env: Environment, results: Path, *options: str, **variables: str) -> None:
        command = [sys.executable, "-m", "pytest", "lab/test_boot.py", "-p", "no:cacheprovider"]
        self.results = results
        self.process = subprocess.Popen(
            [*command, "--lg-env", env.config_file, "--results", results, *options],
            cwd=ROOT, env=os.environ | variables, text=True,
            # SIGINT may be ignored here: it is in a shell's background jobs
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def said_so_far(self) -> str:
        """Everything that pytest prints until it ends."""
        assert self.process.stdout
        return self.process.stdout.read()

    def machine_talks(self) -> bool:
        """Whether the machine has printed something."""
        log = self.results / "latest" / "console-normal.log"
        return log.exists() and any(not line.startswith("#") for line in log.read_text().splitlines())

    def machines(self) -> list[int]:
        """The QEMU processes of this run: their command lines name the folder for its results."""
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words = path.read_bytes().split(b"\0")
            except OSError:  # it has just ended
                continue
            if words[0].endswith(b"qemu-system-aarch64") and any(bytes(self.results) in word for word in words):
                found.append(int(path.parent.name))
        return found

    def wait_until(self, condition: Callable[[], object], seconds: float) -> bool:
        deadline = time.monotonic() + scaled(seconds)
        while not condition() and time.monotonic() < deadline:
            time.sleep(0.1)
        return bool(condition())


StartChild = Callable[..., Child]


@pytest.fixture
def child(env: Environment, strategy: TrustZoneStrategy, tmp_path: Path) -> Iterator[StartChild]:
    strategy.transition("off")
    started = []

    def start(*options: str, **variables: str) -> Child:
        started.append(Child(env, tmp_path / "results", *options, **variables))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
        one.process.communicate()


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGKILL"])
def test_no_machine_is_left_behind(child: StartChild, name: str, record_property: RecordProperty) -> None:
    run = child()
    assert run.wait_until(run.machine_talks, 30), run.said_so_far()
    assert len(run.machines()) == 1
    start = time.monotonic()
    run.process.send_signal(signal.Signals[name])
    output, _ = run.process.communicate(timeout=scaled(30))
    assert run.wait_until(lambda: not run.machines(), 10)
    record_property("seconds_until_gone", round(time.monotonic() - start, 1))
    if name == "SIGKILL":
        assert run.process.returncode == -signal.SIGKILL
        return
    assert run.process.returncode == pytest.ExitCode.INTERRUPTED, output
    latest = run.results / "latest"
    assert json.loads((latest / "results.json").read_text())["format"] == 2
    assert (latest / "junit.xml").exists()
    assert not (latest / "scratch").exists()


@pytest.mark.lg_feature("qemu")  # of an emulated board the firmware is a file on its card
def test_optee_panic(child: StartChild, env: Environment, tmp_path: Path, record_property: RecordProperty) -> None:
    """A failed run as a whole: one complete error, all other tests skipped, the class in the results."""
    folder = tmp_path / "deploy" / "qemu"
    break_optee(image_of(env.config).folder, folder)
    start = time.monotonic()
    run = child(LG_DEPLOY=str(folder.parent))
    output, _ = run.process.communicate(timeout=scaled(60))
    record_property("seconds_until_failure", round(time.monotonic() - start, 1))

    assert run.process.returncode == FailureClass.boot.value, output
    assert "boot failure: on the way to state booted: OP-TEE panicked: E/TC:" in output
    assert "last lines of the secure world's console" in output
    suite = ElementTree.parse(run.results / "latest" / "junit.xml").getroot().find("testsuite")
    assert suite is not None
    tests, errors, skipped = (int(suite.get(name, -1)) for name in ("tests", "errors", "skipped"))
    assert (errors, skipped) == (1, tests - 1)
    classes = [p.get("value") for p in suite.iter("property") if p.get("name") == "failure_class"]
    assert classes == ["boot"]
    assert not run.machines()


@pytest.mark.lg_feature("qemu")
def test_a_machine_is_kept_after_a_failure(child: StartChild, env: Environment, tmp_path: Path) -> None:
    """The machine stays until it is let go, and others can look at its console meanwhile."""
    folder = tmp_path / "deploy" / "qemu"
    break_optee(image_of(env.config).folder, folder)
    run = child("--lg-keep", LG_DEPLOY=str(folder.parent))
    kept = run.results / "latest" / "console.sock"
    assert run.wait_until(kept.exists, 60), run.said_so_far()
    command = [sys.executable, "-m", "tzml", "lab", "attach", str(run.results / "latest")]
    seen = subprocess.run(command, input="", capture_output=True, text=True, check=False, timeout=scaled(60))
    assert seen.returncode == 0, seen.stderr
    assert "last lines of the secure world's console" in seen.stdout
    assert "E/TC:" in seen.stdout
    assert len(run.machines()) == 1
    run.process.send_signal(signal.SIGINT)
    output, _ = run.process.communicate(timeout=scaled(60))
    assert run.process.returncode == FailureClass.boot.value, output
    assert f"console:   tzml lab attach {os.path.relpath(kept.parent.resolve(), ROOT)}" in output
    assert "the machine is switched off: it was let go" in output
    assert not run.machines()
    assert not kept.exists()


def break_optee(source: Path, folder: Path) -> None:
    """A deploy folder like `source`, with an OP-TEE that cannot start."""
    folder.mkdir(parents=True)
    description = json.loads((source / "image.json").read_text())
    files = {file["role"]: file for file in description["files"]}
    for file in files.values():
        (folder / file["path"]).symlink_to(source / file["path"])
    path = folder / files["firmware"]["path"]
    broken = without_optee_init(path.read_bytes(), folder / files["tee-elf"]["path"])
    path.unlink()
    path.write_bytes(broken)
    files["firmware"]["sha256"] = hashlib.sha256(broken).hexdigest()
    (folder / "image.json").write_text(json.dumps(description))
