"""Without tee-supplicant nothing waits in silence: everything says within seconds what it waits for, and ends."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from labgrid import Target

from tzml_lab.drivers.strategy import TrustZoneStrategy
from tzml_lab.environment import image_of
from tzml_lab.faults import RecordProperty
from tzml_lab.inference.known_models import TARGET_FOLDER
from tzml_lab.target import Commands, shell_of
from tzml_lab.time_limits import scaled
from tzml_lab.xtest.run import XtestRun

SOUND = f"{TARGET_FOLDER}/digits.tzm"
PYTHON = "python3 -c 'import tzml.client as c; c.open_model(\"{}\")'"
COMMANDS = {
    "tzml-run": (f"tzml-run {SOUND} /tmp/x.bin /tmp/y.bin", 1),
    "tzml-run-libraries": ("tzml-run --list-libraries", 1),
    "tzml": (f"tzml run {SOUND} --input /tmp/x.npy", 2),
    "tzml-libraries": ("tzml libraries list", 2),
    "python": (PYTHON.format(SOUND), 1),
}
NEEDS_PYTHON = {"tzml", "tzml-libraries", "python"}
SERVICE = {
    "systemd": "systemctl {} tee-supplicant",
    "busybox": "/etc/init.d/S30tee-supplicant {}",
}
WAITS = "OP-TEE waits for tee-supplicant, which does not answer: "


@pytest.fixture
def service(target: Target) -> str:
    """The command that starts or stops tee-supplicant, as the image's init does it."""
    return SERVICE[image_of(target.env.config).description.features.init]


@pytest.fixture(autouse=True)
def _input(command: Commands, target: Target, service: str) -> Iterator[None]:
    command.run_check("head -c 3136 /dev/zero >/tmp/x.bin")
    if image_of(target.env.config).description.features.python:
        code = "import numpy; numpy.save('/tmp/x.npy', numpy.zeros((1, 1, 28, 28), 'f'))"
        command.run_check(f'python3 -c "{code}"', timeout=scaled(60))
    yield
    command.run("kill -CONT $(pidof tee-supplicant)")
    command.run_check(service.format("start"))
    command.run_check(COMMANDS["tzml-run"][0], timeout=scaled(120))


def refusal(command: Commands, name: str) -> tuple[str, float]:
    """The last line of what the command says, and its seconds."""
    line, code = COMMANDS[name]
    start = time.monotonic()
    out, error, status = command.run(line, timeout=scaled(60))
    assert status == code, [*out, *error]
    return [*out, *error][-1], time.monotonic() - start


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.lg_feature("python")] if name in NEEDS_PYTHON else [])
        for name in COMMANDS
    ],
)
def test_a_command_says_that_it_is_missing(
    command: Commands, service: str, name: str, record_property: RecordProperty
) -> None:
    command.run_check(service.format("stop"))
    line, seconds = refusal(command, name)
    record_property("seconds", seconds)
    assert f"{WAITS}no process tee-supplicant, for 5 s; start it" in line
    assert seconds < scaled(20)


def test_one_that_is_stopped_is_named(command: Commands) -> None:
    (process,) = command.run_check("pidof tee-supplicant")
    command.run_check(f"kill -STOP {process}")
    line, _ = refusal(command, "tzml-run")
    assert f"{WAITS}process {process}, for 30 s; start it" in line


def test_several_clients_all_end(command: Commands, service: str) -> None:
    """More than OP-TEE has threads, so that some wait for another client and not for the supplicant."""
    command.run_check(service.format("stop"))
    one = f"{COMMANDS['tzml-run'][0]} 2>&1"
    whole = f'(line=$({one}); echo "$line")'  # in one piece, as six write to one console
    out = command.run_check(f"for i in 1 2 3 4 5 6; do {whole} & done; wait", timeout=scaled(60))
    assert [WAITS in line for line in out] == [True] * 6


def test_one_that_comes_back_in_time_is_waited_for(command: Commands, service: str) -> None:
    command.run_check(service.format("stop"))
    start = f"(sleep 2; {service.format('start')})"
    command.run_check(f"{start} & {COMMANDS['tzml-run'][0]}", timeout=scaled(60))


@pytest.mark.lg_feature("xtest")
def test_xtest_is_not_started(command: Commands, service: str, target: Target, strategy: TrustZoneStrategy) -> None:
    command.run_check(service.format("stop"))
    run = XtestRun(shell_of(target), strategy.record, ["regression_1004"], silence=scaled(60))
    assert run.failure
    assert "xtest did not start: tee-supplicant does not run" in run.failure.summary
    assert run.stop()
