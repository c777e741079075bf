"""`tzml partition`."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast, get_args

import click
from rich.console import Console
from rich.table import Table

from tzml.cli.child import Tell, in_child
from tzml.cli.compile import parse_inputs
from tzml.cli.options import OutputFile, RealNumber, parse_size
from tzml.cli.profile import amount
from tzml.cli.progress import progress_bar, told
from tzml.compiler import TARGETS, CompileOptions, InputSpec
from tzml.compiler.metadata import source_digest
from tzml.errors import TzmlError
from tzml.files import check_output
from tzml.leakage.report import ALL, NOTHING, LeakageReport, read_leakage
from tzml.partitioning.choose import Measure, Objective, choose, cost_of, pareto_front, thinned
from tzml.partitioning.costs import RangeCost, RangeCosts
from tzml.partitioning.layered import LayeredModel, tee_option
from tzml.partitioning.measure import MeasuredRange, measure_range, meter_here, unit_of
from tzml.partitioning.plot import check_format, draw_ranges
from tzml.partitioning.profile import Profile, read_profile
from tzml.partitioning.stages import Stages, best_stages

_COST_LABELS = {"latency": "latency", "throughput": "time between two results", "privacy": "latency"}


@dataclass(frozen=True)
class _Question:
    """What is asked for: how much of which to give for the other, and whether a result may cross in the clear."""

    objective: Objective
    secure_memory: int
    weights_inside: float
    slowdown: float
    oracles: bool
    leakage: LeakageReport | None = None

    def candidates(self, costs: RangeCosts) -> list[RangeCost]:
        """The ranges to choose from: all that fit, or those of them that were attacked."""
        attacked = self._exposures(costs.count)
        every = costs.all_ranges()
        return every if attacked is None else [c for c in every if c.inside in attacked]

    def exposed(self, count: int) -> Measure:
        """What a range of so many layers leaves outside: the share of weights, or what attacks got out of it."""
        attacked = self._exposures(count)
        return exposed_weights if attacked is None else lambda c: attacked[c.inside]

    def _exposures(self, count: int) -> dict[range, float] | None:
        if self.leakage is None:
            return None
        found = {}
        for row in self.leakage.rows:
            if row.layers != NOTHING:
                first, last = (1, count) if row.layers == ALL else map(int, row.layers.split(":"))
                found[range(first - 1, last)] = row.exposure
        return found

    @property
    def cost(self) -> Measure:
        return cost_of(self.objective)


@dataclass(frozen=True)
class _Answer:
    """All ranges, the fronts of all and of those that give only outputs, and the one to take."""

    every: list[RangeCost]
    front: list[RangeCost]
    tight_front: list[RangeCost]
    chosen: RangeCost
    normal_world: float


@click.command("partition")
@click.argument("model", type=click.Path(exists=True, path_type=Path))
@click.option("--profile", "profile_file", required=True,
              type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="What its layers cost: a file that `tzml profile` wrote.")  # fmt: skip
@click.option("--objective", type=click.Choice(get_args(Objective)), default="latency", show_default=True,
              help="latency: of one inference; throughput: the time between two results, if both worlds work at "
              "the same time; privacy: as much inside as --slowdown allows.")  # fmt: skip
@click.option("--secure-memory", default="8M", show_default=True, callback=parse_size, metavar="SIZE",
              help="Secure memory that the model may take, in bytes or with K or M.")  # fmt: skip
@click.option("--weights-inside", default=0.5, show_default=True, type=RealNumber(0, 1),
              help="For latency and throughput: the share of the weights that has to be inside.")  # fmt: skip
@click.option("--slowdown", default=1.5, show_default=True, type=RealNumber(1),
              help="For privacy: latency at most, as a multiple of that in the normal world alone.")  # fmt: skip
@click.option("--leakage", "leakage_file", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="For privacy: a file that `tzml leakage` wrote. Then, what attacks got out of the ranges in it "
              "counts, and not the share of the weights.")  # fmt: skip
@click.option("--allow-oracle", is_flag=True,
              help="Also choose a range whose result crosses to the normal world in the clear, where anybody can "
              "solve it with queries (docs/partition.md).")  # fmt: skip
@click.option("--tees", default=1, show_default=True, type=click.IntRange(1, 64), metavar="N",
              help="Put all layers into at most N TEEs, one after another, of --secure-memory each.")  # fmt: skip
@click.option("--measure", "count", default=8, show_default=True, type=click.IntRange(0, 100), metavar="N",
              help="Compile and measure so many ranges of the front; 0: only predict.")  # fmt: skip
@click.option("--plot", "plot", type=OutputFile(), help="Draw the ranges into this .svg or .png file.")
@click.option("--input", "inputs", metavar="NAME=SHAPE[:DTYPE]", multiple=True, callback=parse_inputs,
              help="As for `tzml compile`.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    model: Path,
    profile_file: Path,
    objective: str,
    secure_memory: int,
    weights_inside: float,
    slowdown: float,
    leakage_file: Path | None,
    allow_oracle: bool,
    tees: int,
    count: int,
    plot: Path | None,
    inputs: dict[str, InputSpec],
    as_json: bool,
) -> None:
    """Choose which layers of MODEL run in the TEE.

    All ranges of layers that follow each other are weighed: what they cost, as the profile predicts it, and which
    share of the weights they leave outside. Shown are the ranges that no other one beats in both. They are compiled
    and measured. The option for `tzml compile` comes last.
    """
    if plot:
        check_format(plot)
        check_output(plot, [model, profile_file], "give another file to --plot")
    profile = read_profile(profile_file)
    if profile.sha256 != source_digest(model):
        raise TzmlError(f"{profile_file} is the profile of another file than {model}", "make it with tzml profile")
    if profile.target not in TARGETS:
        raise TzmlError(f"{profile_file} is for {profile.target}, which this tzml does not know", "profile again")
    costs = RangeCosts(profile, secure_memory)
    if tees > 1:
        _print_stages(profile, *_stages(costs, tees, slowest=objective == "throughput"), as_json=as_json)
        return
    leakage = _leakage(leakage_file, model, objective)
    question = _Question(cast(Objective, objective), secure_memory, weights_inside, slowdown, allow_oracle, leakage)
    answer = _answer(costs, question)
    measured: list[MeasuredRange] = []
    if count and profile.unit == unit_of(profile.target):
        measured = in_child(
            lambda tell: _measure(model, inputs, profile, question, answer, count, tell), str(model)
        )
    if plot:
        _draw(plot, model.name, profile, question, answer, measured)
    if as_json:
        click.echo(json.dumps(_as_json(profile, question, answer, measured), indent=1))
    else:
        _print(profile, question, answer, measured)


def _leakage(path: Path | None, model: Path, objective: str) -> LeakageReport | None:
    """The report on leakage, if one is given. Raises TzmlError for another model's, or another objective."""
    if path is None:
        return None
    if objective != "privacy":
        raise click.UsageError("--leakage is for --objective privacy")
    report = read_leakage(path)
    if report.sha256 != source_digest(model):
        raise TzmlError(f"{path} is about another file than {model}", "make it with tzml leakage")
    return report


