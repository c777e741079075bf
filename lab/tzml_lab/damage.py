"""Firmware that is broken on purpose, to see what the lab says about it."""

from __future__ import annotations

from pathlib import Path

from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

# Runs after OP-TEE has its console, and before it hands over to the normal world
_LATE_FUNCTION = "boot_init_primary_final"


def without_optee_init(firmware: bytes, tee_elf: Path) -> bytes:
    """The firmware with zeros, which are no instructions, in place of OP-TEE's last function of its start.

    Args:
        firmware: what the machine boots, with OP-TEE in it
        tee_elf: the same OP-TEE as an ELF file with symbols

    """
    with tee_elf.open("rb") as stream:
        elf = ELFFile(stream)
        symbols = elf.get_section_by_name(".symtab")
        found = symbols.get_symbol_by_name(_LATE_FUNCTION) if isinstance(symbols, SymbolTableSection) else None
        if not found:
            raise ValueError(f"{tee_elf} has no {_LATE_FUNCTION}")
        symbol = found[0]
        section = elf.get_section(symbol["st_shndx"])
        start, size = symbol["st_value"] - section["sh_addr"], symbol["st_size"]
        code = section.data()[start : start + size]
    if firmware.count(code) != 1:
        raise ValueError(f"{tee_elf} is not the OP-TEE in the firmware: {_LATE_FUNCTION} differs")
    return firmware.replace(code, bytes(size))
