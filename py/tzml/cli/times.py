"""`tzml times`."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click

from tzml.cli.child import Tell, in_child
from tzml.cli.compile import parse_inputs
from tzml.cli.encrypted import ModelKey, key_options, opened_model
from tzml.client.library import library
from tzml.compiler import CompileOptions, InputSpec
from tzml.compiler.frontends import recognise
from tzml.printable import printable
from tzml.stage_times import STAGES, Times, mean, measure
from tzml.text_table import text_table

_COLUMNS = (("import", "s", 1), ("build", "s", 1), ("run", "ms", 1000))


@click.command("times")
@click.argument("models", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--input", "inputs", metavar="NAME=SHAPE[:DTYPE]", multiple=True, callback=parse_inputs,
              help="Shape of an input, if a model leaves it open, as in image=1x3x224x224.")  # fmt: skip
@click.option("--repeat", type=click.IntRange(1), default=3, show_default=True,
              help="How often each model is imported and built.")  # fmt: skip
@click.option("--runs", type=click.IntRange(0), default=10, show_default=True,
              help="Inferences that are measured each time, in the normal world of this host.")  # fmt: skip
@key_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with every measurement.")
def command(
    models: tuple[Path, ...],
    inputs: dict[str, InputSpec],
    repeat: int,
    runs: int,
    key: ModelKey,
    as_json: bool,
) -> None:
    """Measure how long it takes to import each of MODELS, to build a bundle for this host, and to run it.

    Means are shown for each model, and for each format of which there are several models: by the clock, and of all
    processors (CPU), which says more on a busy machine. The framework that reads a format is loaded anew each time,
    as `tzml compile` does it, and no kernel comes from the cache. `tzml run --repeat` measures runs on a device.
    """
    if runs:
        library()  # built now, and not in what is measured
    found = {model: _measured(model, CompileOptions("host", inputs=inputs), key, repeat, runs) for model in models}
    if as_json:
        about = {"models": [_about(m, measured) for m, measured in found.items()], "formats": _of_formats(found)}
        click.echo(json.dumps(about, indent=1))
        return
    click.echo(printable(_table(found)))


@dataclass(frozen=True)
class _Measured:
    format: str
    times: Times


def _measured(model: Path, options: CompileOptions, key: ModelKey, repeat: int, runs: int) -> _Measured:
    """The model's format and times. Raises TzmlError."""

    def warn(what: str) -> None:
        warned.setdefault(what)

    def once(tell: Tell) -> tuple[str, Times, list[str]]:
        path = opened(warn) if opened else model
        return recognise(path).value, measure(path, options, runs, tell), list(warned)

    warned: dict[str, None] = {}
    times: Times = {stage: [] for stage in STAGES}
    with opened_model(model, key) as opened:
        for _ in range(repeat):  # a process each, in which no framework has been loaded
            kind, took, said = in_child(once, str(model))
            warned |= dict.fromkeys(said)
            for stage in STAGES:
                times[stage] += took[stage]
    for what in warned:
        click.echo(f"tzml: warning: {model}: {what}", err=True)
    return _Measured(kind, times)


def _about(model: Path, measured: _Measured) -> dict[str, Any]:
    return {
        "model": str(model),
        "format": measured.format,
        "mean": _means(measured.times),
        "samples": {stage: [asdict(took) for took in measured.times[stage]] for stage in STAGES},
    }


def _means(times: Times) -> dict[str, Any]:
    return {stage: asdict(took) if (took := mean(times[stage])) else None for stage in STAGES}


def _of_formats(found: dict[Path, _Measured]) -> dict[str, Any]:
    """The means of each format: of its models' means, so that each model counts once."""
    formats: dict[str, list[Times]] = {}
    for measured in found.values():
        formats.setdefault(measured.format, []).append(measured.times)
    return {
        name: _means({stage: [took for t in several if (took := mean(t[stage]))] for stage in STAGES})
        for name, several in formats.items()
    }


def _table(found: dict[Path, _Measured]) -> str:
    several = [m.format for m in found.values()]
    rows = [("model", "format", *(f"{stage} {unit}" for stage, unit, _ in _COLUMNS for unit in (unit, "CPU")))]
    rows += [_row(model.name, measured.format, _means(measured.times)) for model, measured in found.items()]
    rows += [_row("mean", kind, means) for kind, means in _of_formats(found).items() if several.count(kind) > 1]
    return "\n".join(text_table(rows, range(2, len(rows[0]))))


def _row(name: str, kind: str, means: dict[str, Any]) -> tuple[str, ...]:
    cells = []
    for stage, _, factor in _COLUMNS:
        took = means[stage]
        cells += [f"{took[clock] * factor:,.3f}" if took else "-" for clock in ("wall", "cpu")]
    return (name, kind, *cells)