def exposed_weights(found: RangeCost) -> float:
    """The share of the weights that stays outside."""
    return 1 - found.weights_inside


def _answer(costs: RangeCosts, question: _Question) -> _Answer:
    """Raises TzmlError if no range is good enough."""
    every, exposed = question.candidates(costs), question.exposed(costs.count)
    front = pareto_front(every, question.cost, exposed)
    tight = pareto_front((c for c in every if c.gives_output), question.cost, exposed)
    chosen = choose(
        front if question.oracles else tight, question.objective, exposed,
        at_most=1 - question.weights_inside, limit=question.slowdown * costs.normal_world,
    )  # fmt: skip
    return _Answer(every, front, tight, chosen, costs.normal_world)


def _measure(
    model: Path, inputs: dict[str, InputSpec], profile: Profile, question: _Question, answer: _Answer, count: int,
    tell: Tell,
) -> list[MeasuredRange]:  # fmt: skip
    assert profile.machine
    with progress_bar(model.name) as show:
        layered = LayeredModel(model, CompileOptions(profile.target, inputs=inputs), told(tell, show))
        if len(layered.layers) != len(profile.layers):
            raise TzmlError(
                f"{model} has {len(layered.layers)} layers, but its profile {len(profile.layers)}", "profile again"
            )
        meter = meter_here(profile.target, 10, profile.machine.tee_ratio)
        front = answer.front if question.oracles else answer.tight_front
        return [
            measure_range(layered, found, question.secure_memory, meter, profile.machine)
            for found in thinned(front, count, answer.chosen)
        ]


def _stages(costs: RangeCosts, most: int, *, slowest: bool) -> tuple[Stages, list[RangeCost]]:
    def cost(i: int, j: int) -> float:
        found = costs.cost(range(i, j))
        return math.inf if found is None or found.streamed else found.tee

    stages = best_stages(costs.count, most, cost, slowest=slowest)
    return stages, [cast(RangeCost, costs.cost(inside)) for inside in stages.ranges]


def _print_stages(profile: Profile, stages: Stages, found: Sequence[RangeCost], *, as_json: bool) -> None:
    if as_json:
        rows = [{"layers": tee_option(c.inside), "cost": c.tee, "secure_memory": c.memory} for c in found]
        about = {"unit": profile.unit, "cost": stages.cost, "sum": sum(c.tee for c in found), "stages": rows}
        click.echo(json.dumps(about, indent=1))
        return
    table = Table(box=None)
    for heading in ("TEE", "layers", f"cost, {_unit(profile)[1]}", "secure memory"):
        table.add_column(heading, justify="right")
    for number, c in enumerate(found, 1):
        table.add_row(str(number), tee_option(c.inside), _cost(profile, c.tee), f"{c.memory:,}")
    Console(width=120).print(table)
    slowest = max(c.tee for c in found)
    click.echo(
        f"{len(found)} TEEs: one inference costs {amount(sum(c.tee for c in found), profile.unit)}, and there is a "
        f"result every {amount(slowest, profile.unit)}"
    )


