"""The HiKey's l-loader.bin: upstream's first 2 KiB, this build's BL2 behind them, and entries that say so."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest
from tzmldebian import hikey

from .conftest import Says

START = 0xF9800800


def entry(name: bytes, first: int, blocks: int) -> bytes:
    return struct.pack("<8s8sIII", b"ENTRYHDR", name, first, blocks, 1)


def upstreams(*entries: bytes) -> bytes:
    """An l-loader.bin as upstream's tool makes it, with another code and BL1."""
    head = struct.pack("<I16sII", 0xEA000000, b"BOOTMAGICNUMBER!", START, START + 0x5A00)
    head += b"".join(entries or (entry(b"loader", 4, 1), entry(b"bl1", 8, 41), entry(b"ns_bl1u", 192, 78)))
    return head.ljust(0x180, b"\0") + b"code".ljust(0x680, b"\0") + b"somebody's BL1" * 1500


def entries(image: bytes) -> list[tuple[bytes, int, int]]:
    """Name, first block and blocks of each, as the boot ROM reads them."""
    found = []
    place = 28
    while image[place : place + 8] == b"ENTRYHDR":
        _, name, first, blocks, _ = struct.unpack_from("<8s8sIII", image, place)
        found.append((name.rstrip(b"\0"), first, blocks))
        place += 28
    return found


def test_this_builds_bl2_follows_upstreams_first_2_kib() -> None:
    bl2 = b"BL2" * 1000
    image = hikey.l_loader(upstreams(), bl2)
    assert image[:20] == upstreams()[:20]
    assert image[0x180:2048] == upstreams()[0x180:2048]
    assert image[2048 : 2048 + len(bl2)] == bl2
    assert len(image) % 512 == 0
    assert b"somebody" not in image


def test_the_boot_rom_is_told_what_is_there() -> None:
    image = hikey.l_loader(upstreams(), b"B" * 1025)
    assert entries(image) == [(b"loader", 4, 1), (b"bl1", 8, 3)]
    assert struct.unpack_from("<II", image, 20) == (START, START + len(image))


def test_it_can_be_made_of_its_own_result() -> None:
    once = hikey.l_loader(upstreams(), b"old")
    assert hikey.l_loader(once, b"new") == hikey.l_loader(upstreams(), b"new")


@pytest.mark.parametrize("given", [b"", b"fip" * 1000, upstreams(b"nothing")], ids=["empty", "other", "no entries"])
def test_another_file_is_refused(given: bytes) -> None:
    with pytest.raises(ValueError, match=r"not an l-loader\.bin"):
        hikey.l_loader(given, b"BL2")


def test_a_bl2_that_is_too_large_for_its_memory_is_refused() -> None:
    with pytest.raises(ValueError, match="BL2 has 192513 bytes, but only 192512 fit"):
        hikey.l_loader(upstreams(), bytes(192513))


def test_the_error_names_the_users_file(d: Any, tmp_path: Path, one_error: Says) -> None:
    (tmp_path / "usr/share/trusted-firmware-a").mkdir(parents=True)
    (tmp_path / "usr/share/trusted-firmware-a/bl2.bin").write_bytes(b"BL2")
    (tmp_path / "l-loader.bin").write_bytes(b"a web page that says 404")
    for name, value in {"B": tmp_path, "STAGING_DIR_HOST": tmp_path, "VENDOR_FILES_DIR": tmp_path}.items():
        d.setVar(name, str(value))
    d.setVar("VENDOR_FILES", "l-loader.bin")
    with one_error(f"{tmp_path}/l-loader.bin", "not an l-loader.bin"):
        hikey.assemble(d)
