"""`tzml leakage`."""

from __future__ import annotations

import warnings
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from tzml.cli.arrays import load_arrays
from tzml.cli.child import Tell, in_child
from tzml.cli.compile import parse_inputs
from tzml.cli.options import OutputFile, RealNumber, parse_size
from tzml.cli.progress import progress_bar, told
from tzml.compiler import InputSpec
from tzml.compiler.metadata import source_digest
from tzml.errors import TzmlError
from tzml.files import check_output
from tzml.leakage.adversarial import Adversary
from tzml.leakage.membership import infer_membership
from tzml.leakage.question import question
from tzml.leakage.report import (
    ALL,
    NOTHING,
    AdversarialRow,
    FooledRow,
    LeakageReport,
    LeakageRow,
    OracleRow,
    StolenRow,
    draw_leakage,
)
from tzml.leakage.stealing import Exhibit, Stolen, steal
from tzml.leakage.victim import Samples, Victim
from tzml.partitioning.costs import RangeCosts
from tzml.partitioning.layered import tee_option
from tzml.partitioning.plot import check_format
from tzml.partitioning.profile import read_profile

_TEST_SHARE = 0.4  # of the samples
_ORACLE_TEST = 200  # samples on which copies of layers are judged, one by one through all parts


def parse_queries(_: click.Context, __: click.Parameter, value: str) -> tuple[int, ...]:
    try:
        found = tuple(int(text) for text in value.split(","))
    except ValueError:
        found = ()
    if not found or min(found) < 1:
        raise click.BadParameter(f"{value!r} is not a list of numbers, as in 50,500")
    return found


@click.command("leakage")
@click.argument("model", type=click.Path(exists=True, path_type=Path))
@click.option("--data", required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="A .npz file with `labels` and samples that the model was not trained on: a thief asks about "
              "some of them, and copies are judged on the others.")  # fmt: skip
@click.option("--members", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="The same with samples that it was trained on, for membership inference.")  # fmt: skip
@click.option("--tee", "ranges", metavar="LAYERS", multiple=True,
              help="A range as for `tzml compile`; several are allowed. Default: first, middle, last.")  # fmt: skip
@click.option("--public", is_flag=True,
              help="The layers outside of --tee are public, and everybody has them, also who knows nothing else. "
              "One range, of the model's last layers.")  # fmt: skip
@click.option("--thief", type=click.Path(exists=True, path_type=Path), metavar="MODEL",
              help="With --public: the network that a thief trains who knows only the public layers. It ends with "
              "layers that --tee names, too. Default: one like MODEL.")  # fmt: skip
@click.option("--queries", default="50,500", show_default=True, callback=parse_queries, metavar="N,...",
              help="How many labels a thief gets.")  # fmt: skip
@click.option("--seeds", default=3, show_default=True, type=click.IntRange(1), help="Thieves for each figure.")
@click.option("--epsilon", type=RealNumber(0, 1, min_open=True), metavar="SHARE",
              help="Make adversarial examples on the thieves' copies, and try them on MODEL: no number of a sample "
              "is changed by more than this share of the range that the samples have.")  # fmt: skip
@click.option("--profile", "profile_file", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="What layers cost, from `tzml profile`: latencies beside leakage.")  # fmt: skip
@click.option("--secure-memory", default="8M", show_default=True, callback=parse_size, metavar="SIZE",
              help="For the latencies.")  # fmt: skip
@click.option("-o", "--output", type=OutputFile(), help="Default: MODEL.leakage.json, beside MODEL.")
@click.option("--plot", type=OutputFile(), help="Draw leakage over latency into this .svg or .png file.")
@click.option("--input", "inputs", metavar="NAME=SHAPE[:DTYPE]", multiple=True, callback=parse_inputs,
              help="As for `tzml compile`.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print what is written to the file.")