def _unit(profile: Profile) -> tuple[float, str]:
    return (1e6, "M instr.") if profile.unit == "instructions" else (1e-3, "ms")


def _cost(profile: Profile, cost: float) -> str:
    return f"{cost / _unit(profile)[0]:,.3f}"


def _print(profile: Profile, question: _Question, answer: _Answer, measured: Sequence[MeasuredRange]) -> None:
    label, unit = _COST_LABELS[question.objective], _unit(profile)[1]
    table = Table(box=None)
    exposed = question.exposed(len(profile.layers))
    attacked = ["fidelity"] if question.leakage else []
    headings = ["layers", "weights inside", *attacked, "crosses", "streamed", "secure memory", f"{label}, {unit}"]
    for heading in [*headings, "measured", "difference", "result"]:
        table.add_column(heading, justify="right")
    by_range = {m.predicted.inside: m for m in measured}
    shown = {c.inside: c for c in [*answer.front, *answer.tight_front]}
    if len(shown) > 24 and measured:
        shown = {m.predicted.inside: m.predicted for m in measured} | {answer.chosen.inside: answer.chosen}
    for c in sorted(shown.values(), key=question.cost):
        m = by_range.get(c.inside)
        found = (m.bottleneck if question.objective == "throughput" else m.latency) if m else None
        table.add_row(
            tee_option(c.inside) + (" *" if c == answer.chosen else "  "),
            f"{c.weights_inside:.1%}",
            *([f"{exposed(c):.3f}"] if question.leakage else []), f"{c.passed:,}",
            f"{m.streamed if m else c.streamed:,}", f"{m.secure_memory if m else c.memory:,}",
            _cost(profile, question.cost(c)), _cost(profile, found) if found is not None else "-",
            f"{question.cost(c) / found - 1:+.1%}" if found else "-",
            "inside" if c.gives_output else "in the clear",
        )  # fmt: skip
    Console(width=140).print(table)
    alone = amount(answer.normal_world, profile.unit)
    click.echo(f"{len(answer.every)} ranges fit; all layers in the normal world cost {alone}")
    if not measured and profile.unit != unit_of(profile.target):
        click.echo(f"nothing was measured: this host cannot measure {profile.unit} of {profile.target}", err=True)
    if not answer.chosen.gives_output:
        click.echo(
            "warning: its result crosses in the clear, where anybody can solve it with queries "
            "(docs/partition.md)", err=True,
        )  # fmt: skip
    click.echo(
        f"chosen: tzml compile {profile.model} --target {profile.target} --tee {tee_option(answer.chosen.inside)}"
    )


def _as_json(
    profile: Profile, question: _Question, answer: _Answer, measured: Sequence[MeasuredRange]
) -> dict[str, Any]:
    by_range = {m.predicted.inside: m for m in measured}

    def row(c: RangeCost) -> dict[str, Any]:
        about: dict[str, Any] = {
            "tee": tee_option(c.inside), "weights_inside": c.weights_inside, "gives_output": c.gives_output,
            "passed": c.passed,
            "predicted": {"latency": c.latency, "bottleneck": c.bottleneck, "before": c.before, "tee": c.tee,
                          "behind": c.behind, "streamed": c.streamed, "secure_memory": c.memory},
        }  # fmt: skip
        if m := by_range.get(c.inside):
            about["measured"] = {
                "latency": m.latency, "bottleneck": m.bottleneck, "before": m.before, "tee": m.tee,
                "behind": m.behind, "streamed": m.streamed, "secure_memory": m.secure_memory,
            }  # fmt: skip
        return about

    return {
        "model": profile.model, "target": profile.target, "unit": profile.unit, "objective": question.objective,
        "ranges": len(answer.every), "normal_world": answer.normal_world, "chosen": row(answer.chosen),
        "front": [row(c) for c in answer.front], "front_without_oracles": [row(c) for c in answer.tight_front],
    }  # fmt: skip


def _draw(
    path: Path, name: str, profile: Profile, question: _Question, answer: _Answer, measured: Sequence[MeasuredRange]
) -> None:
    fronts = [("front of ranges that give only outputs", answer.tight_front), ("front of all", answer.front)]
    draw_ranges(
        path, f"{name} on {profile.target}, {question.secure_memory / 2**20:g} MiB", answer.every, fronts, measured,
        answer.chosen, normal_world=answer.normal_world, cost=question.cost,
        exposed=question.exposed(len(profile.layers)),
        unit=profile.unit, cost_label=_COST_LABELS[question.objective],
        exposed_label="fidelity of a thief's best copy" if question.leakage else "share of the weights outside",
    )  # fmt: skip
