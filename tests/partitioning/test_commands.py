"""`tzml profile` and `tzml partition`: what they predict is what is measured, and what they say can be used."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import click
import onnx
import pytest
from click.testing import CliRunner
from conftest import tzml

from partitioning.chains import MACHINE
from tzml.bundle import Worlds
from tzml.cli.partition import command as partition
from tzml.cli.profile import command as profile_command
from tzml.compiler import CompileOptions, compile_model
from tzml.errors import TzmlError
from tzml.partitioning.costs import RangeCosts
from tzml.partitioning.layered import LayeredModel
from tzml.partitioning.measure import measure_range, meter_here, profile_model
from tzml.partitioning.probes import ProbeTimes, machine_costs, probe_networks
from tzml.partitioning.profile import Profile, read_profile
from tzml_zoo.digits import ONNX

MEMORY = 8 << 20


@pytest.fixture(scope="module")
def model() -> LayeredModel:
    return LayeredModel(ONNX, CompileOptions("qemu"))


@pytest.fixture(scope="module")
def profile(model: LayeredModel) -> Profile:
    """The digits network's, in instructions."""
    return profile_model(model, meter_here("qemu", 1, MACHINE.tee_ratio), "instructions", MACHINE)


@pytest.fixture(scope="module")
def profile_file(profile: Profile, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("profile") / "digits.profile.json"
    profile.write(path)
    return path


@pytest.mark.parametrize("inside", [range(2, 5), range(1, 7), range(6, 8)], ids=str)
def test_a_range_that_was_not_profiled_costs_what_is_predicted(
    model: LayeredModel, profile: Profile, inside: range
) -> None:
    predicted = RangeCosts(profile, MEMORY).cost(inside)
    assert predicted is not None
    measured = measure_range(model, predicted, MEMORY, meter_here("qemu", 1, MACHINE.tee_ratio), MACHINE)
    for what in ("before", "tee", "behind", "latency", "bottleneck"):
        assert getattr(predicted, what) == pytest.approx(getattr(measured, what), rel=0.05), what
    assert measured.secure_memory == pytest.approx(predicted.memory, rel=0.35)
    assert measured.streamed == predicted.streamed == 0


def test_what_passes_between_layers_is_what_parts_take_and_give(model: LayeredModel, profile: Profile) -> None:
    costs = RangeCosts(profile, MEMORY)
    for inside in (range(2, 5), range(1)):
        made = model.partition(inside, MEMORY)
        secure = next(bundle for bundle, worlds in made.parts if worlds == Worlds.tee)
        ports = (*secure.program.inputs, *secure.program.outputs)
        predicted = costs.cost(inside)
        assert predicted is not None
        assert predicted.passed == sum(secure.tensors[port.tensor].size for port in ports)
        assert predicted.gives_output == (made.bundle.programs[-1].worlds == Worlds.tee)


def test_the_layers_are_those_of_inspect(profile: Profile) -> None:
    names = [node.name for node in onnx.load(ONNX).graph.node]
    assert [layer.number for layer in profile.layers] == list(range(1, 9))
    assert all(layer.name in names for layer in profile.layers)
    assert profile.whole.weights == pytest.approx(
        sum(layer.weights for layer in profile.layers), rel=0.01
    )  # padding


def test_the_chosen_range_is_told_and_drawn(profile_file: Path, tmp_path: Path) -> None:
    common = ("partition", ONNX, "--profile", profile_file, "--measure", "0")
    done = tzml(*common, "--json", "--plot", tmp_path / "p.svg", "--secure-memory", "8MiB")
    assert (done.returncode, done.stderr) == (0, "")
    about = json.loads(done.stdout)
    assert about["ranges"] == 36
    assert about["chosen"]["weights_inside"] >= 0.5
    assert about["chosen"]["gives_output"]
    least = [row["predicted"]["latency"] for row in about["front_without_oracles"] if row["weights_inside"] >= 0.5]
    assert about["chosen"]["predicted"]["latency"] == min(least)
    assert compile_model(ONNX, CompileOptions("host", tee=about["chosen"]["tee"], everywhere=True)).programs
    drawn = (tmp_path / "p.svg").read_text()
    assert drawn.startswith("<?xml")
    assert "all in the normal world" in drawn
    text = tzml(*common, "--objective", "privacy", "--slowdown", "3", "--plot", tmp_path / "p.png")
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
    assert f"chosen: tzml compile {ONNX.name} --target qemu --tee 1:8" in text.stdout
    stages = json.loads(tzml(*common, "--tees", "3", "--objective", "throughput", "--json").stdout)
    assert [row["layers"] for row in stages["stages"]][-1].endswith(":8")
    assert stages["cost"] == max(row["cost"] for row in stages["stages"])
    assert stages["cost"] < stages["sum"]


def test_of_the_ranges_that_were_attacked_the_one_with_the_worst_copy_is_chosen(
    profile_file: Path, profile: Profile, tmp_path: Path
) -> None:
    def row(layers: str, fidelity: float) -> dict[str, object]:
        stolen = [{"queries": 50, "accuracy": [0.5], "fidelity": [fidelity]}]
        return {"layers": layers, "weights_inside": 0, "gives_output": layers != "nothing", "stolen": stolen}

    about = {"model": "digits.onnx", "sha256": profile.sha256, "pool": 60, "test": 40}
    found = [row("nothing", 1), row("8:8", 0.9), row("5:8", 0.4), row("3:8", 0.6), row("all", 0.5)]
    report = tmp_path / "l.json"
    report.write_text(json.dumps({**about, "rows": found}))
    common = ["--profile", str(profile_file), "--objective", "privacy", "--leakage", str(report), "--measure", "0"]
    costs, whole = RangeCosts(profile, MEMORY), RangeCosts(profile, MEMORY).normal_world
    last, more = (costs.cost(range(i, 8)).latency / whole for i in (7, 4))  # type: ignore[union-attr]
    between = str((last + more) / 2)
    chosen = {}
    for slowdown in (between, "3"):
        done = CliRunner().invoke(partition, [str(ONNX), *common, "--json", "--slowdown", slowdown])
        told = json.loads(done.stdout)
        assert told["ranges"] == 4
        chosen[slowdown] = told["chosen"]["tee"]
    assert chosen == {between: "8:8", "3": "5:8"}
    assert "0.400" in CliRunner().invoke(partition, [str(ONNX), *common, "--slowdown", "3"]).stdout
    report.write_text(json.dumps({**about, "sha256": "0", "rows": found}))
    with pytest.raises(TzmlError, match="about another file than"):
        partition.main([str(ONNX), *common], standalone_mode=False)


def test_mistakes_are_one_line(profile_file: Path, profile: Profile, tmp_path: Path) -> None:
    other = tmp_path / "other.onnx"
    other.write_bytes(b"x")
    alone = tmp_path / "alone.json"
    profile.model_copy(update={"machine": None}).write(alone)
    MACHINE.write(tmp_path / "costs.json")
    for arguments, message in (
        (("partition", other, "--profile", profile_file), "is the profile of another file"),
        (("partition", ONNX, "--profile", alone), "tzml profile --machine"),
        (("partition", ONNX, "--profile", ONNX), "is not a profile"),
        (("partition", ONNX, "--profile", profile_file, "--plot", tmp_path / "p.pdf"), "neither .svg nor .png"),
        (("partition", ONNX, "--profile", profile_file, "--secure-memory", "300K"), "no range that fits has 50%"),
        (("profile", ONNX, "--target", "host", "--costs", tmp_path / "costs.json"), "are in instructions, but"),
        (("profile", ONNX), "MODEL needs --target"),
        (("profile", "--machine"), "--machine needs --lg-env"),
        (("profile",), "give either MODEL or --machine"),
    ):
        name, *rest = map(str, arguments)
        with pytest.raises((TzmlError, click.UsageError), match=message):
            {"partition": partition, "profile": profile_command}[name].main(rest, standalone_mode=False)
    done = tzml("partition", other, "--profile", profile_file)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)


