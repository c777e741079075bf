"""The emulated VideoCore loads memory from the card, and names what the card lacks."""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tzml.errors import TzmlError
from tzml_lab.emulation.video_core import CORES, VideoCore, start_code

START = 2048  # the first sector of the partition
CONFIG = """
arm_64bit=1
armstub=armstub8.bin
kernel=kernel8.img
kernel_address=0x02000000
device_tree_address=0x01000000
initramfs initramfs.cpio 0x0c000000
upstream_kernel=1
gpu_mem=64
dtoverlay=optee
"""
TREE = """/dts-v1/;
/ {
    #address-cells = <1>;
    #size-cells = <1>;
    chosen { };
    cpus { cpu@0 { }; cpu@1 { }; cpu@2 { }; cpu@3 { }; };
    memory@0 { device_type = "memory"; reg = <0 0x40000000>; };
};
"""
OVERLAY = """/dts-v1/;
/plugin/;
/ {
    fragment@0 { target-path = "/"; __overlay__ { firmware { optee { method = "smc"; }; }; }; };
};
"""
FILES = {
    "bootcode.bin": b"1",
    "start.elf": b"2",
    "fixup.dat": b"3",
    "config.txt": CONFIG.encode(),
    "cmdline.txt": b"console=ttyS1,115200 root=LABEL=tzml-root\n",
    "armstub8.bin": b"stub" * 1000,
    "kernel8.img": b"kernel" * 1000,
    "initramfs.cpio": b"initramfs" * 1000,
}
MakeCore = Callable[..., VideoCore]


def compiled(source: str) -> bytes:
    return subprocess.run(["dtc", "-q", "-O", "dtb"], input=source.encode(), capture_output=True, check=True).stdout


@pytest.fixture
def core(tmp_path: Path) -> MakeCore:
    """Make a card and its VideoCore. A file that is None is left out."""

    def make(files: dict[str, bytes | None] | None = None, cores: int = CORES) -> VideoCore:
        fat = tmp_path / "fat"
        fat.write_bytes(bytes(4 << 20))
        subprocess.run(["/sbin/mkfs.vfat", fat], check=True, capture_output=True)
        subprocess.run(["mmd", "-i", fat, "::/overlays"], check=True)
        trees = {"bcm2837-rpi-3-b.dtb": compiled(TREE), "overlays/optee.dtbo": compiled(OVERLAY)}
        for name, data in (FILES | trees | (files or {})).items():
            if data is not None:
                subprocess.run(["mcopy", "-i", fat, "-", f"::/{name}"], input=data, check=True)
        entry = struct.pack("<B3sB3sII", 0x80, b"", 0x0C, b"", START, 8192)
        card = tmp_path / "card.img"
        table = bytes(446) + entry + bytes(48) + b"\x55\xaa"
        card.write_bytes(table + bytes((START - 1) * 512) + fat.read_bytes())
        return VideoCore(card, tmp_path / "videocore", cores=cores)

    return make


def tree_value(tree: Path, kind: str, node: str, name: str) -> str:
    command = ["fdtget", "-t", kind, str(tree), node, name]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_files_are_where_config_txt_has_them(core: MakeCore) -> None:
    loaded = {found.path.name: found for found in core().load()}
    places = {name: found.address for name, found in loaded.items()}
    assert places["armstub8.bin"] == 0
    assert places["kernel8.img"] == 0x02000000
    assert places["initramfs.cpio"] == 0x0C000000
    assert places["device-tree.dtb"] == 0x01000000
    assert loaded["kernel8.img"].path.read_bytes() == FILES["kernel8.img"]


def test_linux_is_told_of_memory_arguments_initramfs_and_optee(core: MakeCore) -> None:
    (tree,) = [found.path for found in core(cores=2).load() if found.path.name == "device-tree.dtb"]
    assert tree_value(tree, "x", "/memory@0", "reg") == "0 3c000000"
    assert tree_value(tree, "s", "/chosen", "bootargs") == "console=ttyS1,115200 root=LABEL=tzml-root"
    assert tree_value(tree, "x", "/chosen", "linux,initrd-start") == "c000000"
    assert tree_value(tree, "x", "/chosen", "linux,initrd-end") == f"{0xC000000 + 9000:x}"
    assert tree_value(tree, "s", "/firmware/optee", "method") == "smc"
    assert tree_value(tree, "s", "/cpus/cpu@2", "status") == "fail"


def test_qemu_gets_a_place_for_every_file_and_a_start_for_every_core(core: MakeCore) -> None:
    arguments = core().arguments("cortex-a53")
    assert sum("file=" in argument for argument in arguments) == 5
    assert [word.split("cpu-num=")[1] for word in arguments if "cpu-num" in word] == ["0", "1", "2", "3"]


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"start.elf": None}, "has no start.elf"),
        ({"config.txt": None}, "has no config.txt"),
        ({"kernel8.img": None}, "has no kernel8.img"),
        ({"overlays/optee.dtbo": None}, "has no overlays/optee.dtbo"),
        ({"overlays/optee.dtbo": b"no overlay"}, "fdtoverlay failed"),
        ({"config.txt": CONFIG.replace("armstub=", "#").encode()}, "config.txt lacks"),
        ({"config.txt": CONFIG.replace("02000000", "800").encode()}, "armstub8.bin ends at 0xfa0, kernel8.img"),
        ({"config.txt": CONFIG.replace("0c0000", "3c0000").encode()}, "memory ends at 0x3c000000"),
    ],
)
def test_what_is_wrong_with_a_card_is_said(core: MakeCore, files: dict[str, bytes | None], says: str) -> None:
    with pytest.raises(TzmlError) as error:
        core(files).arguments("cortex-a53")
    assert says in str(error.value)


def test_what_is_no_card_is_refused(tmp_path: Path) -> None:
    for content in (b"", bytes(1 << 20)):
        card = tmp_path / "card.img"
        card.write_bytes(content)
        with pytest.raises(TzmlError, match="does not begin with a FAT partition"):
            VideoCore(card, tmp_path / "videocore")


def test_the_start_code_is_what_its_comments_say(tmp_path: Path) -> None:
    source = """
        mrs x1, mpidr_el1
        and x1, x1, #0xff
        cmp x1, #1
        b.ls 1f
    0:  wfi
        b 0b
    1:  cbnz x1, 2f
        mov x0, #0x3f200000
        mov w1, #0x2000
        movk w1, #0x1, lsl #16
        str w1, [x0, #4]
    2:  mov x0, #0
        br x0
    """
    subprocess.run(["aarch64-linux-gnu-as", "-o", tmp_path / "o"], input=source.encode(), check=True)
    subprocess.run(["aarch64-linux-gnu-objcopy", "-O", "binary", tmp_path / "o", tmp_path / "start"], check=True)
    assert start_code(2, mini_uart=True) == (tmp_path / "start").read_bytes()
