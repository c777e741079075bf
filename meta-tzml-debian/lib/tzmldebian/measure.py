# SPDX-License-Identifier: Apache-2.0
"""The hashes with which OP-TEE's attestation answers for this build, computed without a device (docs/bundle.md)."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

from elftools.elf.elffile import ELFFile

PAGE = 4096
WRITABLE = 2


class MeasureError(ValueError):
    """The file is not as OP-TEE's loader maps it, as far as it is known here."""


def core(tee_elf: Path) -> str:
    """SHA-256 of OP-TEE's code and constants in memory (HASH_TEE_MEMORY), in hexadecimal. Raises MeasureError.

    The order is that of core/pta/attestation.c: the code without what is patched in it, then the constants.
    """
    digest = hashlib.sha256()
    with tee_elf.open("rb") as stream:
        elf = ELFFile(stream)
        for start, end in (("__text_start", "__text_data_start"), ("__text_data_end", "__text_end")):
            digest.update(_between(elf, _address(elf, start), _address(elf, end)))
        for name in (".text_init", ".text_pageable", ".rodata", ".rodata_init", ".rodata_pageable"):
            section = elf.get_section_by_name(name)
            if section:
                digest.update(section.data())
    return digest.hexdigest()


def _address(elf: ELFFile, name: str) -> int:
    symbols = elf.get_section_by_name(".symtab")
    found = symbols and symbols.get_symbol_by_name(name)
    if not found:
        raise MeasureError(f"there is no symbol {name}")
    return int(found[0]["st_value"])


def _between(elf: ELFFile, start: int, end: int) -> bytes:
    for segment in elf.iter_segments("PT_LOAD"):
        first = segment["p_vaddr"]
        if first <= start <= end <= first + segment["p_filesz"]:
            return bytes(segment.data()[start - first : end - first])
    if start == end:
        return b""
    raise MeasureError(f"no segment has {start:#x} to {end:#x}")


def ta(data: bytes) -> str:
    """SHA-256 of a TA's read-only memory (HASH_TA_MEMORY), in hexadecimal, from its stripped ELF.

    OP-TEE's loader maps the first page of the file, and each load segment. The attestation takes what is mapped
    read-only, the smallest first, and of equal sizes the one whose bytes come first. Raises MeasureError.
    """
    regions = [_pages(data[:PAGE])]
    last = PAGE  # a TA's segments do not overlap its first page, nor each other's pages
    for segment in ELFFile(io.BytesIO(data)).iter_segments("PT_LOAD"):
        start, size = segment["p_offset"], segment["p_filesz"]
        if segment["p_flags"] & WRITABLE:
            continue
        if start % PAGE or start < last or size != segment["p_memsz"] or start + size > len(data):
            raise MeasureError(f"the segment at {start:#x} shares a page with another, or is not all in the file")
        regions.append(_pages(data[start : start + size]))
        last = start + size
    return hashlib.sha256(b"".join(sorted(regions, key=lambda region: (len(region), region)))).hexdigest()


def _pages(data: bytes) -> bytes:
    return data.ljust(-(-len(data) // PAGE) * PAGE, b"\0")
