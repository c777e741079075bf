"""Boot a machine, run one command in it, and switch it off."""

from __future__ import annotations

import math
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from labgrid import Environment, Target
from labgrid.driver import ExecutionError
from labgrid.exceptions import NoDriverFoundError
from pexpect import TIMEOUT

from tzml_lab.drivers.qemu import TrustZoneQEMUDriver
from tzml_lab.drivers.ssh import ConsoleTrustSSHDriver
from tzml_lab.drivers.strategy import TrustZoneStrategy
from tzml_lab.environment import fit_to_image, use_folders
from tzml_lab.failures import FailureClass, TargetError
from tzml_lab.target import shell_of
from tzml_lab.time_limits import scaled

TIMED_OUT = 124  # as timeout(1) has it


def run_command(path: Path, folder: Path, command: str, *, seconds: float | None, port: int | None) -> int:
    """Run a command as root once OP-TEE runs, with this process's standard streams, and return its exit code.

    Args:
        path: the environment
        folder: where the machine's disk and the logs of its consoles are
        command: for the machine's shell
        seconds: how long boot and command may take together; None: the boot has the lab's limits, the command none
        port: on this host, that leads to the machine's SSH; None: any

    Returns TIMED_OUT when the time is over. Raises TargetError if the machine fails, TzmlError.

    """
    deadline = time.monotonic() + seconds if seconds else float("inf")
    environment = Environment(str(path))
    fit_to_image(environment)
    use_folders(environment, run_folder=folder, scratch=folder)
    try:
        target = environment.get_target()
        driver = target.get_driver(TrustZoneQEMUDriver, activate=False)
        if driver.network:
            driver.network.port = port or 0
        strategy: TrustZoneStrategy = target.get_driver("TrustZoneStrategy")
        if seconds:
            limit = min(strategy.boot_timeout, math.ceil(seconds / scaled(1)))
            strategy.boot_timeout = strategy.silence_timeout = limit
        try:
            strategy.transition("tee")
            return _run(target, command, deadline)
        except ExecutionError as error:  # such as ssh that cannot log in
            what = " ".join(str(error).split())
            raise TargetError(FailureClass.infrastructure, what, record=strategy.record) from error
        except TargetError:
            if time.monotonic() >= deadline:
                return TIMED_OUT
            raise
        finally:
            if not strategy.broken:
                with suppress(TargetError, TIMEOUT, ExecutionError):  # what was written outlives the power cut
                    shell_of(target).run("sync", timeout=scaled(60))
            strategy.finish()
    finally:
        environment.cleanup()


def _run(target: Target, command: str, deadline: float) -> int:
    """Run it over SSH if there is a network, otherwise on the console, where both outputs are one."""
    try:
        ssh: ConsoleTrustSSHDriver = target.get_driver(ConsoleTrustSSHDriver)
    except NoDriverFoundError:
        return _run_on_console(target, command, deadline)
    remaining = deadline - time.monotonic()
    try:
        return subprocess.run(
            ssh.command_line(command), check=False, timeout=None if remaining == float("inf") else max(remaining, 0)
        ).returncode
    except subprocess.TimeoutExpired:
        return TIMED_OUT


def _run_on_console(target: Target, command: str, deadline: float) -> int:
    remaining = min(deadline - time.monotonic(), float(1 << 30))
    try:
        lines, _, code = shell_of(target).run(command, timeout=max(remaining, 0.1))
    except TIMEOUT:
        return TIMED_OUT
    for line in lines:
        print(line, file=sys.stdout)
    return int(code)
