"""What goes wrong in a lab, done on purpose: each fault ends in its budget, with a message that says where.

These use real machines, one at a time. Budgets are seconds on a quiet machine; LG_TIME_SCALE stretches them.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

import pytest
from labgrid import Environment

from tzml_lab import faults
from tzml_lab.drivers.qemu import TrustZoneQEMUDriver
from tzml_lab.environment import ROOT, image_of, use_folders
from tzml_lab.failures import FailureClass
from tzml_lab.faults import in_background, without_optee_init
from tzml_lab.time_limits import scaled
from tzml_lab.xtest.run import XtestRun

pytestmark = pytest.mark.lg_feature("emulator")


class Verdict(faults.Verdict):
    """The error says what both consoles said last."""

    def __exit__(self, kind, error, trace):
        expected = super().__exit__(kind, error, trace)
        for world in ("normal", "secure"):
            assert f"last lines of the {world} world's console" in str(error)
        return expected


@pytest.fixture
def qemu(target, strategy):
    """The session's machine, with OP-TEE at work."""
    strategy.transition("tee")
    return target.get_driver(TrustZoneQEMUDriver)


def test_hung_xtest_case(qemu, target, strategy, record_property):
    """Xtest stands still in the middle of a case."""
    shell = target.get_driver("ShellDriver")
    # OP-TEE makes its storage when the first TA is opened: not while the machine is about to be killed
    shell.run_check("xtest -t regression 1004", timeout=scaled(60))
    run = XtestRun(shell, strategy.record, ["regression_1009"], silence=scaled(5))
    in_background(lambda: os.kill(qemu.pid, signal.SIGSTOP), lambda: run.parser.current)
    with Verdict(20, record_property) as verdict:
        run.case("regression_1009")
    os.kill(qemu.pid, signal.SIGCONT)
    assert verdict.error.kind is FailureClass.test
    assert "xtest stopped in regression_1009" in verdict.error.summary
    # the lab goes on with the same machine
    assert run.stop()
    assert shell.run_check("echo $((6 * 7))") == ["42"]


def test_linux_panic(qemu, target, strategy, record_property):
    shell = target.get_driver("ShellDriver")
    shell.run_check("echo kept > /root/kept && sync")
    with Verdict(20, record_property) as verdict:
        shell.run("echo c > /proc/sysrq-trigger", timeout=scaled(60))
    assert verdict.error.kind is FailureClass.test
    assert "Linux panicked: " in verdict.error.summary
    assert "sysrq triggered crash" in verdict.error.consoles
    # the next user gets a machine that was started anew, with the same disk
    cycle = strategy.record.cycle
    strategy.transition("tee")
    assert strategy.record.cycle == cycle + 1
    assert target.get_driver("ShellDriver").run_check("cat /root/kept") == ["kept"]
    image_of(target.env.config).verify()  # nothing was written to the image itself


def test_qemu_killed_from_outside(qemu, target, strategy, record_property):
    shell = target.get_driver("ShellDriver")
    in_background(lambda: os.kill(qemu.pid, signal.SIGKILL), lambda: True)
    with Verdict(20, record_property) as verdict:
        shell.run("sleep 60", timeout=scaled(60))
    assert verdict.error.kind is FailureClass.infrastructure
    assert "QEMU ended (killed by SIGKILL)" in verdict.error.summary
    strategy.transition("off")


@pytest.fixture
def another(env, strategy, run_folder, tmp_path, request):
    """A second environment from the same file, to be changed by the test; the first machine is off."""
    strategy.transition("off")
    environment = Environment(env.config_file)
    folder = run_folder / "faults" / request.node.name
    folder.mkdir(parents=True)
    use_folders(environment, run_folder=folder, scratch=tmp_path)
    yield environment
    environment.cleanup()


def arguments(environment: Environment, driver: str) -> dict:
    """The arguments of a driver in the environment, before it is made."""
    (found,) = [entry[driver] for entry in environment.config.data["targets"]["main"]["drivers"] if driver in entry]
    return found


