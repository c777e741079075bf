"""The machine recovers from a reboot, and from a power cut while it writes: with its disk, or anew without one."""

from __future__ import annotations

import pytest
from labgrid import Environment, Target

from tzml_lab.drivers.strategy import TrustZoneStrategy
from tzml_lab.inference.known_models import TARGET_FOLDER
from tzml_lab.target import Shell, shell_of
from tzml_lab.time_limits import scaled

MODEL = f"{TARGET_FOLDER}/digits.tzm"
INPUT = "head -c 3136 /dev/zero >/root/x.bin"
RUN = f"{INPUT} && tzml-run {MODEL} /root/x.bin /root/y.bin && sha256sum </root/y.bin"


def answer(shell: Shell) -> str:
    """The digest of what the TEE answers."""
    return shell.run_check(RUN, timeout=scaled(120))[-1]


@pytest.fixture
def expected(tee: Shell) -> str:
    """The answer of a machine that then has something on its disk, and something in OP-TEE's storage."""
    found = answer(tee)
    tee.run_check("echo kept >/root/kept && sync")
    return found


def check_healthy(target: Target, env: Environment, expected: str) -> None:
    """What was on a disk is there, what was in memory is gone, and the TEE answers as before."""
    shell = shell_of(target)
    kept = ["kept"] if "disk" in env.get_target_features() else []
    assert shell.run("cat /root/kept 2>/dev/null")[0] == kept
    assert shell.run("dmesg | grep -iE 'ext4.*(error|corrupt)'")[0] == []
    assert answer(shell) == expected


@pytest.mark.full
def test_it_reboots(
    expected: str, tee: Shell, strategy: TrustZoneStrategy, target: Target, env: Environment
) -> None:
    if strategy.fastboot:
        pytest.skip("with its jumper set, a HiKey waits in fastboot after a reset")
    (before,) = tee.run_check("cat /proc/sys/kernel/random/boot_id")
    strategy.reboot()
    strategy.transition("tee")
    assert shell_of(target).run_check("cat /proc/sys/kernel/random/boot_id") != [before]
    check_healthy(target, env, expected)


def test_it_comes_back_after_a_power_cut(
    expected: str, tee: Shell, strategy: TrustZoneStrategy, target: Target, env: Environment
) -> None:
    tee.run_check("(while :; do dd if=/dev/urandom of=/root/unfinished bs=64k count=16; done) >/dev/null 2>&1 &")
    strategy.restart()
    shell_of(target).run_check("rm -f /root/unfinished")
    check_healthy(target, env, expected)
