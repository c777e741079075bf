"""An image is written to a stand-in board by labgrid's own drivers and real usbsdmux, bmaptool and fastboot."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tzml.boards import boards
from tzml.errors import TzmlError
from tzml.image import load_image
from tzml_lab.boards.flashing import FastbootFlasher
from tzml_lab.environment import ROOT
from tzml_lab.failures import FailureClass, TargetError
from tzml_lab.standin import sdmux

from .conftest import Bench

BOARDS = [f"{name}-standin" for name, board in boards().items() if board.standin]

pytestmark = pytest.mark.bench
MakeBench = Callable[[str], Bench]


@pytest.mark.parametrize("name", BOARDS)
def test_a_blank_board_runs_the_image_after_all_states(bench: MakeBench, name: str) -> None:
    one = bench(name)
    one.strategy.transition("shell")
    assert list(one.strategy.seconds) == ["off", "flashed", "booted", "shell"]
    assert one.image.writes == 1
    assert one.shell.run_check("cat /etc/tzml-flashed") == [one.image.digest]


@pytest.mark.parametrize("name", BOARDS)
def test_an_image_is_written_once_also_for_the_next_run(bench: MakeBench, name: str) -> None:
    one = bench(name)
    one.strategy.transition("shell")
    one.strategy.transition("flashed")
    one.strategy.transition("shell")
    assert one.image.writes == 1
    one.use()
    one.strategy.transition("shell")
    assert one.image.writes == 0


@pytest.mark.parametrize("name", BOARDS)
def test_a_board_that_runs_already_is_taken_as_it_is(bench: MakeBench, name: str) -> None:
    """--lg-initial-state shell, during development."""
    one = bench(name)
    one.strategy.transition("shell")
    one.use()
    one.strategy.force("shell")
    assert one.shell.run_check("uname -r")
    assert one.strategy.seconds == {}
    one.strategy.transition("off")
    one.strategy.transition("shell")
    assert one.shell.run_check("uname -r")


def test_another_image_is_written(bench: MakeBench) -> None:
    one = bench("rpi3-standin")
    one.strategy.transition("shell")
    described = one.standin.folder / "deploy" / "rpi3" / "image.json"
    described.write_text(described.read_text() + "\n")  # its digest names the image
    one.use()
    one.strategy.transition("shell")
    assert one.image.writes == 1


def test_an_image_that_somebody_else_wrote_is_written_over(bench: MakeBench) -> None:
    one = bench("rpi3-standin")
    one.strategy.transition("shell")
    one.use()
    one.strategy.transition("off")
    (one.standin.folder / "card").write_bytes(b"rootfs of somebody else" * 100)
    one.strategy.transition("shell")
    assert one.image.writes == 1
    assert one.shell.run_check("cat /etc/tzml-flashed") == [one.image.digest]


def test_a_board_that_was_said_to_have_the_image_and_does_not_boot_gets_it(bench: MakeBench) -> None:
    one = bench("rpi3-standin")
    one.strategy.transition("shell")
    one.use()
    one.strategy.transition("off")
    (one.standin.folder / "card").write_bytes(b"no file system")
    one.strategy.transition("shell")
    assert one.image.writes == 1


def test_a_card_that_takes_no_image(bench: MakeBench, deploy: Path) -> None:
    one = bench("rpi3-standin")
    (deploy / "rootfs.ext4").write_bytes(b"rotten" * 300)  # bmaptool compares it with the map
    with pytest.raises(
        TargetError, match=r"flash failure: on the way to state flashed: .*bmaptool.* failed"
    ) as caught:
        one.strategy.transition("shell")
    assert caught.value.kind is FailureClass.flash
    # the next run begins with a note that says nothing
    assert one.image.note.digest == ""


def test_a_partition_that_is_too_small(bench: MakeBench, deploy: Path) -> None:
    one = bench("hikey-standin")
    with (deploy / "firmware.bin").open("wb") as firmware:
        firmware.truncate(9 << 20)
    with pytest.raises(TargetError, match=r"flash failure: .*fastboot.*too large for the partition") as caught:
        one.strategy.transition("shell")
    assert caught.value.kind is FailureClass.flash


def test_without_its_card_a_board_does_not_boot(bench: MakeBench) -> None:
    one = bench("rpi3-standin")
    one.strategy.transition("flashed")
    mux = one.target.get_driver("USBSDMuxDriver")
    assert mux.get_mode() == "dut"
    mux.set_mode("host")
    assert sdmux.mode((one.standin.folder / "sdmux").read_bytes()) == mux.get_mode() == "host"
    with pytest.raises(TargetError, match=r"boot failure: .*the initramfs gave up"):
        one.strategy.transition("shell")


def test_large_files_are_sent_in_parts(bench: MakeBench, deploy: Path) -> None:
    """An image that is too large for one download is sent as sparse images."""
    one = bench("hikey-standin")
    fastboot = one.target.get_driver("AndroidFastbootDriver", activate=False)
    fastboot.sparse_size = "64K"
    content = b"rootfs" + bytes(range(250)) * 1000 + bytes(1 << 20) + b"\xaa" * 8192 + bytes(range(200)) * 333
    content += bytes(-len(content) % 4096)
    (deploy / "rootfs.ext4").write_bytes(content)
    one.strategy.transition("shell")
    one.strategy.transition("off")
    written = (one.standin.folder / "system.img").read_bytes()
    assert written.partition(b"\nmark: ")[0] == content


def test_an_image_that_lacks_a_partitions_file_is_not_flashed(bench: MakeBench) -> None:
    one = bench("hikey-standin")
    described = one.standin.folder / "deploy" / "hikey" / "image.json"
    image = json.loads(described.read_text())
    image["files"] = [file for file in image["files"] if file["role"] != "firmware"]
    described.write_text(json.dumps(image | {"missing": [{"name": "mcuimage.bin"}]}))
    with pytest.raises(TargetError, match=r"no firmware: it was built without mcuimage\.bin") as caught:
        one.strategy.transition("shell")
    assert caught.value.kind is FailureClass.build


@pytest.mark.boards
def test_fastboot_takes_what_kas_deploys_for_the_hikey(bench: MakeBench, tmp_path: Path) -> None:
    """The real files of `kas build kas/hikey.yml`, which nothing here can boot."""
    try:
        image = load_image(ROOT / "build/deploy/hikey")
    except TzmlError as error:
        pytest.skip(str(error))
    one = bench("hikey-standin")
    fastboot = one.target.get_driver("AndroidFastbootDriver", activate=False)
    roles = {file.role for file in image.description.files}
    # without the user's files there is no firmware
    fastboot.flash_images = {name: role for name, role in fastboot.flash_images.items() if role in roles}
    assert {"ptable", "boot", "system"} <= set(fastboot.flash_images)
    assert one.environment
    one.environment.config.data["images"] = {role: str(image.path(role)) for role in roles}
    one.strategy.transition("off")
    FastbootFlasher(one.target, one.strategy.power, fastboot, 300).write()
    for name, role in fastboot.flash_images.items():
        written, deployed = one.standin.folder / f"{name}.img", image.path(role)
        if name == "system":
            subprocess.run(["simg2img", deployed, tmp_path / "raw"], check=True)
            deployed = tmp_path / "raw"
        assert subprocess.run(["cmp", written, deployed], check=False).returncode == 0
