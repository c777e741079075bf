"""On a shared port OP-TEE's lines are told from Linux's, wherever they come and however they are cut."""

from __future__ import annotations

import pytest

from tzml_lab.lines import World
from tzml_lab.sharedconsole import SharedConsoleRecord
from tzml_lab.shareduart import SharedUart

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


def lines(pieces: list[tuple[World, bytes]], world: World) -> list[str]:
    return b"".join(piece for whose, piece in pieces if whose is world).decode().splitlines()


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 64, len(STREAM)])
def test_lines_go_to_their_world_however_they_are_cut(size: int) -> None:
    uart = SharedUart()
    pieces = [found for at in range(0, len(STREAM), size) for found in uart.split(STREAM[at : at + size])]
    assert lines(pieces, World.secure) == SECURE
    assert lines(pieces, World.normal) == NORMAL


def test_a_prompt_is_not_held_back() -> None:
    assert SharedUart().split(b"root@tzml:~# ") == [(World.normal, b"root@tzml:~# ")]


def test_a_record_of_a_shared_port_knows_both_worlds_stages_and_faults() -> None:
    record = SharedConsoleRecord()
    record.power_on()
    record.feed(World.normal, STREAM)
    assert {"bl31", "optee", "kernel"} <= set(record.progress.reached)
    assert record.progress.fault
    assert record.progress.fault.kind == "optee-panic"
    assert [line.text for line in record.lines(World.normal)] == NORMAL