def command(
    model: Path,
    data: Path,
    members: Path | None,
    ranges: tuple[str, ...],
    public: bool,
    thief: Path | None,
    queries: tuple[int, ...],
    seeds: int,
    epsilon: float | None,
    profile_file: Path | None,
    secure_memory: int,
    output: Path | None,
    plot: Path | None,
    inputs: dict[str, InputSpec],
    as_json: bool,
) -> None:
    """Measure what MODEL tells an attacker who has the layers outside of the TEE.

    Attacked are the ranges of --tee and two baselines: nothing in the TEE, and everything. A thief trains a copy
    with labels of a few queries, and adversarial examples can be made on it; layers whose result crosses in the
    clear are solved, or learned, from what they answer; and members of the training data are told from others. All
    of it runs on this host.
    """
    if find_spec("art") is None:
        raise TzmlError(
            "the Adversarial Robustness Toolbox is not installed",
            "pip install 'tzml[leakage]', or tools/test-leakage",
        )
    if epsilon and find_spec("torch") is None:
        raise TzmlError("--epsilon needs PyTorch, which is not installed", "pip install 'tzml[leakage]'")
    warnings.filterwarnings("ignore", category=UserWarning, module=r"art\.")  # that it finds no PyTorch
    if public and len(ranges) != 1:
        raise click.UsageError("--public needs one --tee: the layers before it are public")
    if thief and not public:
        raise click.UsageError("--thief needs --public")
    given = [file for file in (model, data, members, profile_file, thief) if file]
    path = output or model.with_suffix(".leakage.json")
    for file in (path, plot):
        if file:
            check_output(file, given, "give another file")
    if plot:
        check_format(plot)
        if not profile_file:
            raise click.UsageError("--plot needs --profile: what it draws leakage over is latency")
    costs = _costs(model, profile_file, secure_memory)
    samples = read_samples(data)
    own = read_samples(members) if members else None

    def work(tell: Tell) -> LeakageReport:
        with progress_bar(model.name) as show:
            progress = told(tell, show)
            private = ranges[0] if public else None
            victim = Victim(model, inputs, progress, private)
            texts = ranges or ("first", "middle", "last")
            spans = {tee_option(found): found for found in map(victim.layered.range_of, texts)}
            test, pool = split(samples, max(queries))
            progress("computing what the public layers give")
            exhibit = exhibited(victim, pool, test, str(data))
            blind = exhibited(Victim(thief, inputs, progress, private), pool, test, str(data)) if thief else None
            members_taken = victim.taken(own) if own else None
            if members_taken:
                victim.check(members_taken, str(members))
            adversary = Adversary(victim, test, epsilon, str(data)) if epsilon else None
            report = Attacks(exhibit, members_taken, queries, range(seeds), costs, blind, adversary)
            rows = []
            for number, (name, inside) in enumerate(_with_baselines(spans, len(victim.layered.layers)).items()):
                progress(f"attacking {name}", number, len(spans) + 2)
                rows.append(report.row(name, inside))
            return LeakageReport(
                model=model.name, sha256=source_digest(model), pool=len(pool), test=len(test),
                unit=costs.profile.unit if costs else None, adversarial=report.adversarial(), rows=rows,
            )  # fmt: skip

    report = in_child(work, str(model))
    report.write(path)
    if plot:
        draw_leakage(plot, report)
    if as_json:
        click.echo(report.model_dump_json(indent=1))
    else:
        _print(report)
        click.echo(f"{path}: give it to tzml partition --objective privacy --leakage")


class Attacks:
    """All attacks on partitions of a victim, with the same samples."""

    def __init__(
        self, exhibit: Exhibit, members: Samples | None, queries: tuple[int, ...], seeds: range,
        costs: RangeCosts | None, blind: Exhibit | None, adversary: Adversary | None,
    ) -> None:  # fmt: skip
        self.exhibit, self.victim, self.queries, self.seeds = exhibit, exhibit.network, queries, seeds
        self.costs, self.blind, self.adversary = costs, blind, adversary
        self.membership = infer_membership(self.victim, members, exhibit.test) if members else None
        self.weights = [layer.weights for layer in self.victim.layered.layers]

    def row(self, name: str, inside: range) -> LeakageRow:
        """The figures of a partition. Raises CompileError."""
        cut_model = self.victim.layered.cut(inside) if inside else None
        gives_output = cut_model is not None and not cut_model.is_oracle
        known = range(max(inside.start, self.victim.first), inside.stop)  # nobody has to find public layers
        seen = replace(self.exhibit, inside=known if inside else ())
        own = self.blind if name == ALL else None
        stolen = [steal(seen, count, self.seeds, own, self.adversary) for count in self.queries]
        oracle = None
        if inside and not gives_output:
            few = self.exhibit.test.part(slice(0, _ORACLE_TEST))
            oracle = question(self.victim, inside, self.exhibit.pool, few, max(self.queries))
        membership = None
        if self.membership:
            membership = self.membership.labels if gives_output else self.membership.scores
        return LeakageRow(
            layers=name,
            weights_inside=sum(self.weights[i] for i in inside) / max(1, sum(self.weights)),
            gives_output=gives_output,
            stolen=[_stolen_row(found) for found in stolen],
            oracle=OracleRow(solved=oracle.solved, queries=oracle.queries, fidelity=oracle.fidelity)
            if oracle
            else None,
            membership=membership,
            latency=self._latency(inside),
        )

    def adversarial(self) -> AdversarialRow | None:
        """How adversarial examples were made."""
        made = self.adversary
        if made is None:
            return None
        noise = [made.noise(seed) for seed in self.seeds]
        return AdversarialRow(epsilon=made.epsilon, samples=len(made.samples), noise=noise)

    def _latency(self, inside: range) -> float | None:
        if self.costs is None:
            return None
        if not inside:
            return self.costs.normal_world
        found = self.costs.cost(inside)
        return found.latency if found else None


