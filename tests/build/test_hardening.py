"""OP-TEE and the TA are built so that a fault in their code is harder to use."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from conftest import ROOT
from elftools.elf.constants import P_FLAGS
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection
from tzmldebian import optee

pytestmark = pytest.mark.image

DEPLOY = ROOT / "build/deploy/qemu"
TA = "/usr/lib/optee_armtz/bcfd5ae6-ea1e-4018-a5d9-7673b6e2e51f.ta"


def test_returning_over_a_changed_stack_ends_the_ta(tmp_path: Path) -> None:
    """Core and TAs have stack protectors: in OP-TEE's settings, in those of the kit, and in the core's code."""
    subprocess.run(["tar", "--zstd", "-xf", DEPLOY / "ta-dev-kit.tar.zst", "-C", tmp_path], check=True)
    (kit,) = tmp_path.iterdir()
    settings = optee.settings(kit / "host_include/conf.mk")
    assert settings["CFG_CORE_STACK_PROTECTOR_STRONG"] == settings["CFG_TA_STACK_PROTECTOR_STRONG"] == "y"
    assert "_CFG_TA_STACK_PROTECTOR := y\n" in (kit / "mk/conf.mk").read_text()
    with (DEPLOY / "tee.elf").open("rb") as stream:
        symbols = ELFFile(stream).get_section_by_name(".symtab")
        assert isinstance(symbols, SymbolTableSection)
        assert symbols.get_symbol_by_name("__stack_chk_fail")


def test_nothing_of_the_ta_is_writable_and_executable_and_it_goes_anywhere(tmp_path: Path) -> None:
    path = tmp_path / "ta"
    command = ("/sbin/debugfs", "-R", f"dump {TA} {path}", DEPLOY / "rootfs.ext4")
    subprocess.run(command, check=True, capture_output=True)
    (tmp_path / "ta.elf").write_bytes(path.read_bytes()[path.read_bytes().index(b"\x7fELF") :])
    with (tmp_path / "ta.elf").open("rb") as stream:
        elf = ELFFile(stream)
        loaded = [segment["p_flags"] for segment in elf.iter_segments() if segment["p_type"] == "PT_LOAD"]
        assert elf["e_type"] == "ET_DYN"
    assert len(loaded) >= 2
    assert any(flags & P_FLAGS.PF_X for flags in loaded)
    assert not any(flags & P_FLAGS.PF_X and flags & P_FLAGS.PF_W for flags in loaded)
