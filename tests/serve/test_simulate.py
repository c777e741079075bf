"""`tzml simulate`: what comes out is what queueing theory says, where that has a formula."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from tzml.cli import tzml
from tzml.errors import TzmlError
from tzml.fleet.simulate import Failures, Load, SimulatedStage, capacity, devices_for, simulate

# exponential service times of mean 10 ms, as many as make chance small
EXPONENTIAL = tuple(np.random.default_rng(0).exponential(0.01, 50_000).tolist())
MEAN = float(np.mean(EXPONENTIAL))


def erlang_c(devices: int, load: float) -> float:
    """The part of the requests that wait, in an M/M/c queue."""
    terms = [load**k / math.factorial(k) for k in range(devices)]
    last = load**devices / math.factorial(devices) / (1 - load / devices)
    return last / (sum(terms) + last)


@pytest.mark.parametrize(("devices", "busy"), [(1, 0.5), (1, 0.8), (2, 0.7), (8, 0.8), (32, 0.9)])
def test_the_mean_is_that_of_an_mmc_queue(devices: int, busy: float) -> None:
    rate = busy * devices / MEAN
    expected = MEAN + erlang_c(devices, busy * devices) / (devices / MEAN - rate)
    found = simulate([SimulatedStage(devices, EXPONENTIAL)], Load(rate, 400_000))
    assert found.mean == pytest.approx(expected, rel=0.06)
    assert found.utilisation[0] == pytest.approx(busy, rel=0.02)
    assert found.throughput == pytest.approx(rate, rel=0.02)


def test_a_constant_service_waits_half_as_long() -> None:
    """Pollaczek and Khinchine: an M/D/1 queue."""
    found = simulate([SimulatedStage(1, (0.01,))], Load(70, 300_000))
    assert found.mean == pytest.approx(0.01 + 0.7 * 0.01 / (2 * (1 - 0.7)), rel=0.03)


def test_percentiles_of_an_mm1_queue_are_exponential() -> None:
    rate = 0.6 / MEAN
    found = simulate([SimulatedStage(1, EXPONENTIAL)], Load(rate, 400_000))
    for percentile, seconds in found.latency.items():
        expected = -math.log(1 - percentile / 100) / (1 / MEAN - rate)
        assert seconds == pytest.approx(expected, rel=0.1)


def test_stages_follow_each_other() -> None:
    """Of constant times the second stage, as fast as the first, never waits: only the first one queues."""
    one = simulate([SimulatedStage(1, (0.01,))], Load(50, 50_000))
    two = simulate([SimulatedStage(1, (0.01,)), SimulatedStage(1, (0.01,), transfer=0.002)], Load(50, 50_000))
    assert two.mean == pytest.approx(one.mean + 0.012)
    assert two.utilisation == pytest.approx((0.5, 0.5), rel=0.02)


def test_a_pipeline_beats_replicas_where_streaming_costs_more_than_its_imbalance() -> None:
    """Resident stages of half the time each, against two devices that stream: 1.35 times the time."""
    load = Load(1 / 0.7, 50_000)
    replicas = SimulatedStage(2, (1.35,))
    pipeline = [SimulatedStage(1, (0.5,)), SimulatedStage(1, (0.5,), transfer=0.02)]
    assert capacity(replicas, Failures()) < 1.5 < capacity(pipeline[0], Failures())
    assert simulate(pipeline, load).mean < simulate([replicas], load).mean


def test_failures_lose_nothing_and_move_the_tail() -> None:
    stage, load = SimulatedStage(64, (0.01,)), Load(0.5 * 64 / 0.01, 300_000)
    calm = simulate([stage], load)
    failing = simulate([stage], load, Failures(between=5, noticed=0.5, repair=0.5))
    assert calm.repeated == 0
    # each device fails once in 5.5 s, and works for 0.55 of the time that it is there
    assert failing.repeated == pytest.approx(64 * load.requests / load.rate / 5.5 * 0.55, rel=0.2)
    assert failing.throughput == pytest.approx(calm.throughput, rel=0.05)
    assert failing.latency[99.9] > 10 * calm.latency[99.9]
    assert failing.latency[50] == pytest.approx(calm.latency[50], rel=0.1)


def test_a_request_on_a_device_that_fails_waits_until_that_is_noticed() -> None:
    found = simulate([SimulatedStage(2, (0.01,))], Load(1, 20_000), Failures(between=5, noticed=2.0, repair=0.1))
    assert found.repeated > 10
    assert found.latency[50] == pytest.approx(0.01)
    assert found.latency[99.9] > 2


def test_a_queue_that_grows_is_said_to_be_unstable() -> None:
    assert not simulate([SimulatedStage(1, (0.01,))], Load(101, 1000)).stable
    assert not simulate([SimulatedStage(2, (0.01,))], Load(150, 1000), Failures(10, 0.1, 10)).stable
    assert simulate([SimulatedStage(2, (0.01,))], Load(150, 1000)).stable


def test_equal_seeds_give_equal_answers() -> None:
    stage = [SimulatedStage(3, EXPONENTIAL)]
    assert simulate(stage, Load(200, 1000, 5)) == simulate(stage, Load(200, 1000, 5))
    assert simulate(stage, Load(200, 1000, 5)) != simulate(stage, Load(200, 1000, 6))


def test_the_fewest_devices_that_are_fast_enough_are_found() -> None:
    load = Load(500, 50_000)
    (found,) = devices_for([SimulatedStage(1, EXPONENTIAL)], load, 99, 0.06)
    assert simulate([found], load).latency[99] <= 0.06
    assert simulate([SimulatedStage(found.devices - 1, EXPONENTIAL)], load).latency[99] > 0.06
    with pytest.raises(TzmlError, match="serving alone takes"):
        devices_for([SimulatedStage(1, (0.5,))], load, 99, 0.4)
    with pytest.raises(TzmlError, match="4096 devices are not enough"):
        devices_for([SimulatedStage(1, (0.01,))], Load(500, 2000), 99, 0.02, Failures(0.5, 1, 0.1))
    two = devices_for([SimulatedStage(1, (0.01,)), SimulatedStage(1, (0.02,))], load, 99, 0.1)
    assert two[1].devices > two[0].devices >= 5


def command(*arguments: str) -> Result:
    return CliRunner().invoke(tzml, ["simulate", *arguments])


def test_the_command_tells_latencies_and_cost(tmp_path: Path) -> None:
    told = json.loads(
        command("--service-ms", "10", "--devices", "2", "--rate", "100", "--price", "0.36", "--json").output
    )
    assert told["stable"]
    assert told["devices"] == [2]
    assert told["latency"]["50"] == pytest.approx(0.01, rel=0.2)
    assert told["cost_per_million"] == pytest.approx(2 * 0.36 / (100 * 3600) * 1e6)
    text = command("--service-ms", "10", "--devices", "2", "--rate", "100").output
    assert "50 %" in text
    measured = tmp_path / "run.json"
    measured.write_text(json.dumps({"seconds": {"samples": [0.01, 0.03]}}))
    told = json.loads(command("--service", str(measured), "--rate", "100", "--p99", "60", "--json").output)
    assert told["latency"]["99"] <= 0.06
    stages = command(
        "--service-ms", "10", "--service-ms", "20", "--devices", "1", "--devices", "2", "--rate", "50", "--json"
    )
    assert json.loads(stages.output)["devices"] == [1, 2]


def test_a_plot_is_written(tmp_path: Path) -> None:
    path = tmp_path / "fleet.svg"
    result = command(
        "--service-ms", "10", "--devices", "4", "--rate", "100", "--requests", "2000", "--plot", str(path)
    )
    assert result.exit_code == 0, result.output
    assert path.read_text().lstrip().startswith("<?xml")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "Missing option '--rate'"),
        (("--rate", "10"), "there is no service time"),
        (("--rate", "10", "--service-ms", "1"), "give --devices, or --p99"),
        (
            ("--rate", "10", "--service-ms", "1", "--devices", "1", "--devices", "1"),
            "2 numbers of devices for 1 stage",
        ),
        (("--rate", "10", "--service-ms", "0", "--devices", "1"), "above 0"),
        (("--rate", "10", "--service-ms", "1", "--devices", "1", "--requests", "10"), "say nothing"),
        (("--rate", "10", "--service", __file__, "--devices", "1"), "is not measured times"),
    ],
)
def test_what_is_wrong_is_said(arguments: tuple[str, ...], says: str) -> None:
    result = command(*arguments)
    assert result.exit_code
    assert says in f"{result.output} {result.exception}"


def test_a_load_that_is_too_high_is_a_failed_check() -> None:
    result = command("--service-ms", "10", "--devices", "1", "--rate", "200", "--requests", "1000")
    assert result.exit_code == 1
    assert "the queue grows" in result.output
