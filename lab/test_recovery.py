"""The machine recovers from a reboot, and from a power cut while it writes."""

from __future__ import annotations

import pytest
from labgrid import Target

from tzml_lab.drivers.strategy import TrustZoneStrategy
from tzml_lab.inference.known_models import TARGET_FOLDER
from tzml_lab.target import Shell, shell_of
from tzml_lab.time_limits import scaled

pytestmark = pytest.mark.lg_feature(["python", "disk"])

RUN = f"tzml run {TARGET_FOLDER}/digits.tzm --input /root/x.npy --world tee"


@pytest.fixture
def used(tee: Shell) -> Shell:
    """A machine with something on its disk, and something in OP-TEE's storage."""
    code = "import numpy; numpy.save('/root/x.npy', numpy.zeros((1, 1, 28, 28), numpy.float32))"
    tee.run_check(f'python3 -c "{code}" && sync', timeout=scaled(60))
    tee.run_check(RUN, timeout=scaled(120))
    return tee


def healthy(shell: Shell) -> None:
    """The disk is sound, and both worlds work."""
    assert shell.run("dmesg | grep -iE 'ext4.*(error|corrupt)'")[0] == []
    shell.run_check(RUN, timeout=scaled(120))


@pytest.mark.full
def test_it_reboots(used: Shell, strategy: TrustZoneStrategy, target: Target) -> None:
    if strategy.fastboot:
        pytest.skip("with its jumper set, a HiKey waits in fastboot after a reset")
    (before,) = used.run_check("cat /proc/sys/kernel/random/boot_id")
    strategy.reboot()
    strategy.transition("tee")
    shell = shell_of(target)
    assert shell.run_check("cat /proc/sys/kernel/random/boot_id") != [before]
    healthy(shell)


def test_it_comes_back_after_a_power_cut(used: Shell, strategy: TrustZoneStrategy, target: Target) -> None:
    used.run_check("echo kept >/root/kept && sync")
    used.run_check("(while :; do dd if=/dev/urandom of=/root/unfinished bs=64k count=16; done) >/dev/null 2>&1 &")
    strategy.restart()
    shell = shell_of(target)
    assert shell.run_check("cat /root/kept") == ["kept"]
    shell.run_check("rm -f /root/unfinished")
    healthy(shell)
