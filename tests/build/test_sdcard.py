"""The SD card: two partitions where the table says, with what belongs there, and the same bytes every time."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from tzmldebian import sdcard

from .conftest import Says

MIB = 1 << 20


@pytest.fixture
def recipe(d: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """An image recipe whose root file system and boot files are there already."""
    monkeypatch.setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
    deploy, work = tmp_path / "deploy", tmp_path / "work"
    for folder in (deploy / "videocore", work):
        folder.mkdir(parents=True)
    (deploy / "Image").write_bytes(b"kernel" * 1000)
    (deploy / "optee.dtbo").write_bytes(b"overlay")
    (deploy / "videocore/start.elf").write_bytes(b"second stage")
    (deploy / "videocore/bootcode.bin").write_bytes(b"first stage")
    root = work / "rootfs.ext4"
    root.write_bytes(bytes(3 * MIB) + b"root file system".ljust(MIB, b"."))
    values = {
        "DEPLOY_DIR_IMAGE": deploy,
        "IMAGE_BOOT_FILES": "videocore/* Image;kernel8.img optee.dtbo;overlays/optee.dtbo",
        "IMAGE_BOOT_SIZE": "40",
        "IMAGE_DISK_ID": "0x745a6d6c",
        "IMAGE_EXT4": root,
        "IMAGE_SDCARD": work / "sdcard.img",
        "SOURCE_DATE_EPOCH": "1767225600",
        "WORKDIR": work,
    }
    for name, value in values.items():
        d.setVar(name, str(value))
    return d


def partitions(card: Path) -> list[dict[str, Any]]:
    listed = subprocess.run(["/sbin/sfdisk", "--json", card], capture_output=True, check=True)
    table: dict[str, Any] = json.loads(listed.stdout)["partitiontable"]
    found: list[dict[str, Any]] = table["partitions"]
    return found


def test_the_card_has_a_fat_partition_and_the_root_file_system(recipe: Any) -> None:
    sdcard.make(recipe)
    card = Path(recipe.getVar("IMAGE_SDCARD"))
    boot, root = partitions(card)
    assert (boot["type"], boot["size"] * 512) == ("c", 40 * MIB)
    assert root["type"] == "83"
    assert root["start"] * 512 % sdcard.ALIGNMENT == 0
    with card.open("rb") as stream:
        stream.seek(root["start"] * 512)
        assert stream.read(root["size"] * 512) == Path(recipe.getVar("IMAGE_EXT4")).read_bytes()
    fat = f"{card}@@{boot['start'] * 512}"
    listed = subprocess.run(["mdir", "-b", "-/", "-i", fat, "::"], capture_output=True, text=True, check=True)
    names = {line.removeprefix("::/") for line in listed.stdout.split()}
    assert names == {"bootcode.bin", "start.elf", "kernel8.img", "overlays/", "overlays/optee.dtbo"}
    read = subprocess.run(["mtype", "-i", fat, "::/kernel8.img"], capture_output=True, check=True)
    assert read.stdout == b"kernel" * 1000


def test_the_block_map_has_only_what_holds_something(recipe: Any) -> None:
    sdcard.make(recipe)
    card = Path(recipe.getVar("IMAGE_SDCARD"))
    bmap = ElementTree.parse(f"{card}.bmap").getroot()
    assert int(bmap.findtext("ImageSize", "")) == card.stat().st_size
    assert int(bmap.findtext("MappedBlocksCount", "")) * 4096 < 4 * MIB


def test_the_same_files_make_the_same_card(recipe: Any) -> None:
    sdcard.make(recipe)
    card = Path(recipe.getVar("IMAGE_SDCARD"))
    first = card.read_bytes()
    shutil.rmtree(Path(recipe.getVar("WORKDIR"), "boot"))
    sdcard.make(recipe)
    assert card.read_bytes() == first


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ("missing.bin", "has no missing.bin"),
        ("videocore/*;start.elf", "several files, which cannot all become start.elf"),
    ],
)
def test_boot_files_that_are_not_there_are_named(recipe: Any, one_error: Says, files: str, says: str) -> None:
    recipe.setVar("IMAGE_BOOT_FILES", files)
    with one_error("IMAGE_BOOT_FILES", says):
        sdcard.make(recipe)


def test_files_that_do_not_fit_are_an_error(recipe: Any, one_error: Says) -> None:
    Path(recipe.getVar("DEPLOY_DIR_IMAGE"), "Image").write_bytes(bytes(40 * MIB))
    with one_error("IMAGE_BOOT_SIZE", "do not fit into 40 MiB"):
        sdcard.make(recipe)
