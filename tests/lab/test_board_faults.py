"""Faults between a lab and its boards: each is reported in time, with its class, and the lab recovers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from labgrid.strategy import StrategyError

from tzml_lab.failures import FailureClass, TargetError

from .conftest import Bench

pytestmark = pytest.mark.bench
MakeBench = Callable[[str], Bench]


@pytest.fixture
def board(bench: MakeBench) -> Bench:
    """A board that runs its image."""
    one = bench("rpi3-standin")
    one.strategy.transition("shell")
    return one


@contextmanager
def failure(kind: FailureClass, says: str) -> Iterator[list[TargetError]]:
    found: list[TargetError] = []
    with pytest.raises(TargetError, match=says) as caught:
        yield found
    found.append(caught.value)
    assert caught.value.kind is kind
    assert "last lines of the normal world's console" in str(caught.value)


def usable(board: Bench) -> None:
    """The next run finds a working lab."""
    board.use()
    board.strategy.transition("shell")
    assert board.shell.run_check("cat /etc/tzml-flashed") == [board.image.digest]


def soon(board: Bench, path: str) -> None:
    threading.Timer(1, board.standin.ask, [path]).start()


def test_power_that_is_cut(board: Bench) -> None:
    soon(board, "relay/1/0")
    with failure(FailureClass.infrastructure, "the power was cut, after: hang"):
        board.shell.run("hang", timeout=3)
    usable(board)


def test_a_target_that_hangs(board: Bench) -> None:
    soon(board, "fault/paused/1")
    with failure(FailureClass.test, "the target says nothing any more, after: hang"):
        board.shell.run("hang", timeout=3)
    usable(board)


def test_optee_panics_on_the_line_that_both_worlds_share(board: Bench) -> None:
    start = time.monotonic()
    with failure(FailureClass.test, "OP-TEE panicked: E/TC:0 0 Panic at core/kernel/thread.c") as caught:
        board.shell.run("panic", timeout=60)
    assert time.monotonic() - start < 20
    assert "S E/TC:0 0 TEE load address" in caught[0].consoles
    board.strategy.transition("shell")  # without a new run: the strategy noticed it, too
    assert board.shell.run_check("uname -r")


def test_a_command_without_end(board: Bench) -> None:
    with failure(FailureClass.test, "no end after 2 s: slow"):
        board.shell.run("slow", timeout=2)
    assert board.shell.run_check("cat /etc/tzml-flashed")


@pytest.mark.parametrize("what", ["lost", "garbled"])
def test_a_serial_line_with_noise(board: Bench, what: str) -> None:
    board.standin.ask(f"fault/{what}/30")
    with failure(
        FailureClass.infrastructure, "the serial line loses or garbles bytes: '0123456789-abc.*came back as"
    ):
        board.shell.run("cat lines", timeout=3)
    board.standin.ask(f"fault/{what}/0")
    usable(board)


def test_a_serial_line_with_noise_during_the_boot(board: Bench) -> None:
    board.strategy.transition("off")
    board.standin.ask("fault/garbled/300")
    board.strategy.silence_timeout = 3
    with failure(FailureClass.infrastructure, "on the way to state booted: the serial line garbles, .* no text"):
        board.strategy.transition("shell")
    board.standin.ask("fault/garbled/0")
    usable(board)


def test_a_serial_adapter_that_is_pulled_out(board: Bench) -> None:
    soon(board, "fault/unplugged/1")
    with failure(FailureClass.infrastructure, "the serial line is gone"):
        board.shell.run("hang", timeout=20)
    with failure(FailureClass.infrastructure, "on the way to state booted: .*ould not open"):
        board.strategy.transition("shell")
    board.standin.ask("fault/unplugged/0")
    usable(board)


def test_a_power_switch_that_never_answers(board: Bench) -> None:
    board.standin.ask("fault/stuck/1")
    board.strategy.power_timeout = 2
    start = time.monotonic()
    with failure(FailureClass.infrastructure, "on the way to state off: the power switch: no end after"):
        board.strategy.transition("off")
    assert time.monotonic() - start < 20
    with pytest.raises(StrategyError, match="not tried again after this: infrastructure failure"):
        board.strategy.transition("shell")
    board.standin.ask("fault/stuck/0")
    usable(board)


def test_a_power_switch_that_is_gone(board: Bench) -> None:
    board.standin.stop()
    with failure(FailureClass.infrastructure, "on the way to state off: .*onnection"):
        board.strategy.transition("off")


def test_a_board_that_says_nothing(board: Bench) -> None:
    board.strategy.transition("off")
    firmware = board.image
    board.strategy.silence_timeout = 2
    board.standin.ask("fault/lost/1000")
    with failure(FailureClass.boot, "nothing came over the serial line for .* look at power, wiring and SD card"):
        board.strategy.transition("shell")
    assert firmware
    board.standin.ask("fault/lost/0")
    usable(board)


def test_the_next_try_after_a_boot_that_failed_begins_with_power_off(board: Bench) -> None:
    board.strategy.transition("off")
    board.strategy.silence_timeout = 2
    board.standin.ask("fault/lost/1000")
    with failure(FailureClass.boot, "nothing came over the serial line"):
        board.strategy.transition("shell")
    board.standin.ask("fault/lost/0")
    cycle, board.strategy.broken = board.strategy.record.cycle, None
    board.strategy.transition("shell")
    assert board.strategy.record.cycle == cycle + 1
    assert board.shell.run_check("uname -r")


def test_a_board_that_hangs_in_its_boot(board: Bench) -> None:
    board.strategy.transition("off")
    board.strategy.silence_timeout = 2
    (board.standin.folder / "card").write_bytes(b"no file system")
    with failure(FailureClass.boot, "on the way to state booted: the initramfs gave up"):
        board.strategy.transition("shell")
