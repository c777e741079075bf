"""What a fleet will do, from measured service times: requests that wait for devices, which may fail.

Requests come at random (Poisson) and wait in one queue, first come, first served, as in HAProxy with `maxconn 1` a
device. A device that fails takes its request with it; that is noticed after a while, and the request is served
anew. Stages of a pipeline follow each other, each with devices and a queue of its own.

No event is simulated for itself: a request starts on the device that is free first, so its times follow from those
of the requests before it (Lindley's recursion, for several servers and several stages).
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tzml.errors import TzmlError

Times = NDArray[np.float64]
PERCENTILES = (50, 90, 99, 99.9)
_WARM_UP = 0.1  # of the requests, which find a queue that is still empty
_MOST_DEVICES = 4096


@dataclass(frozen=True)
class Failures:
    """How devices fail, in seconds.

    `between` is the mean time between two failures of a device, `noticed` how long a request waits for a device
    that failed until it is sent to another one, `repair` how long a device is away.
    """

    between: float = math.inf
    noticed: float = 0.5
    repair: float = 30.0


@dataclass(frozen=True)
class SimulatedStage:
    """Devices that serve alike: how many, the seconds of measured runs, and what handing over to them takes."""

    devices: int
    service: tuple[float, ...]
    transfer: float = 0.0


@dataclass(frozen=True)
class Load:
    """Requests a second, how many are simulated, and the seed of the random numbers."""

    rate: float
    requests: int = 100_000
    seed: int = 1


@dataclass(frozen=True)
class Simulation:
    """What came out: seconds from a request's arrival to its answer, by percentile, and more.

    `utilisation` is the part of the time that the devices of each stage work, `repeated` how often a request was
    served again. `stable` is false if the queue grows for as long as the load lasts: then latencies mean nothing.
    """

    latency: dict[float, float]
    mean: float
    throughput: float
    utilisation: tuple[float, ...]
    repeated: int
    stable: bool


def simulate(stages: Sequence[SimulatedStage], load: Load, failures: Failures = Failures()) -> Simulation:
    """Simulate a load. Raises TzmlError for numbers that describe no fleet."""
    _check(stages, load, failures)
    random = np.random.default_rng(load.seed)
    arrivals = np.cumsum(random.exponential(1 / load.rate, load.requests))
    ready, repeated, utilisation = arrivals, 0, []
    for stage in stages:
        ready, again, busy = _serve(stage, ready + stage.transfer, failures, random)
        repeated += again
        utilisation.append(busy / (stage.devices * (ready.max() - arrivals[0])))
    latencies = (ready - arrivals)[int(_WARM_UP * load.requests) :]
    return Simulation(
        dict(zip(PERCENTILES, map(float, np.percentile(latencies, PERCENTILES)), strict=True)),
        float(latencies.mean()),
        load.requests / float(ready.max() - arrivals[0]),
        tuple(utilisation),
        repeated,
        all(load.rate < capacity(stage, failures) for stage in stages),
    )


def capacity(stage: SimulatedStage, failures: Failures) -> float:
    """Requests a second that a stage can serve: what failures waste, counted off."""
    mean = float(np.mean(stage.service))
    up = 1.0 if math.isinf(failures.between) else failures.between / (failures.between + failures.repair)
    return stage.devices * up / mean


def _serve(
    stage: SimulatedStage, ready: Times, failures: Failures, random: np.random.Generator
) -> tuple[Times, int, float]:
    """When each request is done that is ready then, how often one was served again, and the devices' seconds."""
    service = random.choice(np.array(stage.service), len(ready))
    # when a device is free, and when it fails next
    free = [(0.0, device) for device in range(stage.devices)]
    fails = [float(random.exponential(failures.between)) if math.isfinite(failures.between) else math.inf
             for _ in free]  # fmt: skip
    waiting = [(float(time), number) for number, time in enumerate(ready)]
    heapq.heapify(waiting)
    done, repeated, busy = np.zeros(len(ready)), 0, 0.0
    while waiting:
        time, number = heapq.heappop(waiting)
        at, device = heapq.heappop(free)
        start = max(time, at)
        while fails[device] < start:  # it failed while nobody asked it
            start = max(start, fails[device] + failures.repair)
            fails[device] += failures.repair + float(random.exponential(failures.between))
        if free and start > max(time, free[0][0]):  # another one is free before it is back
            heapq.heappush(free, (start, device))
            heapq.heappush(waiting, (time, number))
            continue
        end = start + float(service[number])
        if fails[device] < end:
            busy += fails[device] - start
            heapq.heappush(waiting, (fails[device] + failures.noticed, number))
            heapq.heappush(free, (fails[device] + failures.repair, device))
            fails[device] += failures.repair + float(random.exponential(failures.between))
            repeated += 1
            continue
        busy += end - start
        done[number] = end
        heapq.heappush(free, (end, device))
    return done, repeated, busy


def devices_for(
    stages: Sequence[SimulatedStage],
    load: Load,
    percentile: float,
    seconds: float,
    failures: Failures = Failures(),
) -> list[SimulatedStage]:
    """The stages with the fewest devices with which that percentile of the latency is at most `seconds`.

    The stage with the least room gets the next device. Raises TzmlError where no number of devices is enough.
    """
    if percentile not in PERCENTILES:
        raise TzmlError(f"there is no percentile {percentile}", f"give one of {', '.join(map(str, PERCENTILES))}")
    least = sum(float(np.percentile(stage.service, percentile)) + stage.transfer for stage in stages[:1])
    least += sum(min(stage.service) + stage.transfer for stage in stages[1:])
    if seconds < least:
        raise TzmlError(
            f"serving alone takes {least * 1e3:.1f} ms in percentile {percentile:g}, more than "
            f"{seconds * 1e3:.1f} ms",
            "devices make the wait shorter, not the service: allow more time, or use a faster model",
        )
    found = [
        replace(s, devices=max(1, math.ceil(load.rate / capacity(replace(s, devices=1), failures)))) for s in stages
    ]
    while sum(stage.devices for stage in found) <= _MOST_DEVICES:
        result = simulate(found, load, failures)
        if result.stable and result.latency[percentile] <= seconds:
            return found
        tightest = max(range(len(found)), key=lambda i: result.utilisation[i])
        more = max(1, found[tightest].devices // 16)
        found[tightest] = replace(found[tightest], devices=found[tightest].devices + more)
    raise TzmlError(
        f"{_MOST_DEVICES} devices are not enough for {seconds * 1e3:.1f} ms in percentile {percentile:g}",
        "allow more time: with these failures, some requests wait for a repair",
    )


def _check(stages: Sequence[SimulatedStage], load: Load, failures: Failures) -> None:
    numbers = [load.rate, load.requests, failures.between]
    numbers += [n for stage in stages for n in (stage.devices, *stage.service)]
    others = [failures.noticed, failures.repair, *(stage.transfer for stage in stages)]
    if not stages or not all(stage.service for stage in stages):
        raise TzmlError("there is no service time", "give measured seconds, or milliseconds with --service-ms")
    if not all(number > 0 for number in numbers) or not all(0 <= n < math.inf for n in others):
        raise TzmlError("rates, times and numbers of devices are above 0", "give other numbers")
    if load.requests < 100:
        raise TzmlError(f"{load.requests} requests say nothing of a percentile", "simulate 100 or more")
