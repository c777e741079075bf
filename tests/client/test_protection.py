"""Where the TEE keeps no secret, users are told."""

from __future__ import annotations

from pathlib import Path

import pytest

from tzml.protection import unprotected, unprotected_here


@pytest.mark.parametrize(
    "names",
    [
        b"raspberrypi,3-model-b\0brcm,bcm2837\0",
        b"raspberrypi,3-model-b-plus\0brcm,bcm2837\0",
    ],
)
def test_a_raspberry_pi_3_is_known_by_its_device_tree(tmp_path: Path, names: bytes) -> None:
    (tmp_path / "compatible").write_bytes(names)
    found = unprotected_here(tmp_path / "compatible")
    assert found.startswith("On the Raspberry Pi 3 nothing protects OP-TEE's memory")
    assert found == unprotected("rpi3")
    assert "\n" not in found


@pytest.mark.parametrize("names", [b"linux,dummy-virt\0", b"brcm,bcm2711\0", b""])
def test_of_others_nothing_is_said(tmp_path: Path, names: bytes) -> None:
    (tmp_path / "compatible").write_bytes(names)
    assert unprotected_here(tmp_path / "compatible") == ""
    assert unprotected_here(tmp_path / "missing") == ""
    assert unprotected("qemu") == ""
