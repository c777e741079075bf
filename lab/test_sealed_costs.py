"""What it costs that a model is sealed, in instructions: opening it, running it, and counting what it answered.

The machine counts instructions as time (lab/env/qemu-counted.yaml), so that the load of the host does not matter.
"""

from __future__ import annotations

import json
import shlex
import statistics
from dataclasses import dataclass
from pathlib import Path

import pytest
from labgrid import Target

from tzml.bundle import Bundle
from tzml.compiler import compile_model
from tzml.owner.seal import seal
from tzml_lab.environment import ROOT
from tzml_lab.faults import RecordProperty
from tzml_lab.inference.compiling import options_for
from tzml_lab.inference.granted import FOLDER, OWNER, Granted, enrolled
from tzml_lab.inference.networks import SECURE_MEMORY
from tzml_lab.results.timings import Timings
from tzml_lab.target import Commands
from tzml_lab.time_limits import scaled
from tzml_zoo import models

pytestmark = pytest.mark.lg_feature(["counted", "network", "python"])

STREAMED = "mobilenet_v2"  # does not fit into it: each inference loads weights anew
WRITE = 64  # runs that one write of the storage reserves (docs/sealing.md)
QUERIES = 4 * WRITE
SAMPLES = 8


@dataclass(frozen=True)
class Costs:
    """Instructions of opening a bundle, of one run (medians), and of all runs; bytes that a run loads.

    `kept` are bytes of secure memory that several samples at once took.
    """

    open: float
    run: float
    total: float
    loaded: float
    kept: float


@dataclass(frozen=True)
class Measured:
    """Costs of bundles on a granted device."""

    lab: Granted
    per_second: float

    def of(self, bundle: str, grant: str = "", openings: int = 3, runs: int = 4, samples: int = 1) -> Costs:
        files = [f"{bundle}.tzm", grant and f"{grant}.tzg"]
        told = shlex.join(["python3", "sealed_costs.py", *files, str(openings), str(runs), str(samples)])
        (line,) = self.lab.command.run_check(f"cd {FOLDER} && {told}", timeout=scaled(1200))
        found = json.loads(line)
        opened, (_, *ran) = found["open"], found["run"]  # the first run touches memory that later ones have
        return Costs(
            statistics.median(opened) * self.per_second,
            statistics.median(ran) * self.per_second,
            sum(ran) * self.per_second,
            found["loaded"],
            found["kept"],
        )


@pytest.fixture(scope="module")
def measured(command: Commands, target: Target, tmp_path_factory: pytest.TempPathFactory) -> Measured:
    folder = tmp_path_factory.mktemp("costs") / Path(FOLDER).name
    folder.mkdir()
    (folder / "sealed_costs.py").write_bytes((ROOT / "lab" / "target" / "sealed_costs.py").read_bytes())
    lab = enrolled(command, target, folder)
    streamed = compile_streamed(target)
    streamed.write(folder / "streamed_clear.tzm")
    lab.keys["streamed"] = seal(streamed, OWNER, folder / "streamed.tzm")
    for name in ("streamed_clear.tzm", "streamed.tzm"):
        lab.put(name)
    lab.grant("full")
    lab.grant("streamed", bundle="streamed")
    return Measured(lab, 1e9 / target.env.config.data["options"]["instruction_nanoseconds"])


def compile_streamed(target: Target) -> Bundle:
    options = options_for(target, owner=OWNER.public, secure_memory=SECURE_MEMORY)
    return compile_model(models()[STREAMED].onnx(), options)


def test_a_model_that_fits_takes_as_long_as_if_it_were_clear(
    measured: Measured, timings: Timings, record_property: RecordProperty
) -> None:
    # the clear one first: a device that has seen a model sealed refuses it clear
    clear, sealed = measured.of("clear", runs=21), measured.of("sealed", "full", runs=21)
    record(record_property, clear=clear, sealed=sealed)
    timings.add("digits/sealed/run", [sealed.run / clear.run], "ratio")
    timings.add("digits/sealed/open", [sealed.open / clear.open], "ratio")
    assert sealed.loaded == clear.loaded == 0
    assert sealed.run / clear.run < 1.05


@dataclass(frozen=True)
class Streamed:
    """What the streamed network costs, clear and sealed, one sample in a run or SAMPLES."""

    clear: Costs
    clear_several: Costs
    sealed: Costs
    sealed_several: Costs


@pytest.fixture(scope="module")
def streamed(measured: Measured) -> Streamed:
    def of(bundle: str, grant: str) -> tuple[Costs, Costs]:
        one = measured.of(bundle, grant, openings=1)
        return one, measured.of(bundle, grant, openings=1, runs=2, samples=SAMPLES)

    # the clear one first, as above
    return Streamed(*of("streamed_clear", ""), *of("streamed", "streamed"))


def test_a_model_that_is_streamed_takes_at_most_an_eighth_longer(
    streamed: Streamed, timings: Timings, record_property: RecordProperty
) -> None:
    clear, sealed = streamed.clear, streamed.sealed
    record(record_property, clear=clear, sealed=sealed)
    timings.add(f"{STREAMED}/sealed/run", [sealed.run / clear.run], "ratio")
    assert sealed.loaded == clear.loaded > 1 << 20
    record_property("instructions for a byte", (sealed.run - clear.run) / sealed.loaded)
    assert sealed.run / clear.run < 1.12  # 1.112 measured; docs/bench.md says what bounds it


def test_samples_in_one_call_share_what_is_loaded(
    streamed: Streamed, timings: Timings, record_property: RecordProperty
) -> None:
    """What bounds the gain is the share of loading: docs/memory.md."""
    for name, one, several, least in (
        ("clear", streamed.clear, streamed.clear_several, 1.2),
        ("sealed", streamed.sealed, streamed.sealed_several, 1.3),
    ):
        record(record_property, **{f"{name} one": one, f"{name} several": several})
        gain = SAMPLES * one.run / several.run
        timings.add(f"{STREAMED}/samples/{name}", [gain], "ratio")
        assert several.loaded == pytest.approx(one.loaded, rel=0.02)  # the first run finds what opening loaded
        assert one.loaded > 1 << 20
        assert 0 < several.kept < SAMPLES << 20
        assert gain > least, name


def test_a_budget_costs_a_write_for_many_runs(
    measured: Measured, timings: Timings, record_property: RecordProperty
) -> None:
    without = measured.of("sealed", "full", openings=1, runs=QUERIES + 1)
    measured.lab.grant("counted", budget=2 * QUERIES, serial=11)
    counted = measured.of("sealed", "counted", openings=1, runs=QUERIES + 1)
    each = (counted.total - without.total) / QUERIES
    record(record_property, without=without, counted=counted)
    record_property("instructions a query for its budget", each)
    timings.add("digits/sealed/budget", [counted.total / without.total], "ratio")
    more = counted.run - without.run  # of a run that writes nothing
    write = (each - more) * WRITE
    record_property("instructions of a write", write)
    assert more < write / 4, "most runs write nothing"


def record(record_property: RecordProperty, **costs: Costs) -> None:
    for name, cost in costs.items():
        record_property(name, [round(cost.open), round(cost.run), round(cost.loaded)])