@pytest.mark.lg_feature("qemu")  # what an emulated board boots is on that disk
def test_boot_without_root_disk(another, record_property):
    del arguments(another, "TrustZoneQEMUDriver")["rootdisk"]
    target = another.get_target()
    qemu, strategy = target.get_driver(TrustZoneQEMUDriver, activate=False), target.get_driver("TrustZoneStrategy")
    qemu.image.description.kernel_arguments += " rootwait=5"  # the initramfs waits half a minute otherwise
    with Verdict(60, record_property) as verdict:
        strategy.transition("shell")
    assert verdict.error.kind is FailureClass.boot
    assert verdict.error.state == "booted"
    assert "the initramfs gave up: initramfs: /dev/vda did not appear within 5 s" in verdict.error.summary


def test_boot_that_hangs(another, record_property):
    """The machine stands still, and QEMU with it: it answers no monitor command."""
    arguments(another, "TrustZoneStrategy")["silence_timeout"] = 5
    target = another.get_target()
    qemu, strategy = target.get_driver(TrustZoneQEMUDriver), target.get_driver("TrustZoneStrategy")
    in_background(lambda: os.kill(qemu.pid, signal.SIGSTOP), lambda: "kernel" in qemu.record.progress.reached)
    with Verdict(30, record_property) as verdict:
        strategy.transition("shell")
    assert verdict.error.kind is FailureClass.boot
    assert "on the way to state booted: the boot hangs" in verdict.error.summary
    assert "the last stage was Linux kernel" in verdict.error.summary
    # tried once, and once only
    with pytest.raises(Exception, match="not tried again after this: boot failure"):
        strategy.transition("shell")


class Child:
    """pytest in a process of its own, with the same environment file and results in a folder of its own."""

    def __init__(self, env: Environment, results: Path, **variables: str) -> None:
        command = [sys.executable, "-m", "pytest", "lab/test_boot.py", "-p", "no:cacheprovider"]
        self.results = results
        self.process = subprocess.Popen(
            [*command, "--lg-env", env.config_file, "--results", results],
            cwd=ROOT, env=os.environ | variables, text=True,
            # a shell's background jobs, and so these tests, may have been started without it
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def machine_talks(self) -> bool:
        """Whether the machine has said something."""
        log = self.results / "latest" / "console-normal.log"
        return log.exists() and any(not line.startswith("#") for line in log.read_text().splitlines())

    def machines(self) -> list[int]:
        """The processes whose command lines name the results: QEMU has its disk there."""
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words = path.read_bytes().split(b"\0")
            except OSError:  # it has just ended
                continue
            if words[0].endswith(b"qemu-system-aarch64") and any(bytes(self.results) in word for word in words):
                found.append(int(path.parent.name))
        return found

    def wait_until(self, condition, seconds: float) -> bool:
        deadline = time.monotonic() + scaled(seconds)
        while not condition() and time.monotonic() < deadline:
            time.sleep(0.1)
        return bool(condition())


@pytest.fixture
def child(env, strategy, tmp_path):
    strategy.transition("off")
    started = []

    def start(**variables: str) -> Child:
        started.append(Child(env, tmp_path / "results", **variables))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
        one.process.communicate()


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGKILL"])
def test_no_machine_is_left_behind(child, name, record_property):
    run = child()
    assert run.wait_until(run.machine_talks, 30), run.process.stdout.read()
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
def test_optee_panic(child, env, tmp_path, record_property):
    """The whole of a failed run: one complete error, everything else skipped, the class in the results."""
    folder = tmp_path / "deploy" / "qemu"
    break_optee(image_of(env.config).folder, folder)
    start = time.monotonic()
    run = child(LG_DEPLOY=str(folder.parent))
    output, _ = run.process.communicate(timeout=scaled(60))
    record_property("seconds_until_verdict", round(time.monotonic() - start, 1))

    assert run.process.returncode == FailureClass.boot.value, output
    assert "boot failure: on the way to state booted: OP-TEE panicked: E/TC:" in output
    assert "last lines of the secure world's console" in output
    suite = ElementTree.parse(run.results / "latest" / "junit.xml").getroot().find("testsuite")
    tests, errors, skipped = (int(suite.get(name)) for name in ("tests", "errors", "skipped"))
    assert (errors, skipped) == (1, tests - 1)
    classes = [p.get("value") for p in suite.iter("property") if p.get("name") == "failure_class"]
    assert classes == ["boot"]
    assert not run.machines()


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
