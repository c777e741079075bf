"""The emulated VideoCore follows config.txt, or names the line that it cannot follow."""

from __future__ import annotations

import re

import pytest

from tzml.errors import TzmlError
from tzml_lab.emulation import config_txt
from tzml_lab.environment import ROOT


def test_the_images_own_file_is_followed() -> None:
    text = (ROOT / "meta-tzml-debian/recipes-bsp/rpi-config/files/config.txt").read_text()
    config = config_txt.parse(re.sub(r"@\w+@", "0x1000000", text))
    assert config.armstub == "armstub8.bin"
    assert config.dtoverlay == ["tzml-optee"]
    assert config.initramfs == ("initramfs.cpio", 0x1000000)
    assert config.tree == "bcm2837-rpi-3-b.dtb"
    assert config.enable_uart


def test_what_is_not_said_is_the_videocores_default() -> None:
    config = config_txt.parse("")
    assert (config.kernel, config.kernel_address, config.gpu_mem) == ("kernel8.img", 0x80000, 76)
    assert config.tree == "bcm2710-rpi-3-b.dtb"


def test_the_last_word_counts() -> None:
    assert config_txt.parse("gpu_mem=16\ngpu_mem=0x20\n").gpu_mem == 32


def test_filters_choose_the_model() -> None:
    text = "[pi4]\nkernel=four\n[pi3]\nkernel=three\n[none]\nkernel=none\nmisspelt=1\n[all]\ngpu_mem=64\n"
    config = config_txt.parse(text)
    assert (config.kernel, config.gpu_mem) == ("three", 64)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("kernal=Image", "unknown setting kernal"),
        ("kernel_address=2M", "kernel_address is '2M'"),
        ("arm_64bit=yes", "arm_64bit is 'yes'; it must be 0 or 1"),
        ("initramfs initramfs.cpio followkernel", "initramfs is 'followkernel'"),
        ("dtoverlay=disable-bt,x=1", "parameters of overlays"),
        ("armstub", "not of the form name=value"),
        ("[pi9]", "unknown filter [pi9]"),
    ],
)
def test_what_cannot_be_followed_is_an_error_with_its_line(line: str, says: str) -> None:
    with pytest.raises(TzmlError) as error:
        config_txt.parse(f"# comment\n\n{line}\n")
    assert "config.txt, line 3: " in str(error.value)
    assert says in str(error.value)
    assert "\n" not in str(error.value)
