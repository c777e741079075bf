"""`tzml profile`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tzml.cli.child import Tell, in_child
from tzml.cli.compile import parse_inputs
from tzml.cli.options import OutputFile, completed, parse_size
from tzml.cli.progress import progress_bar, told
from tzml.cli.tune import environments
from tzml.compiler import TARGETS, CompileOptions, InputSpec
from tzml.errors import TzmlError
from tzml.files import check_output
from tzml.partitioning.layered import LayeredModel
from tzml.partitioning.measure import Meter, even_cuts, meter_here, profile_model, unit_of
from tzml.partitioning.profile import MachineCosts, Profile, Unit, read_machine_costs
from tzml.signing import SigningKey

if TYPE_CHECKING:  # the lab is an extra
    from tzml_lab.inference.world_costs import CostsOnTarget


@click.command("profile")
@click.argument("model", required=False, type=click.Path(exists=True, path_type=Path))
@click.option("--target", type=click.Choice(sorted(TARGETS)), help="The device. Required with MODEL.")
@click.option("-o", "--output", type=OutputFile(),
              help="Default: MODEL.profile.json, beside MODEL; for a machine, NAME.costs.json.")  # fmt: skip
@click.option("--costs", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="What the machine takes for going into the TEE: a file that --machine wrote.")  # fmt: skip
@click.option("--machine", is_flag=True,
              help="Measure only what the machine of --lg-env takes for going into the TEE.")  # fmt: skip
@click.option("--lg-env", "environment", metavar="NAME", shell_complete=completed(environments, file=True),
              help="Boot the machine of this labgrid environment, and measure in both worlds.")  # fmt: skip
@click.option("--repeat", default=10, show_default=True, type=click.IntRange(1),
              help="Runs in each round, where this host's CPU time is measured.")  # fmt: skip
@click.option("--cuts", type=click.IntRange(1), metavar="N",
              help="Measure at most N cuts, evenly. Default: all, which takes long for large models.")  # fmt: skip
@click.option("--secure-memory", default="8M", show_default=True, callback=parse_size, metavar="SIZE",
              help="With --lg-env: what parts may take of it.")  # fmt: skip
@click.option("--input", "inputs", metavar="NAME=SHAPE[:DTYPE]", multiple=True, callback=parse_inputs,
              help="As for `tzml compile`.")  # fmt: skip
def command(
    model: Path | None,
    target: str | None,
    output: Path | None,
    costs: Path | None,
    machine: bool,
    environment: str | None,
    repeat: int,
    cuts: int | None,
    secure_memory: int,
    inputs: dict[str, InputSpec],
) -> None:
    """Measure what the layers of MODEL cost in each world, for `tzml partition`.

    The layers before each cut and those behind it are compiled and measured as parts: by their instructions under
    QEMU, by CPU time if the target is this host, or by their time in both worlds of a board (--lg-env). The TA has
    no clock for that: it runs parts as any other bundle, and the normal world takes the time.
    """
    if machine != (model is None):
        raise click.UsageError("give either MODEL or --machine")
    if model is None:
        _machine(environment, output)
        return
    if target is None:
        raise click.UsageError("MODEL needs --target")
    path = output or model.with_suffix(".profile.json")
    check_output(path, [file for file in (model, costs) if file], "give another file to --output")
    known = read_machine_costs(costs) if costs else None

    def work(tell: Tell) -> Profile:
        with (
            progress_bar(model.name) as show,
            _measuring(target, environment, known, repeat) as (meter, unit, of_machine, key),
        ):
            layered = LayeredModel(model, CompileOptions(target, key, inputs=inputs), told(tell, show))
            chosen = even_cuts(len(layered.layers), cuts) if cuts else None
            room = secure_memory if environment else None
            return profile_model(layered, meter, unit, of_machine, room, chosen)

    profile = in_child(work, str(model))
    profile.write(path)
    click.echo(f"{path}: {len(profile.layers)} layers; all cost {amount(profile.whole.ree, profile.unit)}")
    if profile.machine is None:
        click.echo("what going into the TEE takes is not in it: give --costs to have that too", err=True)


def _machine(environment: str | None, output: Path | None) -> None:
    """Measure a machine, and write the file."""
    if environment is None:
        raise click.UsageError("--machine needs --lg-env")
    path = output or Path(f"{Path(environment).stem}.costs.json")
    check_output(path)
    with _on_target(environment) as place:
        found = place.probe()
    found.write(path)
    click.echo(
        f"{path}: a run costs {amount(found.run, found.unit)}, and in the TEE {amount(found.switch, found.unit)}; "
        f"a byte that crosses costs {amount(found.transfer, found.unit)}, one that is loaded "
        f"{amount(found.load, found.unit)}; computing costs {found.tee_ratio:.3f} of what it does outside"
    )


@contextmanager
def _measuring(
    target: str, environment: str | None, known: MachineCosts | None, repeat: int
) -> Iterator[tuple[Meter, Unit, MachineCosts | None, SigningKey | None]]:
    """A meter while the context is open, its unit, the costs of the machine, and the key that it trusts."""
    if environment is None:
        unit = unit_of(target)
        if known and known.unit != unit:
            raise TzmlError(
                f"the costs of {known.name} are in {known.unit}, but for {target} this host measures {unit}",
                "give costs of that unit, or measure on the machine with --lg-env",
            )
        yield meter_here(target, repeat, known.tee_ratio if known else 1.0), unit, known, None
        return
    with _on_target(environment) as place:
        if place.machine != target:
            raise TzmlError(f"{environment} is a {place.machine}, not a {target}", f"give --target {place.machine}")
        machine = known or place.probe()
        yield place.meter(machine), place.unit, machine, place.key


def _on_target(environment: str) -> AbstractContextManager[CostsOnTarget]:
    try:
        from tzml_lab.inference.world_costs import costs_of_environment
    except ModuleNotFoundError as error:
        raise TzmlError("measuring on a machine needs the lab", "pip install 'tzml[compile,lab]'") from error
    return costs_of_environment(environment)


def amount(cost: float, unit: Unit) -> str:
    """A cost in words."""
    if unit == "instructions":
        return f"{cost:,.0f} instructions" if cost >= 100 else f"{cost:.2f} instructions"
    return f"{cost * 1e3:.3f} ms" if cost >= 1e-6 else f"{cost * 1e9:.2f} ns"
