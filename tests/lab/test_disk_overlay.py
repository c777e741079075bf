from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from tzml.errors import TzmlError
from tzml_lab.emulation.disk_overlay import DiskOverlay


@pytest.fixture
def overlay(tmp_path: Path) -> DiskOverlay:
    base = tmp_path / "rootfs.ext4"
    base.write_bytes(bytes(1 << 20))
    return DiskOverlay(tmp_path / "run" / "rootfs.qcow2", base, "ab" * 32)


def write(path: Path) -> None:
    subprocess.run(["qemu-io", "-c", "write -P 7 0 4096", str(path)], check=True, capture_output=True)


def has_been_written(path: Path) -> bool:
    read = subprocess.run(["qemu-io", "-r", "-c", "read -P 7 0 4096", str(path)], capture_output=True, text=True)
    return "verification failed" not in read.stdout


def test_the_image_under_it_is_never_written(overlay: DiskOverlay) -> None:
    overlay.prepare()
    write(overlay.path)
    assert has_been_written(overlay.path)
    assert overlay.base.read_bytes() == bytes(1 << 20)


def test_it_survives_until_it_is_discarded(overlay: DiskOverlay) -> None:
    overlay.prepare()
    write(overlay.path)
    overlay.prepare()
    assert has_been_written(overlay.path)
    overlay.discard()
    assert not overlay.usable()
    overlay.prepare()
    assert not has_been_written(overlay.path)


def test_it_is_discarded_with_another_image(overlay: DiskOverlay) -> None:
    overlay.prepare()
    write(overlay.path)
    newer = replace(overlay, digest="cd" * 32)
    assert not newer.usable()
    newer.prepare()
    assert not has_been_written(newer.path)


@pytest.mark.parametrize("stamp", ["", "{", "[]", "null"])
def test_a_damaged_stamp_costs_the_overlay_only(overlay: DiskOverlay, stamp: str) -> None:
    overlay.prepare()
    overlay.path.with_suffix(".json").write_text(stamp)
    assert not overlay.usable()
    overlay.prepare()
    assert overlay.usable()


def test_no_qemu_img(overlay: DiskOverlay, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(TzmlError, match="qemu-img is not installed; sudo apt-get install qemu-utils"):
        overlay.prepare()


def test_no_base(overlay: DiskOverlay) -> None:
    overlay.base.unlink()
    with pytest.raises(TzmlError, match=r"qemu-img failed: .*No such file"):
        overlay.prepare()
