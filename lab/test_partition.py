"""What `tzml profile` and `tzml partition` predict is what a partitioned network takes on the machine.

The machine counts instructions as time (lab/env/qemu-counted.yaml), so that the load of the host does not matter.
The layers are profiled on the host, by instructions; what going into the TEE takes is measured on the machine, with
networks of its own. The partitioned networks are then run as any other bundle. No range was profiled as such: only
heads and tails at their cuts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import onnx
import pytest
from labgrid import Target

from tzml.compiler import CompileOptions, compile_model
from tzml.compiler.compile import layers_of
from tzml.partitioning.costs import RangeCost, RangeCosts
from tzml.partitioning.layered import LayeredModel
from tzml.partitioning.measure import meter_here, profile_model
from tzml.partitioning.profile import MachineCosts, Profile
from tzml.partitioning.slices import PRIVATE, add_slices, default_taps
from tzml_lab.faults import RecordProperty
from tzml_lab.inference.world_costs import CostsOnTarget, costs_on
from tzml_lab.results.timings import Timings
from tzml_lab.target import Commands
from tzml_zoo import models

pytestmark = pytest.mark.lg_feature(["counted", "network", "python"])

SECURE_MEMORY, WHOLE_MEMORY = 8 << 20, 12 << 20
TOLERANCE = 0.15
PART = ("digits",)
FULL = (*PART, "squeezenet", "mobilenet_v2", "resnet18")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "profiled" in metafunc.fixturenames:
        names = FULL if metafunc.config.option.networks == "full" else PART
        metafunc.parametrize("profiled", names, scope="module", indirect=True)


@dataclass(frozen=True)
class Profiled:
    """A network with its profile, and what the profile predicts."""

    model: LayeredModel
    profile: Profile
    costs: RangeCosts

    def predict(self, inside: range) -> RangeCost:
        found = self.costs.cost(inside)
        assert found is not None
        return found


@pytest.fixture(scope="module")
def place(target: Target, command: Commands) -> CostsOnTarget:
    return costs_on(target, "qemu-counted")


@pytest.fixture(scope="module")
def machine(place: CostsOnTarget) -> MachineCosts:
    return place.probe()


RANGES: dict[str, Callable[[int], range]] = {
    "middle": lambda n: range(n // 3, n - n // 3),
    "first half": lambda n: range(1, n // 2),
    "last half": lambda n: range(n // 2, n),
}


@pytest.fixture(scope="module")
def profiled(request: pytest.FixtureRequest, place: CostsOnTarget, machine: MachineCosts) -> Profiled:
    model = LayeredModel(models()[request.param].onnx(), CompileOptions(place.machine, place.key))
    meter = meter_here(place.machine, 1, machine.tee_ratio)
    n = len(model.layers)
    cuts = {end for choose in RANGES.values() for end in (choose(n).start, choose(n).stop)} - {0, n}
    profile = profile_model(model, meter, "instructions", machine, cuts=cuts)
    return Profiled(model, profile, RangeCosts(profile, SECURE_MEMORY))


def test_going_into_the_tee_takes_instructions_that_are_the_same_each_time(
    place: CostsOnTarget, machine: MachineCosts, timings: Timings, record_property: RecordProperty
) -> None:
    for what in ("run", "switch", "transfer", "load", "tee_ratio"):
        record_property(what, getattr(machine, what))
    assert place.unit == "instructions"
    assert 100 < machine.run < machine.switch < 1e6
    assert 0 < machine.transfer < 20
    assert 0.5 < machine.load < 100
    assert 0.95 < machine.tee_ratio < 1.1


def test_a_part_takes_in_both_worlds_what_the_host_counts(
    place: CostsOnTarget, machine: MachineCosts, record_property: RecordProperty
) -> None:
    """What `tzml profile --lg-env` measures of a part, and what it measures without a machine.

    On the machine, handing over what it takes and gives comes on top: copies, and new pages for outputs.
    """
    model = LayeredModel(models()["squeezenet"].onnx(), CompileOptions(place.machine, place.key))
    part, _ = model.halves(4)
    here, _ = meter_here(place.machine, 1)(part)
    ree, tee = place.meter(machine)(part)
    record_property("here_ree_tee", [here, ree, tee])
    passed = sum(part.tensors[port.tensor].size for port in (*part.program.inputs, *part.program.outputs))
    record_property("passed", passed)
    assert 0 <= ree - here <= passed  # less than an instruction a byte
    assert tee == pytest.approx(ree, rel=0.01)


@pytest.mark.parametrize("third", RANGES)
def test_a_partitioned_network_costs_what_was_predicted(
    profiled: Profiled, place: CostsOnTarget, third: str, timings: Timings, record_property: RecordProperty
) -> None:
    inside = RANGES[third](len(profiled.model.layers))
    predicted = profiled.predict(inside)
    made = profiled.model.partition(inside, SECURE_MEMORY)
    measured, report = place.run(made.bundle, "tee")
    record_property("predicted", predicted.latency)
    record_property("measured", measured)
    record_property("streamed", [predicted.streamed, report["streaming"]["bytes"]])
    name = f"{profiled.profile.model.removesuffix('.onnx')}/partition/{third}"
    timings.add(f"{name}/predicted", [predicted.latency / measured], "ratio")
    assert predicted.latency == pytest.approx(measured, rel=TOLERANCE)
    assert report["memory"]["secure_peak"] <= made.bundle.secure_memory


@pytest.mark.full
def test_private_slices_take_at_most_a_seventh_of_the_whole_in_the_tee(
    place: CostsOnTarget, tmp_path: Path, record_property: RecordProperty
) -> None:
    """Behind EfficientNet-Lite0, as `tzml slices` makes them; loading weights that do not fit does not count."""
    backbone = models()["efficientnet_lite0"].onnx()
    model = add_slices(onnx.load(backbone), default_taps(layers_of(backbone)), classes=14, width=24, side=3, seed=0)
    path = tmp_path / "sliced.onnx"
    path.write_bytes(model.SerializeToString())
    costs = {}
    for tee in (PRIVATE, "all"):
        options = CompileOptions(place.machine, place.key, tee=tee, secure_memory=WHOLE_MEMORY)
        _, report = place.run(compile_model(path, options), "tee")
        (took,) = (part["seconds"] for part in report["programs"] if part["world"] == "tee")
        costs[tee] = took - report["streaming"]["seconds"]
        record_property(f"million instructions of {tee}", costs[tee] * 1e3)
    assert costs[PRIVATE] <= costs["all"] / 7
