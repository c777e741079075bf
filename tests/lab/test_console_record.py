from __future__ import annotations

import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest

from tzml_lab.consoles.boot_progress import Fault
from tzml_lab.consoles.lines import Speaker
from tzml_lab.consoles.pumps import ConsolePump
from tzml_lab.consoles.record import ConsoleRecord
from tzml_lab.failures import FailureClass, fault_of

LONG_AGO = -10.0

Worlds = dict[Speaker, tuple[socket.socket, socket.socket]]


@pytest.fixture
def record(tmp_path: Path) -> ConsoleRecord:
    record = ConsoleRecord(tmp_path)
    record.power_on()
    return record


def texts(record: ConsoleRecord, world: Speaker = Speaker.normal) -> list[str]:
    return [line.text for line in record.lines(world)]


def test_lines_are_joined_from_pieces(record: ConsoleRecord) -> None:
    for piece in (b"one\r", b"\ntw", b"o\nthr", b"ee"):
        record.feed(Speaker.normal, piece)
    assert texts(record) == ["one", "two", "three"]
    assert texts(record, Speaker.secure) == []


def test_both_worlds_have_one_clock(record: ConsoleRecord, tmp_path: Path) -> None:
    record.feed(Speaker.normal, b"first\n")
    record.feed(Speaker.secure, b"second\n")
    record.feed(Speaker.normal, b"third\n")
    record.close()
    logged = [line.split(maxsplit=2) for line in (tmp_path / "consoles.log").read_text().splitlines()]
    assert [(world, text) for _, world, text in logged[1:]] == [("N", "first"), ("S", "second"), ("N", "third")]
    seconds = [float(line[0]) for line in logged[1:]]
    assert seconds == sorted(seconds)
    assert (tmp_path / "console-secure.log").read_text().splitlines()[1].endswith(" S second")


def test_a_line_has_the_time_of_its_first_byte(record: ConsoleRecord) -> None:
    record.feed(Speaker.normal, b"slo")
    time.sleep(0.2)
    record.feed(Speaker.normal, b"w\nnext\n")
    slow, after = record.lines(Speaker.normal)
    assert after.seconds - slow.seconds >= 0.2


def test_power_on_starts_anew(record: ConsoleRecord, tmp_path: Path) -> None:
    record.feed(Speaker.normal, b"NOTICE:  BL1: v2.12\nunfinished")
    record.power_on()
    assert record.lines(Speaker.normal) == []
    assert record.progress.reached == {}
    record.close()
    log = (tmp_path / "console-normal.log").read_text()
    assert [line.split(",")[0] for line in log.splitlines() if line.startswith("#")] == [
        "# power-on 1",
        "# power-on 2",
    ]
    assert "unfinished" in log


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"[\x1b[0;32m  OK  \x1b[0m] Started", "[  OK  ] Started"),
        (b"\x1b]104\x1b\\\x1b[?2004hroot@tzml:~# ", "root@tzml:~#"),
        (b"\x1b]0;title\x07text", "text"),
        (b"autoboot:  2 \x08\x08\x08 1 \x08\x08\x08 0 ", "autoboot:  2  1  0"),
        (b"\x1b7\x1b[r\x1b[999;999H\x1b[6n\x1b8end", "end"),
        (b"caf\xc3\xa9 \xff", "café \ufffd"),
    ],
)
def test_control_characters_are_no_text(record: ConsoleRecord, raw: bytes, text: str) -> None:
    record.feed(Speaker.normal, raw)
    assert texts(record) == [text]


def test_bytes_are_taken_once(record: ConsoleRecord) -> None:
    record.feed(Speaker.normal, b"abcdef")
    assert record.take(Speaker.normal, 4, 1) == b"abcd"
    assert record.take(Speaker.normal, 4, 1) == b"ef"
    assert record.take(Speaker.normal, 4, 0.01) == b""


def test_taking_waits_for_bytes(record: ConsoleRecord) -> None:
    threading.Timer(0.2, record.feed, [Speaker.secure, b"late"]).start()
    assert record.take(Speaker.secure, 100, 10) == b"late"


def test_a_fault_ends_waiting(record: ConsoleRecord) -> None:
    record.report(Fault("machine-ended", "QEMU ended", LONG_AGO))
    start = time.monotonic()
    assert record.take(Speaker.normal, 100, 30) == b""
    assert time.monotonic() - start < 5


def test_a_panic_is_reported_with_all_that_it_says(record: ConsoleRecord) -> None:
    record.feed(Speaker.normal, b"[ 1.0] Kernel panic - not syncing: test\n")
    assert record.fault is None  # more is to come
    record.feed(Speaker.normal, b"[ 1.1] ---[ end ]---\n")
    assert record.wait(lambda: record.fault is not None, 10)
    error = fault_of(record)
    assert error
    assert error.kind is FailureClass.boot  # before the login prompt
    assert error.summary.startswith("boot failure: Linux panicked: [ 1.0] Kernel panic")
    assert "---[ end ]---" in error.consoles
    assert "(nothing)" in error.consoles  # the secure world's


@pytest.mark.parametrize(
    ("kind", "said", "expected"),
    [
        ("machine-ended", b"", FailureClass.infrastructure),
        ("kernel-panic", b"", FailureClass.boot),
        ("kernel-panic", b"tzml login: ", FailureClass.test),
    ],
)
def test_class_of_a_fault(record: ConsoleRecord, kind: str, said: bytes, expected: FailureClass) -> None:
    record.feed(Speaker.normal, said)
    record.report(Fault(kind, "what", LONG_AGO))
    error = fault_of(record)
    assert error
    assert error.kind is expected


@pytest.fixture
def worlds() -> Worlds:
    """For each world, both ends of its console: ours and the machine's."""
    return {world: socket.socketpair() for world in Speaker}


def start_pump(record: ConsoleRecord, worlds: Worlds, command: str) -> ConsolePump:
    process = subprocess.Popen(["sh", "-c", command])
    pump = ConsolePump({world: ours for world, (ours, _) in worlds.items()}, record, process)
    pump.start()
    return pump


def test_the_pump_reads_more_than_a_socket_holds(record: ConsoleRecord, worlds: Worlds) -> None:
    pump = start_pump(record, worlds, "exit 0")
    for _, machine in worlds.values():
        machine.settimeout(10)
        machine.sendall(b"x" * 79 + b"\n" + b"y" * 2_000_000)
        machine.close()
    pump.join(10)
    assert texts(record)[0] == "x" * 79
    assert record.lines(Speaker.secure)[0].text == "x" * 79


@pytest.mark.parametrize(
    ("command", "what"),
    [("exit 3", "QEMU ended (exit status 3)"), ("kill -9 $$", "QEMU ended (killed by SIGKILL)")],
)
def test_the_pump_explains_the_end(record: ConsoleRecord, worlds: Worlds, command: str, what: str) -> None:
    pump = start_pump(record, worlds, command)
    for _, machine in worlds.values():
        machine.close()
    pump.join(10)
    assert record.progress.fault
    assert record.progress.fault.what == what


def test_an_end_that_is_wanted_is_no_fault(record: ConsoleRecord, worlds: Worlds) -> None:
    pump = start_pump(record, worlds, "exit 0")
    pump.stop()
    for _, machine in worlds.values():
        machine.close()
    pump.join(10)
    assert record.progress.fault is None
