"""`tzml simulate`."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from tzml.cli.options import OutputFile, RealNumber
from tzml.device import read_json
from tzml.errors import TzmlError
from tzml.fleet.simulate import Failures, Load, SimulatedStage, Simulation, devices_for, simulate

_EXISTING = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command("simulate")
@click.option("--service", "files", type=_EXISTING, multiple=True,
              help="Measured times of a stage: what `tzml run --json` wrote. Repeat it for the stages of a "
              "pipeline.")  # fmt: skip
@click.option("--service-ms", "constants", type=RealNumber(), multiple=True, metavar="MS",
              help="The same time for each request, instead. Repeatable as well.")  # fmt: skip
@click.option("--transfer-ms", type=RealNumber(0), default=0, metavar="MS",
              help="For handing over from stage to stage.")  # fmt: skip
@click.option("--devices", type=click.IntRange(1), multiple=True, help="How many; for each stage, in their order.")
@click.option("--rate", type=RealNumber(), required=True, metavar="REQUESTS", help="Requests a second.")
@click.option("--p99", "goal", type=RealNumber(0, min_open=True), metavar="MS",
              help="Find the fewest devices with which 99 % of the requests take at most this.")  # fmt: skip
@click.option("--fails-every", type=RealNumber(0, min_open=True), metavar="SECONDS",
              help="Mean time between failures of a device. Default: none fails.")  # fmt: skip
@click.option("--noticed", type=RealNumber(0), default=0.5, show_default=True, metavar="SECONDS",
              help="After which a request on a device that failed is sent to another one.")  # fmt: skip
@click.option("--repair", type=RealNumber(0), default=30, show_default=True, metavar="SECONDS",
              help="For which a device that failed is away.")  # fmt: skip
@click.option("--price", type=RealNumber(0), metavar="AMOUNT", help="Of a device for an hour.")
@click.option(
    "--requests", type=click.IntRange(1), default=100_000, show_default=True, help="How many are simulated."
)
@click.option("--seed", type=int, default=1, show_default=True, help="Of the random numbers.")
@click.option("--plot", type=OutputFile(),
              help="Latency against the number of devices, as SVG (needs tzml[report]).")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")
def command(
    files: tuple[Path, ...], constants: tuple[float, ...], transfer_ms: float, devices: tuple[int, ...],
    rate: float, goal: float | None, fails_every: float | None, noticed: float, repair: float,
    price: float | None, requests: int, seed: int, plot: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Say how long requests will take on a fleet, or how many devices it needs, from measured times.

    Exit code 1 if the devices cannot serve the load.
    """
    stages = _stages(files, constants, transfer_ms / 1e3, devices, find=goal is not None)
    load = Load(rate, requests, seed)
    failures = Failures(fails_every or math.inf, noticed, repair)
    if goal is not None:
        stages = devices_for(stages, load, 99, goal / 1e3, failures)
    result = simulate(stages, load, failures)
    about = _about(stages, result, rate, price)
    if plot:
        from tzml.fleet.simulate_plot import latency_plot

        latency_plot(stages, load, failures, plot)
    click.echo(json.dumps(about, indent=1) if as_json else _text(about))
    if not result.stable:
        raise SystemExit(1)


def _stages(
    files: tuple[Path, ...], constants: tuple[float, ...], transfer: float, devices: tuple[int, ...], *, find: bool
) -> list[SimulatedStage]:
    times = [_measured(path) for path in files] + [(milliseconds / 1e3,) for milliseconds in constants]
    if not times:
        raise TzmlError("there is no service time", "give measured ones with --service, or --service-ms")
    if not devices and not find:
        raise TzmlError(
            "how many devices there are is not said", "give --devices, or --p99 to find how many it takes"
        )
    counts = devices or (1,) * len(times)
    if len(counts) != len(times):
        raise TzmlError(
            f"{len(counts)} numbers of devices for {len(times)} stage(s)", "give --devices once for each stage"
        )
    return [
        SimulatedStage(count, service, transfer if number else 0.0)
        for number, (count, service) in enumerate(zip(counts, times, strict=True))
    ]


def _measured(path: Path) -> tuple[float, ...]:
    """The seconds in what `tzml run --json` wrote, or in a list of numbers. Raises TzmlError."""
    kind, remedy = "measured times", "give the output of `tzml run --json`, or a JSON list of seconds"
    about = read_json(path, kind, remedy)
    samples: Any = about
    try:
        if isinstance(about, dict):
            samples = about["seconds"]["samples"]
        found = tuple(float(sample) for sample in samples)
    except (KeyError, TypeError, ValueError) as error:
        raise TzmlError(f"{path} is not {kind}: it has no seconds.samples", remedy) from error
    if not found:
        raise TzmlError(f"{path} is not {kind}: there are none", remedy)
    return found


def _about(stages: list[SimulatedStage], result: Simulation, rate: float, price: float | None) -> dict[str, Any]:
    about = asdict(result) | {
        "devices": [stage.devices for stage in stages],
        "latency": {f"{percentile:g}": seconds for percentile, seconds in result.latency.items()},
    }
    if price is not None:
        about["cost_per_million"] = sum(stage.devices for stage in stages) * price / (rate * 3600) * 1e6
    return about


def _text(about: dict[str, Any]) -> str:
    lines = [f"devices: {' + '.join(map(str, about['devices']))}, busy for "
             f"{', '.join(f'{part:.0%}' for part in about['utilisation'])} of the time"]  # fmt: skip
    lines += [f"{percentile} % of the requests take at most {seconds * 1e3:.1f} ms"
              for percentile, seconds in about["latency"].items()]  # fmt: skip
    if about["repeated"]:
        lines.append(f"{about['repeated']:,} requests were served again, because a device failed")
    if "cost_per_million" in about:
        lines.append(f"a million requests cost {about['cost_per_million']:.2f}")
    if not about["stable"]:
        lines.append("the queue grows for as long as this load lasts: it takes more devices")
    return "\n".join(lines)
