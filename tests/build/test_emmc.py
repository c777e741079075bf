"""The eMMC's partition table and images, read back with the tools that boards and people use."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tzmldebian import emmc

from .conftest import Says

MIB = 1 << 20
SECTORS = 512 * 2048  # 512 MiB
LAYOUT = ["vrl:1:basic", "fastboot:8:bios-boot", "boot:40:esp", "system:-:linux"]


def read_back(table: bytes, sectors: int, folder: Path) -> list[dict[str, Any]]:
    """The partitions that sfdisk finds on an eMMC of that size with that table at its beginning."""
    disk = folder / "emmc"
    with disk.open("wb") as stream:
        stream.write(table)
        stream.truncate(sectors * 512)
    listed = subprocess.run(["/sbin/sfdisk", "--json", disk], capture_output=True, check=True)
    found: dict[str, Any] = json.loads(listed.stdout)["partitiontable"]
    assert found["label"] == "gpt"
    partitions: list[dict[str, Any]] = found["partitions"]
    return partitions


@pytest.fixture
def recipe(d: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """An image recipe whose root file system and boot files are there already."""
    monkeypatch.setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
    deploy = tmp_path / "deploy"
    deploy.mkdir()
    (deploy / "Image").write_bytes(b"kernel" * 1000)
    root = tmp_path / "rootfs.ext4"
    with root.open("wb") as stream:
        stream.write(b"root file system".ljust(4096, b"."))
        stream.seek(8 * MIB)
        stream.write(b"more of it".ljust(4096, b"."))
        stream.truncate(20 * MIB)
    values = {
        "DEPLOY_DIR_IMAGE": deploy,
        "EMMC_PARTITIONS": " ".join(LAYOUT),
        "EMMC_SECTORS": SECTORS,
        "IMAGE_BOOT_FILES": "Image",
        "IMAGE_BOOT_IMG": tmp_path / "boot.img",
        "IMAGE_BOOT_SIZE": "40",
        "IMAGE_DISK_ID": "0x745a6d6c",
        "IMAGE_EXT4": root,
        "IMAGE_PTABLE_IMG": tmp_path / "prm_ptable.img",
        "IMAGE_SYSTEM_IMG": tmp_path / "system.img",
        "SOURCE_DATE_EPOCH": "1767225600",
        "WORKDIR": tmp_path,
    }
    for name, value in values.items():
        d.setVar(name, str(value))
    return d


def test_the_table_has_the_partitions_where_they_are_said_to_be(recipe: Any, tmp_path: Path) -> None:
    emmc.make(recipe)
    table = (tmp_path / "prm_ptable.img").read_bytes()
    assert len(table) == 34 * 512  # what fastboot takes as a primary table
    found = read_back(table, SECTORS, tmp_path)
    assert [p["name"] for p in found] == ["vrl", "fastboot", "boot", "system"]
    assert [p["start"] // 2048 for p in found] == [1, 2, 10, 50]
    assert [p["size"] // 2048 for p in found][:3] == [1, 8, 40]
    assert found[-1]["start"] + found[-1]["size"] == SECTORS - 33  # the copy of the table is behind it
    assert [p["type"] for p in found] == [emmc.TYPES[kind] for kind in ("basic", "bios-boot", "esp", "linux")]


def test_the_root_file_system_comes_back_from_its_sparse_image(recipe: Any, tmp_path: Path) -> None:
    root = (tmp_path / "rootfs.ext4").read_bytes()
    emmc.make(recipe)
    assert (tmp_path / "system.img").stat().st_size < 100_000
    subprocess.run(["simg2img", tmp_path / "system.img", tmp_path / "raw"], check=True)
    assert (tmp_path / "raw").read_bytes() == root


def test_the_same_files_give_the_same_images(recipe: Any, tmp_path: Path) -> None:
    names = ("boot.img", "prm_ptable.img", "system.img")
    emmc.make(recipe)
    first = [(tmp_path / name).read_bytes() for name in names]
    shutil.rmtree(tmp_path / "boot")
    emmc.make(recipe)
    assert [(tmp_path / name).read_bytes() for name in names] == first


@pytest.mark.parametrize("entry", ["vrl:1", "vrl:1:ext5", "vrl:-:basic", "vrl:big:basic"])
def test_an_entry_that_is_none_is_refused(entry: str, one_error: Says) -> None:
    with one_error("EMMC_PARTITIONS", entry, "name:MiB:type"):
        emmc.partitions([entry, "system:-:linux"], SECTORS)


def test_partitions_that_do_not_fit_are_refused(one_error: Says) -> None:
    with one_error("EMMC_PARTITIONS", "EMMC_SECTORS"):
        emmc.partitions(["boot:600:esp", "system:-:linux"], SECTORS)


def test_a_root_file_system_that_is_too_large_is_refused(recipe: Any, one_error: Says) -> None:
    recipe.setVar("EMMC_SECTORS", str(60 * 2048))
    with one_error("the root file system has 20 MiB", "`system` has 9 MiB", "EMMC_SECTORS"):
        emmc.make(recipe)
