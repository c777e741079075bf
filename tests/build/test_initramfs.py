"""The initramfs: an archive that cpio and the kernel read, with the modules in the order to load them."""

from __future__ import annotations

import lzma
import stat
import subprocess
from pathlib import Path

import pytest
from tzmldebian.initramfs import Entry, Modules, archive

from .conftest import Says

ENTRIES = [
    Entry("bin", stat.S_IFDIR | 0o755),
    Entry("bin/busybox", stat.S_IFREG | 0o755, b"\x7fELF" * 5 + b"x"),
    Entry("bin/sh", stat.S_IFLNK | 0o777, b"busybox"),
    Entry("modules", stat.S_IFREG | 0o644, b""),
]


def test_cpio_reads_the_archive(tmp_path: Path) -> None:
    command = ["cpio", "--extract", "--quiet", "--no-absolute-filenames"]
    subprocess.run(command, input=archive(ENTRIES, 1), cwd=tmp_path, check=True)
    assert tmp_path.joinpath("bin/busybox").read_bytes() == ENTRIES[1].data
    assert tmp_path.joinpath("bin/busybox").stat().st_mode & 0o777 == 0o755
    assert tmp_path.joinpath("bin/sh").readlink() == Path("busybox")
    assert tmp_path.joinpath("modules").read_bytes() == b""


def test_the_same_files_give_the_same_archive() -> None:
    assert archive(ENTRIES, 1) == archive(ENTRIES, 1)
    assert archive(ENTRIES, 1) != archive(ENTRIES, 2)


@pytest.fixture
def modules(tmp_path: Path) -> Modules:
    texts = {
        "modules.dep": "fs/ext4.ko.xz: lib/crc16.ko.xz fs/jbd2.ko.xz\nlib/crc16.ko.xz:\nfs/jbd2.ko.xz:\n"
        "drivers/virtio-blk.ko: drivers/virtio.ko\ndrivers/virtio.ko:\ncrypto/crc32c.ko:\n",
        "modules.builtin": "kernel/drivers/virtio_pci.ko\n",
        "modules.alias": "alias crypto-crc32c crc32c\nalias pci:v00 bc sc* virtio_blk\n",
        "modules.softdep": "softdep ext4 pre: crypto-crc32c post: nothing\n",
    }
    for name, text in texts.items():
        tmp_path.joinpath(name).write_text(text)
    tmp_path.joinpath("fs").mkdir()
    tmp_path.joinpath("fs/ext4.ko.xz").write_bytes(lzma.compress(b"ext4"))
    return Modules(tmp_path)


def test_a_module_comes_after_what_it_needs(modules: Modules) -> None:
    order = modules.closure(["virtio-blk", "ext4"])
    assert order == [
        "drivers/virtio.ko",
        "drivers/virtio-blk.ko",
        "crypto/crc32c.ko",  # a soft dependency, by its alias
        "fs/jbd2.ko.xz",
        "lib/crc16.ko.xz",
        "fs/ext4.ko.xz",
    ]


def test_what_is_built_in_is_not_loaded(modules: Modules) -> None:
    assert modules.closure(["virtio_pci"]) == []


def test_modules_are_stored_uncompressed(modules: Modules) -> None:
    assert modules.read("fs/ext4.ko.xz") == b"ext4"


def test_a_module_the_kernel_lacks_is_named_with_those_close(modules: Modules, one_error: Says) -> None:
    with one_error("INITRAMFS_MODULES", "the kernel has no module virtio_blq", "virtio_blk"):
        modules.closure(["virtio_blq"])
