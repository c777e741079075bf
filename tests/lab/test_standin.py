"""The parts of a stand-in board that implement a format."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tzml_lab.standin import sdmux
from tzml_lab.standin.sparse import MAGIC, is_sparse, write_sparse
from tzml_lab.standin.uart import Noise

BLOCK = 16


def sparse(chunks: list[tuple[int, int, bytes]], blocks: int) -> bytes:
    """A sparse image: kind, blocks and content of each chunk."""
    out = struct.pack("<IHHHHIIII", MAGIC, 1, 0, 28, 12, BLOCK, blocks, len(chunks), 0)
    for kind, count, content in chunks:
        out += struct.pack("<HHII", kind, 0, count, 12 + len(content)) + content
    return out


def test_a_sparse_image_keeps_what_it_skips() -> None:
    image = sparse([(0xCAC1, 1, b"a" * BLOCK), (0xCAC3, 1, b""), (0xCAC2, 2, b"wxyz"), (0xCAC4, 0, b"crc!")], 4)
    assert is_sparse(image)
    out = io.BytesIO(b"-" * 3 * BLOCK)
    write_sparse(image, out)
    assert out.getvalue() == b"a" * BLOCK + b"-" * BLOCK + b"wxyz" * 8


def test_a_sparse_image_that_ends_with_a_hole_is_as_long_as_it_says(tmp_path: Path) -> None:
    with (tmp_path / "partition").open("w+b") as out:
        write_sparse(sparse([(0xCAC1, 1, b"a" * BLOCK), (0xCAC3, 3, b"")], 4), out)
    assert (tmp_path / "partition").stat().st_size == 4 * BLOCK


@given(st.integers(0, 28 + 12 + BLOCK + 11))
def test_a_sparse_image_that_is_cut_is_refused(size: int) -> None:
    image = sparse([(0xCAC1, 1, b"a" * BLOCK), (0xCAC2, 1, b"wxyz")], 4)
    with pytest.raises((ValueError, struct.error)):
        write_sparse(image[:size], io.BytesIO())


def test_noise_is_as_much_as_was_asked_for() -> None:
    data = bytes(range(256)) * 40
    assert Noise()(data) == data
    lost = len(data) - len(Noise(lost=100)(data))
    assert 0.05 < lost / len(data) < 0.15
    garbled = Noise(garbled=100)(data)
    assert len(garbled) == len(data)
    assert 0.05 < sum(a != b for a, b in zip(data, garbled, strict=True)) / len(data) < 0.15


@pytest.mark.parametrize(
    ("output", "direction", "where"),
    [(0xFF, 0xFF, "dut"), (0x0B, 0xF0, "off"), (0x0C, 0xF0, "dut"), (0x00, 0xF0, "host")],
    ids=["power-on", "off", "dut", "host"],
)
def test_the_mux_is_where_its_pins_say(output: int, direction: int, where: str) -> None:
    assert sdmux.mode(bytes([0, output, 0, direction])) == where
