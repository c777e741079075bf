"""Tests that only the emulated Raspberry Pi 3 can run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from labgrid import Environment, Target

from tzml_lab.consoles.lines import Speaker
from tzml_lab.drivers.raspberry_pi import EmulatedRaspberryPiDriver
from tzml_lab.drivers.strategy import TrustZoneStrategy
from tzml_lab.emulation.video_core import CORES
from tzml_lab.environment import fit_to_image, image_of, use_folders
from tzml_lab.target import Shell
from tzml_lab.time_limits import scaled

pytestmark = pytest.mark.lg_feature("raspi")

CARD_ALIGNMENT = 4 << 20  # bytes, of partitions and of the image


@pytest.fixture
def with_all_cores(
    env: Environment, strategy: TrustZoneStrategy, run_folder: Path, tmp_path: Path
) -> Iterator[EmulatedRaspberryPiDriver]:
    """A second machine from the same file, switched on while the first is off."""
    strategy.transition("off")
    environment = Environment(env.config_file)
    fit_to_image(environment)
    use_folders(environment, run_folder=tmp_path, scratch=tmp_path)
    target = environment.get_target()
    pi = target.get_driver(EmulatedRaspberryPiDriver, activate=False)
    pi.cores = CORES
    target.activate(pi)
    pi.on()
    yield pi
    pi.off()
    environment.cleanup()


def test_the_root_file_system_grows_to_the_end_of_the_card(shell: Shell, target: Target) -> None:
    card, root = "/sys/class/block/mmcblk0", "/sys/class/block/mmcblk0/mmcblk0p2"
    shell.run_check("systemctl start grow-root", timeout=scaled(60))  # or wait until it is done
    size, start, length = (512 * int(line) for line in shell.run_check(f"cat {card}/size {root}/start {root}/size"))
    image = image_of(target.env.config).path("sdcard").stat().st_size
    assert size > image + CARD_ALIGNMENT  # there is something to grow over
    assert start + length > size - CARD_ALIGNMENT
    [available] = shell.run_check("findmnt --noheadings --bytes --output SIZE /")
    # the file system's own tables need some of it
    assert int(available) > 0.9 * length
    assert int(available) > image - start


def test_all_cores_start_when_linux_calls_them(with_all_cores: EmulatedRaspberryPiDriver) -> None:
    """They wait in TF-A, and OP-TEE prints a line for each that has started."""
    record = with_all_cores.record
    expected = [f"I/TC: Secondary CPU {core} switching to normal world boot" for core in range(1, CORES)]

    def there() -> bool:
        said = [line.text for line in record.lines(Speaker.secure)]
        return all(line in said for line in expected)

    assert record.wait(there, scaled(120)), "\n".join(record.tail(Speaker.normal) + record.tail(Speaker.secure))
