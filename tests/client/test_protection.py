"""Where the TEE keeps no secret, users are told."""

from __future__ import annotations

from pathlib import Path

import pytest

from tzml.protection import unprotected, unprotected_here


@pytest.mark.parametrize(
    ("names", "machine"),
    [
        (b"raspberrypi,3-model-b\0brcm,bcm2837\0", "rpi3"),
        (b"raspberrypi,3-model-b-plus\0brcm,bcm2837\0", "rpi3"),
        (b"hisilicon,hi6220-hikey\0hisilicon,hi6220\0", "hikey"),
    ],
)
def test_a_board_is_known_by_its_device_tree(tmp_path: Path, names: bytes, machine: str) -> None:
    (tmp_path / "compatible").write_bytes(names)
    found = unprotected_here(tmp_path / "compatible")
    assert found == unprotected(machine)
    assert "OP-TEE's memory" in found
    assert "\n" not in found


@pytest.mark.parametrize("names", [b"linux,dummy-virt\0", b"brcm,bcm2711\0", b""])
def test_of_others_nothing_is_said(tmp_path: Path, names: bytes) -> None:
    (tmp_path / "compatible").write_bytes(names)
    assert unprotected_here(tmp_path / "compatible") == ""
    assert unprotected_here(tmp_path / "missing") == ""
    assert unprotected("qemu") == ""
