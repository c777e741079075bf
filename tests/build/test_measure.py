"""The build's record of what OP-TEE measures; lab/test_attestation.py compares it with what a device measured."""

from __future__ import annotations

import hashlib
import io
import struct
from pathlib import Path

import pytest
from tzmldebian import measure

PAGE = 4096
READ, WRITE, CODE = 4, 6, 5


def elf(*segments: tuple[int, int, bytes]) -> bytes:
    """A shared object for AArch64 with these load segments: flags, place in the file, content."""
    header = struct.pack(
        "<16sHHIQQQIHHHHHH", b"\x7fELF\2\1\1", 3, 183, 1, 0, 64, 0, 0, 64, 56, len(segments), 64, 0, 0
    )
    rows = [
        struct.pack("<IIQQQQQQ", 1, flags, place, place, place, len(content), len(content), PAGE)
        for flags, place, content in segments
    ]
    file = io.BytesIO(header + b"".join(rows))
    for _, place, content in segments:
        file.seek(place)
        file.write(content)
    return file.getvalue()


def hashed(*regions: bytes) -> str:
    return hashlib.sha256(b"".join(regions)).hexdigest()


def test_a_ta_measures_its_first_page_and_what_it_does_not_write_in_whole_pages() -> None:
    code, constants = b"\xc0" * (PAGE + 1), b"\xc1" * 3
    data = elf((CODE, PAGE, code), (READ, 3 * PAGE, constants), (WRITE, 4 * PAGE, b"data"))
    first = data[:PAGE].ljust(PAGE, b"\0")
    small = sorted([first, constants.ljust(PAGE, b"\0")])
    assert measure.ta(data) == hashed(*small, code.ljust(2 * PAGE, b"\0"))


def test_the_order_is_that_of_size_and_content_and_not_of_the_file() -> None:
    one, two = (bytes([byte]) * 2 * PAGE for byte in (9, 1))
    data = elf((CODE, PAGE, one), (READ, 3 * PAGE, two))
    assert measure.ta(data) == hashed(data[:PAGE], two, one)


def test_another_byte_measures_otherwise() -> None:
    data = elf((CODE, PAGE, b"code"))
    assert measure.ta(data) != measure.ta(data[:-1] + b"x")


@pytest.mark.parametrize(
    "segments",
    [((CODE, 512, b"code"),), ((CODE, PAGE, b"code"), (READ, PAGE + 64, b"constants"))],
    ids=["in the first page", "two in one page"],
)
def test_a_ta_that_is_linked_in_another_way_is_refused(segments: tuple[tuple[int, int, bytes], ...]) -> None:
    with pytest.raises(measure.MeasureError, match="shares a page"):
        measure.ta(elf(*segments))


def test_a_core_without_symbols_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tee.elf"
    path.write_bytes(elf((CODE, PAGE, b"code")))
    with pytest.raises(measure.MeasureError, match="__text_start"):
        measure.core(path)
