"""An emulated device is its secure flash: it stays the same one when its firmware changes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tzml.errors import TzmlError
from tzml_lab.emulation import secure_flash
from tzml_lab.emulation.secure_flash import DEVICE, KEY_SIZE, MAGIC, SIZE, SecureFlash


@pytest.fixture
def flash(tmp_path: Path) -> SecureFlash:
    firmware = tmp_path / "firmware.bin"
    firmware.write_bytes(b"firmware 1")
    return SecureFlash(tmp_path / "run" / "secure.flash", firmware)


def device_of(flash: SecureFlash) -> bytes:
    return flash.path.read_bytes()[DEVICE:]


def test_each_device_has_a_key_of_its_own_that_only_this_user_reads(flash: SecureFlash) -> None:
    other = replace(flash, path=flash.path.with_name("other.flash"))
    flash.prepare()
    other.prepare()
    keys = [device_of(device).removeprefix(MAGIC)[:KEY_SIZE] for device in (flash, other)]
    assert keys[0] != keys[1]
    assert flash.path.stat().st_mode & 0o777 == 0o600
    assert flash.path.stat().st_size == SIZE
    assert flash.path.stat().st_blocks * 512 < 2 << 20, "a file with holes"
    assert set(device_of(flash)[len(MAGIC) + KEY_SIZE :]) == {0xFF}, "the counter begins erased"


def test_new_firmware_leaves_the_device_what_it_is(flash: SecureFlash) -> None:
    flash.prepare()
    before = device_of(flash)
    flash.firmware.write_bytes(b"firmware 2")
    flash.prepare()
    assert device_of(flash) == before
    assert flash.path.read_bytes().startswith(b"firmware 2")


def test_what_is_no_flash_becomes_one(flash: SecureFlash) -> None:
    flash.path.parent.mkdir()
    flash.path.write_bytes(b"cut off")
    flash.prepare()
    assert device_of(flash).startswith(MAGIC)


def test_firmware_that_would_overwrite_the_device_is_refused(flash: SecureFlash) -> None:
    with flash.firmware.open("wb") as firmware:
        firmware.truncate(DEVICE + 1)
    with pytest.raises(TzmlError, match=r"firmware\.bin is larger than the flash: 66,322,432 bytes are for it"):
        flash.prepare()
    assert not flash.path.exists()


def test_optee_and_the_lab_agree_on_the_flash() -> None:
    platform = Path(__file__).parents[2] / "meta-tzml-debian/recipes-security/optee-os/files/platform"
    assert f"FLASH_SECTOR_SIZE {secure_flash.SECTOR:#x}" in " ".join((platform / "flash.h").read_text().split())
    words = [int.from_bytes(MAGIC[i : i + 4], "little") for i in (0, 4)]
    source = " ".join((platform / "huk_flash.c").read_text().split())
    assert all(f"MAGIC_{i} {word:#x}" in source for i, word in enumerate(words))
