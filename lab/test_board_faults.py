"""Faults of boards, caused on purpose on a stand-in board that runs the real image.

Each fault is reported in time and with its class, and leaves a board that works for the next user, as the fixture
`board` of the next test shows. Budgets are seconds on a quiet machine. LG_TIME_SCALE multiplies them.
"""

from __future__ import annotations

import time

import pytest

from tzml_lab.consoles.lines import Speaker
from tzml_lab.consoles.record import ConsoleRecord
from tzml_lab.drivers.strategy import TrustZoneStrategy
from tzml_lab.failures import FailureClass
from tzml_lab.faults import ExpectedFailure, RecordProperty, full_disk, in_background
from tzml_lab.inference.known_models import TARGET_FOLDER
from tzml_lab.standin.process import StandIn
from tzml_lab.target import Shell
from tzml_lab.time_limits import scaled
from tzml_lab.xtest.run import XtestRun

pytestmark = pytest.mark.lg_feature("standin")
MODEL = f"{TARGET_FOLDER}/digits.tzm"
INPUT = "python3 -c 'import numpy; numpy.save(\"/tmp/x.npy\", numpy.zeros((1, 1, 28, 28), numpy.float32))'"
RUN = f"tzml run {MODEL} --input /tmp/x.npy --world tee"


@pytest.fixture
def board(tee: Shell, strategy: TrustZoneStrategy) -> Shell:
    """The board with OP-TEE running. It is started again after a test that broke it."""
    strategy.broken = None
    return tee


def test_both_worlds_share_the_line(board: Shell, record: ConsoleRecord) -> None:
    """OP-TEE's lines do not get into the output of commands."""
    assert board.run_check("echo sound") == ["sound"]
    assert any("OP-TEE version" in line.text for line in record.lines(Speaker.secure))
    assert not any("OP-TEE version" in line.text for line in record.lines(Speaker.normal))


def test_power_cut_during_xtest(
    board: Shell, strategy: TrustZoneStrategy, standin: StandIn, record_property: RecordProperty
) -> None:
    run = XtestRun(board, strategy.record, ["regression_1009"], silence=scaled(5))
    in_background(lambda: standin.ask("relay/1/0"), lambda: run.parser.current, limit=120)
    with ExpectedFailure(40, record_property) as expected:
        run.case("regression_1009")
    assert expected.error.kind is FailureClass.infrastructure
    assert "xtest stopped in regression_1009: the power was cut" in expected.error.summary
    strategy.suspect("no power")


def test_power_cut_during_inference(
    board: Shell, strategy: TrustZoneStrategy, standin: StandIn, record_property: RecordProperty
) -> None:
    board.run_check(INPUT, timeout=scaled(60))
    board.run_check(RUN, timeout=scaled(60))
    start = time.monotonic()
    in_background(lambda: standin.ask("relay/1/0"), lambda: time.monotonic() - start > scaled(2))
    with ExpectedFailure(60, record_property) as expected:
        board.run(f"while {RUN} >/dev/null; do :; done", timeout=scaled(10))
    assert expected.error.kind is FailureClass.infrastructure
    assert "the power was cut, after: while tzml run" in expected.error.summary
    strategy.suspect("no power")


def test_power_cut_during_boot(
    board: Shell, strategy: TrustZoneStrategy, standin: StandIn, record_property: RecordProperty
) -> None:
    strategy.transition("off")
    seconds, strategy.silence_timeout = strategy.silence_timeout, 5
    record, cycle = strategy.record, strategy.record.cycle
    in_background(
        lambda: standin.ask("relay/1/0"),
        lambda: record.cycle > cycle and "kernel" in record.progress.reached,
        limit=120,
    )
    with ExpectedFailure(60, record_property) as expected:
        strategy.transition("tee")
    assert expected.error.kind is FailureClass.infrastructure
    strategy.silence_timeout = seconds
    assert (
        "on the way to state booted: the power was cut; the last stage was Linux kernel" in expected.error.summary
    )
    strategy.broken = None


def test_hung_ta(board: Shell, strategy: TrustZoneStrategy, record_property: RecordProperty) -> None:
    """OP-TEE waits for its supplicant for ever, and the TA's caller for longer than this command may take."""
    board.run_check(INPUT, timeout=scaled(60))
    board.run_check("kill -STOP $(pidof tee-supplicant)")
    with ExpectedFailure(60, record_property) as expected:
        board.run(RUN, timeout=scaled(10))
    assert expected.error.kind is FailureClass.test
    assert f"no end after {scaled(10):.0f} s: {RUN}" in expected.error.summary
    strategy.suspect("a hung TA")


def test_full_disk(board: Shell) -> None:
    """The error says so, and nothing stays behind."""
    board.run_check(INPUT, timeout=scaled(60))
    board.run_check(RUN, timeout=scaled(60))  # the first run of a model needs room in OP-TEE's storage
    with full_disk(board):
        out, error, status = board.run(f"{RUN} --output /root/out.npy", timeout=scaled(60))
        board.run_check("rm -f /root/out.npy")
    assert status == 2
    (line,) = [*out, *error]
    assert "No space left on device" in line
    board.run_check(f"{RUN} --output /root/out.npy", timeout=scaled(60))


def test_linux_panic(board: Shell, record_property: RecordProperty) -> None:
    with ExpectedFailure(30, record_property) as expected:
        board.run("echo c > /proc/sysrq-trigger", timeout=scaled(60))
    assert expected.error.kind is FailureClass.test
    assert "Linux panicked: " in expected.error.summary


def test_the_board_works_after_all_that(board: Shell) -> None:
    board.run_check(INPUT, timeout=scaled(60))
    board.run_check(RUN, timeout=scaled(60))
