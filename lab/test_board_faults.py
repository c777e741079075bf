"""What goes wrong with boards, done on purpose to one that stands in, with the real image on it.

Each fault ends in its time with its class, and the next user finds a board that works: that is what the fixture
`board` of the next test shows. Budgets are seconds on a quiet machine; LG_TIME_SCALE stretches them.
"""

from __future__ import annotations

import threading
import time

import pytest

from tzml_lab.failures import FailureClass, TargetError
from tzml_lab.lines import World
from tzml_lab.timescale import scaled
from tzml_lab.xtestrun import XtestRun
from tzml_lab.zoo import TARGET_FOLDER

pytestmark = pytest.mark.lg_feature("standin")
MODEL = f"{TARGET_FOLDER}/digits.tzm"
INPUT = "python3 -c 'import numpy; numpy.save(\"/tmp/x.npy\", numpy.zeros((1, 1, 28, 28), numpy.float32))'"
RUN = f"tzml run {MODEL} --input /tmp/x.npy --world tee"


@pytest.fixture
def board(tee, strategy):
    """The board, with OP-TEE at work; anew for each test that broke it."""
    strategy.broken = None
    return tee


class Verdict:
    """Waits for a TargetError of that class, and notes how long it took and what it said."""

    def __init__(self, kind: FailureClass, budget: float, note) -> None:
        self.kind, self.budget, self.note = kind, scaled(budget), note

    def __enter__(self):
        self.start = time.monotonic()
        return self

    def __exit__(self, kind, error, trace):
        seconds = time.monotonic() - self.start
        assert isinstance(error, TargetError), f"{error!r} instead of a TargetError"
        self.note("seconds_until_verdict", round(seconds, 1))
        self.note("verdict", error.summary)
        assert error.kind is self.kind, error
        assert seconds < self.budget
        self.says = error.summary
        return True


def as_soon_as(when, action) -> None:
    """Do something in the background."""

    def wait() -> None:
        deadline = time.monotonic() + scaled(120)
        while not when() and time.monotonic() < deadline:
            time.sleep(0.05)
        action()

    threading.Thread(target=wait, daemon=True).start()


def after(seconds: float, action) -> None:
    start = time.monotonic()
    as_soon_as(lambda: time.monotonic() - start > seconds, action)


def test_both_worlds_share_the_line(board, record):
    """OP-TEE's lines are not in what commands answer."""
    assert board.run_check("echo sound") == ["sound"]
    assert any("OP-TEE version" in line.text for line in record.lines(World.secure))
    assert not any("OP-TEE version" in line.text for line in record.lines(World.normal))


def test_power_cut_during_xtest(board, strategy, standin, record_property):
    run = XtestRun(board, strategy.record, ["regression_1009"], silence=scaled(5))
    as_soon_as(lambda: run.parser.current, lambda: standin.ask("relay/1/0"))
    with Verdict(FailureClass.infrastructure, 40, record_property) as verdict:
        run.case("regression_1009")
    assert "xtest stopped in regression_1009: the power was cut" in verdict.says
    strategy.suspect("no power")


def test_power_cut_during_inference(board, strategy, standin, record_property):
    board.run_check(INPUT, timeout=scaled(60))
    board.run_check(RUN, timeout=scaled(60))
    after(scaled(2), lambda: standin.ask("relay/1/0"))
    with Verdict(FailureClass.infrastructure, 60, record_property) as verdict:
        board.run(f"while {RUN} >/dev/null; do :; done", timeout=scaled(10))
    assert "the power was cut, after: while tzml run" in verdict.says
    strategy.suspect("no power")


def test_power_cut_during_boot(board, strategy, standin, record_property):
    strategy.transition("off")
    seconds, strategy.silence_timeout = strategy.silence_timeout, 5
    record, cycle = strategy.record, strategy.record.cycle
    as_soon_as(
        lambda: record.cycle > cycle and "kernel" in record.progress.reached, lambda: standin.ask("relay/1/0")
    )
    with Verdict(FailureClass.infrastructure, 60, record_property) as verdict:
        strategy.transition("tee")
    strategy.silence_timeout = seconds
    assert "on the way to state booted: the power was cut; the last stage was Linux kernel" in verdict.says
    strategy.broken = None


def test_hung_ta(board, strategy, record_property):
    """OP-TEE waits for its supplicant for ever, and whoever called the TA with it."""
    board.run_check(INPUT, timeout=scaled(60))
    board.run_check("kill -STOP $(pidof tee-supplicant)")
    with Verdict(FailureClass.test, 60, record_property) as verdict:
        board.run(RUN, timeout=scaled(10))
    assert f"no end after {scaled(10):.0f} s: {RUN}" in verdict.says
    strategy.suspect("a hung TA")


def test_full_disk(board):
    """It is said, and nothing stays behind."""
    board.run_check(INPUT, timeout=scaled(60))
    board.run("dd if=/dev/zero of=/root/fill bs=1M 2>/dev/null; sync", timeout=scaled(120))
    out, error, status = board.run(f"{RUN} --output /root/out.npy", timeout=scaled(60))
    board.run_check("rm -f /root/fill /root/out.npy")
    assert status == 2
    (line,) = [*out, *error]
    assert "No space left on device" in line
    board.run_check(f"{RUN} --output /root/out.npy", timeout=scaled(60))


def test_linux_panic(board, record_property):
    with Verdict(FailureClass.test, 30, record_property) as verdict:
        board.run("echo c > /proc/sysrq-trigger", timeout=scaled(60))
    assert "Linux panicked: " in verdict.says


def test_the_board_works_after_all_that(board):
    board.run_check(INPUT, timeout=scaled(60))
    board.run_check(RUN, timeout=scaled(60))