def _stolen_row(found: Stolen) -> StolenRow:
    fooled = FooledRow(fgsm=[one.fgsm for one in found.fooled], pgd=[one.pgd for one in found.fooled])
    return StolenRow(
        queries=found.queries, accuracy=list(found.accuracy), fidelity=list(found.fidelity),
        fooled=fooled if found.fooled else None,
    )  # fmt: skip


def exhibited(network: Victim, pool: Samples, test: Samples, what: str) -> Exhibit:
    """A network with samples as it takes them; unknown is all that is not public. Raises TzmlError."""
    found = Exhibit(
        network, range(network.first, len(network.layered.layers)), network.taken(pool), network.taken(test)
    )
    network.check(found.pool, what)
    return found


def read_samples(path: Path) -> Samples:
    """Samples and their labels, from a .npz file with two arrays. Raises TzmlError."""
    arrays = load_arrays(path)
    if not isinstance(arrays, dict) or len(arrays) != 2 or "labels" not in arrays:
        raise TzmlError(f"{path} does not have two arrays, one of them `labels`", "give a .npz file with both")
    labels = arrays.pop("labels")
    ((name, found),) = arrays.items()
    if len(found) != len(labels):
        raise TzmlError(f"{path} has {len(found)} samples in {name}, but {len(labels)} labels", "give one each")
    return Samples(found, labels)


def split(samples: Samples, queries: int) -> tuple[Samples, Samples]:
    """Samples to judge copies on, and those to ask about; the same each time. Raises TzmlError for too few."""
    order = np.random.default_rng(0).permutation(len(samples))
    at = round(len(samples) * _TEST_SHARE)
    test, pool = samples.part(order[:at]), samples.part(order[at:])
    if len(pool) < queries or not len(test):
        raise TzmlError(
            f"there are {len(samples)} samples, of which a thief may ask about {len(pool)}: fewer than {queries}",
            "give more samples, or less to --queries",
        )
    return test, pool


def _with_baselines(spans: dict[str, range], count: int) -> dict[str, range]:
    others = {name: inside for name, inside in spans.items() if inside != range(count)}
    return {NOTHING: range(0), **others, ALL: range(count)}


def _costs(model: Path, profile_file: Path | None, secure_memory: int) -> RangeCosts | None:
    if profile_file is None:
        return None
    profile = read_profile(profile_file)
    if profile.sha256 != source_digest(model):
        raise TzmlError(f"{profile_file} is the profile of another file than {model}", "make it with tzml profile")
    return RangeCosts(profile, secure_memory)


def _print(report: LeakageReport) -> None:
    table = Table(box=None)
    queries = [row.queries for row in report.rows[0].stolen]
    headings = ["layers", "weights inside", "result"]
    shown = ["accuracy", "fidelity", *(["FGSM", "PGD"] if report.adversarial else [])]
    headings += [f"{what}, {count}" for count in queries for what in shown]
    for heading in [*headings, "oracle: fidelity", "queries", "membership", "latency"]:
        table.add_column(heading, justify="right")
    for row in report.rows:
        cells = [row.layers, f"{row.weights_inside:.1%}", "inside" if row.gives_output else "in the clear"]
        for stolen in row.stolen:
            cells += [_spread(stolen.accuracy), _spread(stolen.fidelity)]
            cells += [_spread(stolen.fooled.fgsm), _spread(stolen.fooled.pgd)] if stolen.fooled else []
        oracle = row.oracle
        cells += (
            [f"{oracle.fidelity:.3f}{' (solved)' if oracle.solved else ''}", f"{oracle.queries:,}"]
            if oracle
            else ["-", "-"]
        )
        cells.append("-" if row.membership is None else f"{row.membership:.3f}")
        cells.append("-" if row.latency is None else f"{row.latency:,.4g}")
        table.add_row(*cells)
    Console(width=160).print(table)
    if made := report.adversarial:
        click.echo(
            f"FGSM, PGD: share of {made.samples} samples mistaken, changed by {made.epsilon:g} of their range on a "
            f"copy; changed so at random: {_spread(made.noise)}"
        )


def _spread(values: list[float]) -> str:
    return f"{np.mean(values):.3f} ± {np.std(values):.3f}"
