"""What a pipeline of two devices gains over one that streams, and what sealed records take of a stage.

The machine counts instructions as time (lab/env/qemu-counted.yaml). Both stages are run on it one after the other:
a pipeline gives as many answers as its slowest stage. lab/test_pipeline.py has two machines, and who is let in.
"""

from __future__ import annotations

import json
import secrets
import shutil
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from labgrid import Target

from tzml.bundle import read
from tzml.compiler import compile_model, compile_stages
from tzml.device import SessionRecord, read_device
from tzml.owner.grant import Terms, make_grant
from tzml.owner.seal import seal
from tzml.pipeline.client import Client, Pending
from tzml.pipeline.description import Invitation, Pipeline
from tzml.pipeline.release import EpochKeys, make_release
from tzml_lab.environment import ROOT
from tzml_lab.faults import RecordProperty
from tzml_lab.inference.compiling import options_for
from tzml_lab.inference.granted import OWNER, enroll
from tzml_lab.inference.networks import SECURE_MEMORY
from tzml_lab.results.timings import Timings
from tzml_lab.target import Commands, files_of
from tzml_lab.time_limits import scaled
from tzml_zoo import models

pytestmark = pytest.mark.lg_feature(["counted", "network", "python"])

NETWORK = "mobilenet_v2"  # one device loads 13.7 MB of it in each run
CUT = "1:36,37:54"  # where one value crosses; the first stage keeps its weights, and the second loads some
FOLDER = "/tmp/stage-costs"  # on the target
RUNS = 12


@dataclass(frozen=True)
class StageCosts:
    """Instructions of a run (medians), in the clear and with records; bytes of the records."""

    clear: float
    sealed: float
    taken: int
    given: int


@dataclass(frozen=True)
class PipelineCosts:
    """The whole network on one device, its stages, and whether the pipeline's answers are the whole's."""

    whole: float
    stages: list[StageCosts]
    outputs: list[np.ndarray]
    expected: np.ndarray


class Bench:
    """The machine, which is each stage in turn."""

    def __init__(self, command: Commands, target: Target, folder: Path) -> None:
        self.command, self.target, self.folder = command, target, folder
        self.per_second = 1e9 / target.env.config.data["options"]["instruction_nanoseconds"]
        command.run_check(f"rm -rf {FOLDER}; mkdir -m 700 {FOLDER}")
        self.device = enroll(command, target, folder, FOLDER, [OWNER])
        program = (ROOT / "lab" / "target" / "stage_costs.py").read_bytes()
        (folder / "stage_costs.py").write_bytes(program)
        self.put("stage_costs.py")

    def put(self, name: str, to: str = "") -> None:
        files_of(self.target).put(str(self.folder / name), f"{FOLDER}/{to or name}")

    def get(self, name: str) -> bytes:
        files_of(self.target).get(f"{FOLDER}/{name}", str(self.folder / "got"))
        return (self.folder / "got").read_bytes()

    def seal(self, name: str) -> bytes:
        """Seal NAME.tzm, grant it to the device, and put both there as the stage: its digest."""
        key = seal(read(self.folder / f"{name}.tzm"), OWNER, self.folder / "stage.tzm")
        (self.folder / "stage.tzg").write_bytes(make_grant(key, OWNER, [self.device.public_key], Terms(serial=1)))
        return key.bundle_digest

    def run_stage(self, pipeline: Pipeline, keys: EpochKeys, number: int, records: list[bytes]) -> StageCosts:
        """Run a stage on records; what comes of them is 0.out and so on."""
        nonce = secrets.token_bytes(32)
        (self.folder / "nonce").write_bytes(nonce)
        for index, record in enumerate(records):
            (self.folder / f"{index}.tzx").write_bytes(record)
            self.put(f"{index}.tzx")
        self.command.run_check(f"cd {FOLDER} && rm -f session.tzd release.tzr costs.json failed")
        for name in ("stage.tzm", "stage.tzg", "nonce"):
            self.put(name)
        told = f"python3 stage_costs.py {FOLDER} {len(records)} >costs.part 2>errors && mv costs.part costs.json"
        # the redirections are of all that goes on in the background: SSH waits until nobody has its streams
        self.command.run_check(f"(cd {FOLDER}; {told} || touch failed) </dev/null >/dev/null 2>&1 &")
        self.wait_for("session.tzd")
        (self.folder / "session.tzd").write_bytes(self.get("session.tzd"))
        found = read_device(self.folder / "session.tzd")
        session = SessionRecord(found.public_key, nonce, found.owners, found.evidence)
        spec = pipeline.stages[number]
        release = make_release(keys, OWNER, session, number, spec.bundle_digest, spec.program)
        (self.folder / "release").write_bytes(release)
        self.put("release")
        self.command.run_check(f"mv {FOLDER}/release {FOLDER}/release.tzr")
        self.wait_for("costs.json")
        costs = json.loads(self.get("costs.json"))
        # the first run touches memory that later ones have, and the first record opens the client's secret
        clear, sealed = (statistics.median(costs[name][1:]) * self.per_second for name in ("clear", "sealed"))
        return StageCosts(clear, sealed, costs["taken"], costs["given"])

    def wait_for(self, name: str) -> None:
        deadline = time.monotonic() + scaled(1800)
        while time.monotonic() < deadline:
            if self.command.run(f"test -e {FOLDER}/failed")[2] == 0:
                raise AssertionError(self.command.run_check(f"tail -n 20 {FOLDER}/errors"))
            if self.command.run(f"test -s {FOLDER}/{name}")[2] == 0:
                return
            time.sleep(2)
        raise AssertionError(f"no {name}")


