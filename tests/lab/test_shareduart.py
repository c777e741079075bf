"""One UART for both worlds is taken apart as it came together."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tzml_lab.lines import World
from tzml_lab.shareduart import SharedUart

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


def heard(chunks: list[bytes]) -> dict[World, bytes]:
    uart = SharedUart()
    said = dict.fromkeys(World, b"")
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
    expected = {World.normal: b"".join(s for s in said if s in LINUX)}
    expected[World.secure] = b"".join(s for s in said if s in OPTEE)
    if b"E/TC" not in expected[World.normal] and not any(a in (b"E", b"E/") for a in said):
        assert heard(chunks) == expected
    else:  # what Linux says may look like a start: but nothing is lost
        found = heard(chunks)
        assert sorted(found[World.normal] + found[World.secure]) == sorted(text)


@pytest.mark.parametrize("letter", [b"E", b"I/", b"login: D/T"])
def test_what_may_become_optees_is_held_until_nothing_follows(letter: bytes) -> None:
    uart = SharedUart()
    first = b"".join(data for _, data in uart.split(letter))
    assert len(first) < len(letter)
    assert first + b"".join(data for _, data in uart.release()) == letter


def test_optees_line_in_the_middle_of_a_prompt() -> None:
    said = heard([b"root@tzml:~# E/T", b"C:0 0 panic\r\n", b"reboot\r\n"])
    assert said == {World.normal: b"root@tzml:~# reboot\r\n", World.secure: b"E/TC:0 0 panic\r\n"}
