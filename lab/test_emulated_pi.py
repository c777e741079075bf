"""Tests that only the emulated Raspberry Pi 3 can run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from labgrid import Environment

from tzml_lab.consoles.lines import Speaker
from tzml_lab.drivers.raspberry_pi import EmulatedRaspberryPiDriver
from tzml_lab.drivers.strategy import TrustZoneStrategy
from tzml_lab.emulation.video_core import CORES
from tzml_lab.environment import use_folders
from tzml_lab.time_limits import scaled

pytestmark = pytest.mark.lg_feature("raspi")


@pytest.fixture
def with_all_cores(
    env: Environment, strategy: TrustZoneStrategy, run_folder: Path, tmp_path: Path
) -> Iterator[EmulatedRaspberryPiDriver]:
    """A second machine from the same file, switched on while the first is off."""
    strategy.transition("off")
    environment = Environment(env.config_file)
    use_folders(environment, run_folder=tmp_path, scratch=tmp_path)
    target = environment.get_target()
    pi = target.get_driver(EmulatedRaspberryPiDriver, activate=False)
    pi.cores = CORES
    target.activate(pi)
    pi.on()
    yield pi
    pi.off()
    environment.cleanup()


def test_all_cores_start_when_linux_calls_them(with_all_cores: EmulatedRaspberryPiDriver) -> None:
    """They wait in TF-A, and OP-TEE prints a line for each that has started."""
    record = with_all_cores.record
    expected = [f"I/TC: Secondary CPU {core} switching to normal world boot" for core in range(1, CORES)]

    def there() -> bool:
        said = [line.text for line in record.lines(Speaker.secure)]
        return all(line in said for line in expected)

    assert record.wait(there, scaled(120)), "\n".join(record.tail(Speaker.normal) + record.tail(Speaker.secure))
