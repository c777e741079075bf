"""A memory section: sizes of the kinds of memory, and the places of chunks and pieces of state in it."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from tzml.bundle.content import Chunk, Memory, UpdateNoise, Worlds
from tzml.bundle.format import ALIGNMENT, MAX_DEVIATION, MAX_MEMORY, MAX_PLAN_SIZE, MAX_SECTIONS, require

_MAGIC = b"MEMO"
_HEADER = struct.Struct("<4s5IQQQQII")
_CHUNK = struct.Struct("<QQ")


@dataclass(frozen=True)
class First:
    """The index of a memory's first weights section, and of its first state section."""

    chunk: int = 0
    piece: int = 0

    def after(self, memory: Memory) -> First:
        """Where the next memory goes on."""
        return First(self.chunk + len(memory.chunks), self.piece + len(memory.pieces))


def encode_memory(memory: Memory, first: First) -> bytes:
    """The bytes of the section. Raises BundleError for a memory that no device would take."""
    body = b"".join(_CHUNK.pack(chunk.size, chunk.offset) for chunk in (*memory.chunks, *memory.pieces))
    noise = memory.noise or UpdateNoise(0, 0, 0)
    header = _HEADER.pack(
        _MAGIC, _HEADER.size + len(body), first.chunk, len(memory.chunks), first.piece, len(memory.pieces),
        noise.sums, memory.arena_size, memory.weights_size, memory.state_size, noise.count, noise.deviation,
    )  # fmt: skip
    decode_memory(header + body, memory.worlds, first)
    return header + body


def decode_memory(data: bytes, worlds: Worlds, first: First) -> Memory:
    """Read the section, with the checks of runtime/layout.c.

    `worlds` are its row's, and `first` is where it must begin among the weights and state sections.
    Raises BundleError.
    """
    _check(_HEADER.size <= len(data), f"only {len(data)} bytes")
    magic, size, first_chunk, chunks, first_piece, pieces, sums, *sizes, count, deviation = _HEADER.unpack_from(
        data
    )
    arena_size, weights_size, state_size = sizes
    _check(magic == _MAGIC and size == len(data), "not a memory section")
    require(max(sizes) <= MAX_MEMORY, "LIMIT", f"memory: arena, weights and state of {sizes} bytes")
    require(max(chunks, pieces) <= MAX_SECTIONS, "LIMIT", f"memory: {chunks} chunks and {pieces} pieces of state")
    _check(_HEADER.size + (chunks + pieces) * _CHUNK.size == size <= MAX_PLAN_SIZE, "the tables do not fill it")
    _check(arena_size > 0 and not any(n % ALIGNMENT for n in sizes), f"arena, weights and state of {sizes} bytes")
    _check((first_chunk, first_piece) == (first.chunk, first.piece), "its first chunk or piece is another")

    if deviation:
        sound = sums > 0 and sums % ALIGNMENT == 0 and count > 0 and sums + 4 * count <= state_size
        _check(sound and deviation <= MAX_DEVIATION, f"noise of {deviation} to {count} sums at {sums}")
    else:
        _check(not sums and not count, "sums without noise")
    entries = [Chunk(*fields) for fields in _CHUNK.iter_unpack(data[_HEADER.size :])]
    memory = Memory(
        arena_size, weights_size, state_size, tuple(entries[:chunks]), tuple(entries[chunks:]), worlds,
        UpdateNoise(sums, count, deviation) if deviation else None,
    )  # fmt: skip
    for number, chunk in enumerate(memory.chunks):
        _check(_in_range(chunk, weights_size), f"chunk {number} is out of range")
    end = 0
    for number, piece in enumerate(memory.pieces):
        _check(_in_range(piece, state_size) and piece.offset >= end, f"piece {number} of the state is out of place")
        end = piece.offset + piece.size
    return memory


def _in_range(chunk: Chunk, limit: int) -> bool:
    return chunk.size > 0 and chunk.offset + chunk.size <= limit and chunk.offset % ALIGNMENT == 0


def _check(condition: bool, what: str) -> None:
    require(condition, "PLAN_MALFORMED", f"memory: {what}")


assert _HEADER.size == 64
assert _CHUNK.size == 16