@pytest.fixture(scope="module")
def measured(command: Commands, target: Target, tmp_path_factory: pytest.TempPathFactory) -> PipelineCosts:
    bench = Bench(command, target, tmp_path_factory.mktemp("stage-costs"))
    options = options_for(target, owner=OWNER.public, name=NETWORK, secure_memory=SECURE_MEMORY)
    onnx = models()[NETWORK].onnx()
    compile_model(onnx, options).write(bench.folder / "whole.tzm")
    for number, bundle in enumerate(compile_stages(onnx, options, CUT)):
        bundle.write(bench.folder / f"part-{number}.tzm")

    def pipeline_of(*names: str) -> tuple[Pipeline, EpochKeys, Client]:
        paths = []
        for number, name in enumerate(names):
            bench.seal(name)
            paths.append(bench.folder / f"sealed-{number}.tzm")
            shutil.copyfile(bench.folder / "stage.tzm", paths[-1])
            shutil.copyfile(bench.folder / "stage.tzg", bench.folder / f"sealed-{number}.tzg")
        made = Pipeline.of(paths)
        keys = EpochKeys.new(made.id, 1, len(paths))
        return made, keys, Client(Invitation.of(made, keys))

    def run(names: tuple[str, ...]) -> tuple[list[StageCosts], list[np.ndarray]]:
        pipeline, keys, client = pipeline_of(*names)
        records: list[bytes] = []
        pending: list[Pending] = []
        for _ in range(RUNS):
            shape = client.invitation.inputs[0].shape
            record, waits = client.seal({client.invitation.inputs[0].name: np.full(shape, 0.5, np.float32)})
            records.append(record)
            pending.append(waits)
        costs = []
        for number in range(len(names)):
            for ending in ("tzm", "tzg"):
                (bench.folder / f"stage.{ending}").write_bytes(
                    (bench.folder / f"sealed-{number}.{ending}").read_bytes()
                )
            costs.append(bench.run_stage(pipeline, keys, number, records))
            records = [bench.get(f"{index}.out") for index in range(RUNS)]
        outputs = [
            next(iter(client.open(waits, record).values())) for waits, record in zip(pending, records, strict=True)
        ]
        return costs, outputs

    (whole,), expected = run(("whole",))
    stages, outputs = run(("part-0", "part-1"))
    command.run(f"rm -rf {FOLDER}", timeout=scaled(60))
    return PipelineCosts(whole.clear, stages, outputs, expected[0])


def test_stages_give_the_bits_of_the_unsplit_network(measured: PipelineCosts) -> None:
    assert {output.tobytes() for output in measured.outputs} == {measured.expected.tobytes()}


def test_two_stages_give_answers_1_8_times_as_fast_as_one_device_that_streams(
    measured: PipelineCosts, timings: Timings, record_property: RecordProperty
) -> None:
    slowest = max(stage.sealed for stage in measured.stages)
    record_property("instructions", [round(measured.whole), *(round(stage.sealed) for stage in measured.stages)])
    timings.add(f"{NETWORK}/pipeline/throughput", [measured.whole / slowest], "ratio")
    assert measured.whole / slowest >= 1.8


def test_sealed_records_take_at_most_a_twentieth_of_a_stage(
    measured: PipelineCosts, timings: Timings, record_property: RecordProperty
) -> None:
    for number, stage in enumerate(measured.stages):
        share = (stage.sealed - stage.clear) / stage.sealed
        record_property(f"stage {number}", [round(stage.clear), round(stage.sealed), stage.taken, stage.given])
        timings.add(f"{NETWORK}/pipeline/records-{number}", [share], "ratio")
        assert share <= 0.05, stage
