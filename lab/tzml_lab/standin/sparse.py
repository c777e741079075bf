"""Android's sparse images. fastboot sends them for files that are too large for one download.

The format is that of AOSP's system/core/libsparse/sparse_format.h: a header of 28 bytes, then chunks with
headers of 12; all little-endian.
"""

from __future__ import annotations

import struct
from typing import BinaryIO

_HEADER = struct.Struct("<IHHHHIIII")
_CHUNK = struct.Struct("<HHII")
MAGIC = 0xED26FF3A
_RAW, _FILL, _SKIP, _CRC = 0xCAC1, 0xCAC2, 0xCAC3, 0xCAC4


def is_sparse(data: bytes) -> bool:
    """Whether it is a sparse image."""
    return len(data) >= _HEADER.size and _HEADER.unpack_from(data)[0] == MAGIC


def write_sparse(data: bytes, out: BinaryIO) -> None:
    """Write the blocks of a sparse image, and leave all others unchanged. Raises ValueError."""
    _, major, _, header_size, chunk_header_size, block, blocks, chunks, _ = _HEADER.unpack_from(data)
    if major != 1 or header_size < _HEADER.size or chunk_header_size < _CHUNK.size:
        raise ValueError("a sparse image of an unknown version")
    position, at = header_size, 0
    for _ in range(chunks):
        if position + chunk_header_size > len(data):
            raise ValueError("the sparse image ends in the middle of a chunk")
        kind, _, count, size = _CHUNK.unpack_from(data, position)
        content = memoryview(data)[position + chunk_header_size : position + size]
        if kind == _RAW and len(content) == count * block:
            out.seek(at * block)
            out.write(content)
        elif kind == _FILL and len(content) == 4:
            out.seek(at * block)
            out.write(bytes(content) * (count * block // 4))
        elif kind not in (_SKIP, _CRC):
            raise ValueError(f"a chunk of kind {kind:#x} with {len(content)} bytes")
        position += size
        at += 0 if kind == _CRC else count
    if at > blocks:
        raise ValueError(f"{at} blocks in an image of {blocks}")
    out.truncate(max(at * block, out.seek(0, 2)))
