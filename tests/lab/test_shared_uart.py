"""One UART for both worlds: OP-TEE's lines are separated from Linux's, however the bytes are cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tzml_lab.consoles.lines import Speaker
from tzml_lab.consoles.shared_uart import SharedConsoleRecord, SharedUart

LINUX = [
    b"[    1.0] optee: probing\r\n",
    b"root@tzml:~# ",
    b"I/O error\r\n",
    b"E",
    b"Debian\r\n",
    b"E/",
    b"T/TC\r\n",
]
OPTEE = [
    b"I/TC: OP-TEE version: 4.10.0\r\n",
    b"E/TA:  hello:12 failed\r\n",
    b"D/LD:  ldelf:1 x\r\n",
    b"F/TC:0 0 a\n",
]


def heard(chunks: list[bytes]) -> dict[Speaker, bytes]:
    uart = SharedUart()
    said = dict.fromkeys(Speaker, b"")
    for chunk in chunks:
        for world, data in uart.split(chunk):
            said[world] += data
    for world, data in uart.release():
        said[world] += data
    return said


@given(st.data(), st.lists(st.sampled_from(LINUX + OPTEE), max_size=12))
def test_every_byte_goes_to_its_world(data: st.DataObject, said: list[bytes]) -> None:
    text = b"".join(said)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    chunks = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    expected = {Speaker.normal: b"".join(s for s in said if s in LINUX)}
    expected[Speaker.secure] = b"".join(s for s in said if s in OPTEE)
    if b"E/TC" not in expected[Speaker.normal] and not any(a in (b"E", b"E/") for a in said):
        assert heard(chunks) == expected
    else:  # Linux's output may look like the start of a line of OP-TEE's, but nothing is lost
        found = heard(chunks)
        assert sorted(found[Speaker.normal] + found[Speaker.secure]) == sorted(text)


@pytest.mark.parametrize("letter", [b"E", b"I/", b"login: D/T"])
def test_what_may_become_optees_is_held_until_nothing_follows(letter: bytes) -> None:
    uart = SharedUart()
    first = b"".join(data for _, data in uart.split(letter))
    assert len(first) < len(letter)
    assert first + b"".join(data for _, data in uart.release()) == letter


def test_optees_line_in_the_middle_of_a_prompt() -> None:
    said = heard([b"root@tzml:~# E/T", b"C:0 0 panic\r\n", b"reboot\r\n"])
    assert said == {Speaker.normal: b"root@tzml:~# reboot\r\n", Speaker.secure: b"E/TC:0 0 panic\r\n"}


STREAM = (
    b"NOTICE:  BL31: v2.12.1(release):tzml\r\n"
    b"I/TC: \r\nI/TC: OP-TEE version: 4.10.0-tzml\r\n"
    b"[    0.000000] Linux version 6.12\r\n"
    b"root@tzml:~# xteE/TC:0 0 Panic at core/kernel.c:1 <main>\r\nst -l 1\r\n"
    b"D/TA:  message of a TA\r\nE/LD:  library not found\r\nI/O error, dev EDI/T\r\ndone\r\n"
)
SECURE = [
    "I/TC: ",
    "I/TC: OP-TEE version: 4.10.0-tzml",
    "E/TC:0 0 Panic at core/kernel.c:1 <main>",
    "D/TA:  message of a TA",
    "E/LD:  library not found",
]
NORMAL = [
    "NOTICE:  BL31: v2.12.1(release):tzml",
    "[    0.000000] Linux version 6.12",
    "root@tzml:~# xtest -l 1",
    "I/O error, dev EDI/T",
    "done",
]


def lines(pieces: list[tuple[Speaker, bytes]], world: Speaker) -> list[str]:
    return b"".join(piece for whose, piece in pieces if whose is world).decode().splitlines()


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 64, len(STREAM)])
def test_lines_go_to_their_world_however_they_are_cut(size: int) -> None:
    uart = SharedUart()
    pieces = [found for at in range(0, len(STREAM), size) for found in uart.split(STREAM[at : at + size])]
    assert lines(pieces, Speaker.secure) == SECURE
    assert lines(pieces, Speaker.normal) == NORMAL


def test_a_prompt_is_not_held_back() -> None:
    assert SharedUart().split(b"root@tzml:~# ") == [(Speaker.normal, b"root@tzml:~# ")]


def test_a_record_of_a_shared_port_knows_both_worlds_stages_and_faults() -> None:
    record = SharedConsoleRecord()
    record.power_on()
    record.feed(Speaker.normal, STREAM)
    assert {"bl31", "optee", "kernel"} <= set(record.progress.reached)
    assert record.progress.fault
    assert record.progress.fault.kind == "optee-panic"
    assert [line.text for line in record.lines(Speaker.normal)] == NORMAL
