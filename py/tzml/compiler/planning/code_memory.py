"""Secure memory that code takes: the TA's own, and the kernel library's."""

from __future__ import annotations

import struct

from tzml.bundle.format import PAGE

TA_MEMORY = 296 << 10
"""What OP-TEE takes for a session of the TA before it has a model, in bytes and rounded up.

Its code and constants, its data with the heap (TA_DATA_SIZE), its stack (TA_STACK_SIZE), and the loader ldelf
with heap and stack: 284 to 288 KiB with GCC 12. While ldelf loads a kernel library, it takes a page more, which is
the most that a small model ever takes. lab/test_networks.py and lab/test_parts.py compare it with OP-TEE's count.
"""

_PT_LOAD = 1
_HEADERS = struct.Struct("<32xQ14xHH")  # of an ELF64 file: e_phoff, e_phentsize, e_phnum
_PROGRAM_HEADER = struct.Struct("<I12xQ16xQ")  # p_type, p_vaddr, p_memsz


def code_memory(library: bytes) -> int:
    """Bytes of secure memory for the TA and for the kernel library, an ELF file, once it is mapped."""
    offset, size, count = _HEADERS.unpack_from(library)
    pages = 0
    for i in range(count):
        kind, address, length = _PROGRAM_HEADER.unpack_from(library, offset + i * size)
        if kind == _PT_LOAD:
            pages += -(-(address + length) // PAGE) - address // PAGE
    return TA_MEMORY + pages * PAGE
