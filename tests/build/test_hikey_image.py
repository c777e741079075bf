"""What `kas build kas/hikey.yml` deploys, read back with other people's tools. No board boots it here."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from tzmldebian import emmc, hikey, vendorfiles

from tzml.boards import find_board

from .test_emmc import read_back
from .test_kas import kas

pytestmark = pytest.mark.boards

MIB = 1 << 20
FOLDER = ROOT / "build/deploy/hikey"
STAGED = ROOT / "build/tmp/sysroots-components/hikey"
FIPTOOL = STAGED / "trusted-firmware-a/usr/share/trusted-firmware-a/fiptool"
TZDRAM = (0x38000000, 128 * MIB)


@pytest.fixture(scope="module")
def image() -> dict[str, Any]:
    """image.json of a build with what TZML_HIKEY_FILES has: usually nothing."""
    done = kas("build", "kas/hikey.yml")
    assert done.returncode == 0, done.stdout[-3000:]
    found: dict[str, Any] = json.loads((FOLDER / "image.json").read_text())
    return found


def output(*command: str | Path) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def numbers(*arguments: str | Path) -> list[int]:
    """A property of the device tree in the boot partition."""
    words = output("fdtget", "-t", "x", FOLDER / "hi6220-hikey-optee.dtb", *arguments).split()
    return [int(word, 16) for word in words]


def test_a_second_build_runs_no_task_and_ends_with_what_is_missing(image: dict[str, Any]) -> None:
    done = kas("build", "kas/hikey.yml")
    summary = re.search(r"Attempted (\d+) tasks of which (\d+) didn't need to be rerun", done.stdout)
    assert summary, done.stdout[-3000:]
    assert summary[1] == summary[2]
    said = done.stdout[summary.end() :]
    assert ("incomplete without" in said) == bool(image["missing"])
    for entry in image["missing"]:
        for value in entry.values():
            assert value in said


def test_what_needs_the_users_files_is_there_with_them_and_all_else_always(image: dict[str, Any]) -> None:
    missing = {entry["name"] for entry in image["missing"]}
    roles = {file["role"] for file in image["files"]}
    assert {"boot", "partition-table", "system", "tee-elf"} <= roles
    made = {"firmware": "fip.bin", "loader": "l-loader.bin", "recovery": "recovery.bin"}
    for role, file in made.items():
        needs = "mcuimage.bin" if role == "firmware" else "l-loader.bin"
        assert (role in roles) == (FOLDER / file).exists() == (needs not in missing)
    if missing:
        listed = (FOLDER / "missing.txt").read_text()
        assert listed == vendorfiles.text(image["missing"], "TZML_HIKEY_FILES") + "\n"
    assert all((FOLDER / name).stat().st_size for name in ("bl2.bin", "bl31.bin", "u-boot.bin"))


def test_the_memory_is_what_tf_a_protects_and_both_kinds_are_stated(image: dict[str, Any]) -> None:
    memory = image["secure_memory"]
    assert (memory["tzdram_base"], memory["tzdram_size"]) == TZDRAM
    assert memory["ta_size"] > 125 * MIB
    assert memory["protected"] is False  # Linux can undo it
    assert image["shared_memory"] == {"dynamic": True, "reserved_size": 0}
    # TF-A's own idea of it, as its BL2 is compiled: the memory controller's region and the same for OP-TEE's load
    source = ROOT / "build/tmp/work/hikey/trusted-firmware-a/2.12.1/sources/source/plat/hisilicon/hikey"
    assert "DDR_SEC_SIZE\t\t\t0x08000000" in (source / "include/hikey_def.h").read_text()
    assert "DDR_SDP" not in (source / "hikey_security.c").read_text()


def test_the_partition_table_has_upstreams_partitions(image: dict[str, Any], tmp_path: Path) -> None:
    table = (FOLDER / "prm_ptable.img").read_bytes()
    found = {p["name"]: (p["start"] // 2048, p["size"] // 2048) for p in read_back(table, 7471104, tmp_path)}
    assert found == {
        "vrl": (1, 1),
        "vrl_backup": (2, 1),
        "mcuimage": (3, 1),
        "fastboot": (4, 8),
        "nvme": (12, 2),
        "boot": (14, 64),
        "reserved": (78, 256),
        "cache": (334, 256),
        "system": (590, 3057),
    }


def test_the_stand_in_has_the_partitions_of_the_table(image: dict[str, Any], tmp_path: Path) -> None:
    table = (FOLDER / "prm_ptable.img").read_bytes()
    partitions = {partition.name: partition.size for partition in find_board("hikey").partitions}
    assert len(table) == partitions["ptable"]
    found = {p["name"]: p["size"] * emmc.SECTOR for p in read_back(table, 7471104, tmp_path)}
    sizes = {name: size for name, size in partitions.items() if name not in ("ptable", "loader")}
    assert sizes == {name: found[name] for name in sizes}


def test_the_boot_partition_has_what_u_boot_looks_for(image: dict[str, Any], tmp_path: Path) -> None:
    boot = FOLDER / "boot.img"
    assert boot.stat().st_size == 64 * MIB
    pairs = {
        "Image": "Image",
        "initramfs.cpio": "initramfs.cpio",
        "hi6220-hikey.dtb": "hi6220-hikey-optee.dtb",
        "extlinux/extlinux.conf": "extlinux.conf",
    }
    for name, deployed in pairs.items():
        subprocess.run(["mcopy", "-i", boot, f"::/{name}", tmp_path / "file"], check=True)
        assert (tmp_path / "file").read_bytes() == (FOLDER / deployed).read_bytes()
        (tmp_path / "file").unlink()
    menu = (FOLDER / "extlinux.conf").read_text()
    assert f"append {image['kernel_arguments']}\n" in menu
    assert set(re.findall(r"^\t(?:kernel|initrd|fdt) /(\S+)$", menu, re.MULTILINE)) <= set(pairs)


def test_the_root_file_system_comes_back_from_its_sparse_image(image: dict[str, Any], tmp_path: Path) -> None:
    raw = tmp_path / "system"
    subprocess.run(["simg2img", FOLDER / "system.img", raw], check=True)
    assert raw.stat().st_size < 3057 * MIB  # the partition's
    subprocess.run(["/sbin/e2fsck", "-fn", raw], check=True, capture_output=True)
    assert "volume name:   tzml-root" in output("/sbin/dumpe2fs", "-h", raw)
    listed = output("/sbin/debugfs", "-R", "ls -p /usr/lib/optee_armtz", raw)
    assert len(re.findall(r"/[0-9a-f-]{36}\.ta/", listed)) > 10  # ours and xtest's
    release = image["kernel_release"]
    assert f"/{release}/" in output("/sbin/debugfs", "-R", "ls -p /usr/lib/modules", raw)


def test_linux_is_told_of_op_tee_and_kept_out_of_its_memory(image: dict[str, Any]) -> None:
    tree = FOLDER / "hi6220-hikey-optee.dtb"
    node = "/firmware/optee"
    assert output("fdtget", tree, node, "compatible", node, "method").split() == ["linaro,optee-tz", "smc"]
    assert numbers("/reserved-memory/optee@38000000", "reg") == [0, TZDRAM[0], 0, TZDRAM[1]]
    assert "no-map" in output("fdtget", "-p", tree, "/reserved-memory/optee@38000000")
    banks = numbers("/memory@0", "reg")
    ends = [start + size for start, size in zip(banks[1::4], banks[3::4], strict=True)]
    assert max(ends) == TZDRAM[0]


def test_u_boot_tells_linux_of_the_same_memory(image: dict[str, Any]) -> None:
    """It writes its own banks over those of the device tree."""
    source = ROOT / "build/tmp/work/hikey/u-boot-hikey/2025.01/sources/source"
    text = (source / "board/hisilicon/hikey/hikey.c").read_text()
    found = re.findall(r"\.start = (\w+);\s+\S+\.size = (\w+);", text.replace("PHYS_SDRAM_1;", "0x0;"))
    banks = [word for start, size in found for word in (0, int(start, 16), 0, int(size, 16))]
    assert banks == numbers("/memory@0", "reg")


def test_u_boot_has_fastboot_and_no_place_overlaps_another(image: dict[str, Any]) -> None:
    binary = (FOLDER / "u-boot.bin").read_bytes()
    assert b"if gpio input 24; then fastboot usb 0; fi; run distro_bootcmd\0" in binary
    assert b"fastboot_raw_partition_loader=0x4 0x1ffc mmcpart 1\0" in binary
    variables = dict(re.findall(rb"(\w+_addr_r)=0x([0-9a-f]+)\0", binary))
    names = {b"kernel": "Image", b"fdt": "hi6220-hikey-optee.dtb", b"ramdisk": "initramfs.cpio"}
    places = {what: int(variables[what + b"_addr_r"], 16) for what in names}
    stated = {f["role"]: int(f["load_address"], 16) for f in image["files"] if "load_address" in f}
    assert stated == {"kernel": places[b"kernel"], "initrd": places[b"ramdisk"]}
    end = 0x07410000  # of the holes, where Linux's fifth bank begins; it has to be in one piece
    for what, start in sorted(places.items(), key=lambda place: place[1]):
        assert start >= end
        end = start + (FOLDER / names[what]).stat().st_size
    assert end < 0x21F00000


def test_fip_bin_holds_what_it_is_made_of(image: dict[str, Any], tmp_path: Path) -> None:
    """With a file in the place of HiSilicon's, which the build does not have."""
    (tmp_path / "mcuimage.bin").write_bytes(b"microcontroller" * 1000)
    optee = STAGED / "optee-os/usr/lib/firmware"
    parts = {
        "scp-fw": tmp_path / "mcuimage.bin",
        "soc-fw": FOLDER / "bl31.bin",
        "tos-fw": optee / "tee-header_v2.bin",
        "tos-fw-extra1": optee / "tee-pager_v2.bin",
        "tos-fw-extra2": optee / "tee-pageable_v2.bin",
        "nt-fw": FOLDER / "u-boot.bin",
    }
    fip = tmp_path / "fip.bin"
    hikey.fip(FIPTOOL, parts, fip)
    assert fip.stat().st_size < 8 * MIB  # the partition `fastboot`
    listed = output(FIPTOOL, "info", fip)
    offsets = [int(offset, 16) for offset in re.findall(r"offset=(0x[0-9A-F]+)", listed)]
    assert offsets
    assert all(offset % emmc.SECTOR == 0 for offset in offsets)
    subprocess.run([FIPTOOL, "unpack", "--out", tmp_path, fip], check=True, capture_output=True)
    for name, path in parts.items():
        if path.stat().st_size:  # OP-TEE without a pager has nothing pageable
            assert (tmp_path / f"{name}.bin").read_bytes() == path.read_bytes()


def test_op_tee_tells_tf_a_to_load_it_where_its_memory_begins(image: dict[str, Any]) -> None:
    header = (STAGED / "optee-os/usr/lib/firmware/tee-header_v2.bin").read_bytes()
    assert header[:4] == b"OPTE"
    # version, architecture, flags, images; then for each: address high, low, id, size
    high, low = int.from_bytes(header[12:16], "little"), int.from_bytes(header[16:20], "little")
    assert (high << 32) + low == TZDRAM[0]