def test_the_costs_of_a_machine_follow_from_what_networks_take() -> None:
    times = {
        "switch": ProbeTimes(100, 1100),
        "wide": ProbeTimes(500, 400 + 1100 + 3 * 2 * 4 * (1 << 16)),
        "load": ProbeTimes(0, 0, 5000, 1000),
        "compute": ProbeTimes(1e7 + 100, 1.2e7 + 1100 + 3 * 2 * 4 * 64 * 28 * 28),
    }
    found = machine_costs("m", "seconds", times)
    assert (found.run, found.switch, found.transfer, found.load) == (100, 1100, 3, 5)
    assert found.tee_ratio == pytest.approx(1.2)
    noisy = machine_costs("m", "seconds", {**times, "wide": ProbeTimes(900, 500)})
    assert noisy.transfer == 0


def test_the_networks_that_show_a_machines_costs_can_be_compiled_and_one_is_streamed(tmp_path: Path) -> None:
    from tzml.bundle.streaming import bytes_loaded

    options = CompileOptions("host", secure_memory=6 << 20)
    for name, path in probe_networks(tmp_path).items():
        bundle = compile_model(path, replace(options, name=name))
        loaded = bytes_loaded(bundle.program, bundle.memory)
        assert (loaded > 6 << 20) == (name == "load")


def test_a_profile_of_the_host_is_in_seconds(tmp_path: Path) -> None:
    done = tzml("profile", ONNX, "--target", "host", "--repeat", "1", "-o", tmp_path / "p.json")
    assert done.returncode == 0, done.stderr
    assert "what going into the TEE takes is not in it" in done.stderr
    found = read_profile(tmp_path / "p.json")
    assert found.unit == "seconds"
    assert 0 < found.whole.ree < 1
