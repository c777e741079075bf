"""An attested pipeline over two real TEEs: two machines, each with a sealed part of one network.

tests/pipeline has more of the attacks, for the same code on this host. Here OP-TEE's attestation, cryptography and
memory take part, and tzml-serve carries the records.
"""

from __future__ import annotations

import contextlib
import json
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from labgrid import Target

from tzml.bundle import OutputPolicy, read
from tzml.compiler import compile_model, compile_stages
from tzml.device import DeviceRecord, read_evidence
from tzml.owner.attestation import EvidenceError, Measurements, Refusal, read_measurements
from tzml.owner.grant import Terms, make_grant
from tzml.owner.keys import OwnerKey
from tzml.owner.register import Recorded, Register
from tzml.owner.seal import seal
from tzml.pipeline.client import Client
from tzml.pipeline.description import Invitation, Pipeline
from tzml.pipeline.record import HEADER_SIZE
from tzml.pipeline.relay import HttpReplica, Relay, RelayStage, StageError
from tzml.pipeline.release import EpochKeys
from tzml.pipeline.verifier import Verifier
from tzml_lab.emulation.another import another_machine
from tzml_lab.emulation.memory import normal_memory
from tzml_lab.environment import image_of
from tzml_lab.faults import RecordProperty
from tzml_lab.inference.answers import ask
from tzml_lab.inference.compiling import options_for
from tzml_lab.inference.granted import enroll
from tzml_lab.inference.known_models import KNOWN
from tzml_lab.target import Commands, commands_of, files_of
from tzml_lab.time_limits import scaled
from tzml_zoo.digits import ONNX

pytestmark = pytest.mark.lg_feature(["emulator", "network", "python", "systemd"])

FOLDER = "/tmp/pipeline"  # on the targets
OWNER = OwnerKey(ec.generate_private_key(ec.SECP256R1()))
SAMPLES = 5


@dataclass
class StageMachine:
    """A machine with a stage, and how to reach it."""

    target: Target
    device: DeviceRecord
    port: int  # on this host
    replica: HttpReplica

    @property
    def command(self) -> Commands:
        return commands_of(self.target)

    def serve(self) -> None:
        """Start tzml-serve anew; its session, and with it its keys, are gone."""
        self.command.run_check(
            "systemctl stop tzml-stage 2>/dev/null; systemctl reset-failed tzml-stage 2>/dev/null; "
            "systemd-run --unit tzml-stage tzml-serve --stages --port 8001 --timeout 120 "
            f"--grant stage={FOLDER}/stage.tzg stage={FOLDER}/stage.tzm",
            timeout=scaled(60),
        )
        deadline = time.monotonic() + scaled(60)
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/v2/health/live", timeout=5).close()
                return
            time.sleep(0.5)
        raise AssertionError(self.command.run("journalctl -u tzml-stage -n 20 --no-pager"))


@dataclass
class Studio:
    """The owner's side, and the machines of the two stages."""

    machines: list[StageMachine]
    verifier: Verifier
    folder: Path

    def admit(self, number: int) -> bytes:
        """Let the machine in as its stage: the release."""
        replica = self.machines[number].replica
        nonce = self.verifier.ask()
        release = self.verifier.release(number, read_evidence(replica.attest(nonce), nonce))
        replica.join(release)
        return release

    def client(self) -> Client:
        return Client(Invitation.of(self.verifier.pipeline, self.verifier.keys))

    @property
    def relay(self) -> Relay:
        return Relay([RelayStage([machine.replica]) for machine in self.machines])


def set_up(target: Target, folder: Path, bundle: Path) -> tuple[DeviceRecord, bytes]:
    """Enroll the machine, and put the bundle there, sealed, with a grant that lets nothing out in the clear."""
    folder.mkdir()
    command = commands_of(target)
    command.run_check(f"rm -rf {FOLDER}; mkdir -m 700 {FOLDER}")
    device = enroll(command, target, folder, FOLDER, [OWNER])
    key = seal(read(bundle), OWNER, folder / "stage.tzm")
    grant = make_grant(key, OWNER, [device.public_key], Terms(OutputPolicy.sealed, serial=1))
    (folder / "stage.tzg").write_bytes(grant)
    for name in ("stage.tzm", "stage.tzg"):
        files_of(target).put(str(folder / name), f"{FOLDER}/{name}")
    return device, key.bundle_digest


@pytest.fixture(scope="module")
def studio(command: Commands, target: Target, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    folder = tmp_path_factory.mktemp("pipeline")
    image = image_of(target.env.config)
    about = json.loads((image.folder / "image.json").read_text())
    if "measurements" not in about:
        pytest.skip("the image has no attestation")
    options = options_for(target, owner=OWNER.public, name="digits")
    for number, bundle in enumerate(compile_stages(ONNX, options, "2")):
        bundle.write(folder / f"{number}.tzm")
    compile_model(ONNX, options).write(folder / "whole.tzm")
    expected = read_measurements(image.folder)
    register = Register(folder / "register")
    with another_machine(target, folder / "another") as other, contextlib.ExitStack() as forwards:
        machines = []
        for number, machine in enumerate((target, other)):
            device, _ = set_up(machine, folder / f"device-{number}", folder / f"{number}.tzm")
            assert device.evidence
            register.record_key(device.evidence, Recorded.factory)
            ssh = machine.get_driver("SSHDriver")
            port = forwards.enter_context(ssh.forward_local_port(8001))
            replica = HttpReplica(f"http://127.0.0.1:{port}/v2/models/stage", scaled(120))
            machines.append(StageMachine(machine, device, port, replica))
            machines[-1].serve()
        pipeline = Pipeline.of([folder / f"device-{number}" / "stage.tzm" for number in range(2)])
        verifier = Verifier(pipeline, EpochKeys.new(pipeline.id, 1, 2), OWNER, expected, register)
        yield Studio(machines, verifier, folder)
        for machine in machines:
            machine.command.run(f"systemctl stop tzml-stage; rm -rf {FOLDER}", timeout=scaled(60))


@pytest.fixture(scope="module")
def inputs() -> np.ndarray:
    """Digits, whose first row is one that nothing else in a memory has."""
    samples = KNOWN["digits"].samples[0][:SAMPLES].copy()
    numbers = np.random.default_rng(7).random(samples[:, :, :1].shape, np.float32)
    samples[:, :, :1] = numbers
    return samples


def test_who_measures_something_else_gets_no_byte(studio: Studio) -> None:
    verifier = studio.verifier
    nonce = verifier.ask()
    session = read_evidence(studio.machines[0].replica.attest(nonce), nonce)
    expected = verifier.expected
    for wrong, refusal in (
        (replace(expected, ta=bytes(32)), Refusal.TA),
        (replace(expected, core=bytes(32)), Refusal.CORE),
    ):
        assert isinstance(wrong, Measurements)
        with pytest.raises(EvidenceError) as caught:
            replace(verifier, expected=wrong).release(0, session)
        assert caught.value.refusal == refusal
    with pytest.raises(EvidenceError) as caught:
        replace(verifier, register=Register(studio.folder / "nobody")).release(0, session)
    assert caught.value.refusal == Refusal.KEY
    assert len({machine.device.evidence.modulus for machine in studio.machines if machine.device.evidence}) == 2


def test_two_tees_give_the_bits_of_the_unsplit_model(
    studio: Studio, inputs: np.ndarray, record_property: RecordProperty
) -> None:
    for number in range(2):
        studio.admit(number)
    target = studio.machines[0].target
    # in the machine that no client uses: what was put there is not what a relay would have seen
    np.save(studio.folder / "inputs.npy", inputs)
    client, relay = studio.client(), studio.relay
    found, seen = [], []
    for sample in inputs:
        record, pending = client.seal({client.invitation.inputs[0].name: sample[np.newaxis]})
        between = relay.stages[0].run(record)
        answer = relay.stages[1].run(between)
        seen += [record, between, answer]
        found.append(next(iter(client.open(pending, answer).values())))
    canary = inputs[:, :, :1].tobytes()
    for index, stage in enumerate(studio.machines):
        with normal_memory(stage.target.get_driver("TrustZoneQEMUDriver"), studio.folder) as memory:
            assert memory.find(seen[-3][HEADER_SIZE : HEADER_SIZE + 32]) >= 0 or index, "the record was there"
            for sample, output in zip(inputs, found, strict=True):
                assert memory.find(sample[:, :1].tobytes()) < 0
                assert memory.find(output.tobytes()) < 0
    assert not any(canary[i : i + 16] in data for data in seen for i in range(0, len(canary), 64))
    for name in ("inputs.npy", "whole.tzm"):
        files_of(target).put(str(studio.folder / name), f"{FOLDER}/{name}")
    whole = ask(target, f"{FOLDER}/whole.tzm", f"{FOLDER}/inputs.npy", "tee", studio.folder, timeout=240)
    assert np.concatenate(found).tobytes() == whole.outputs.tobytes()
    record_property("pipeline", f"{SAMPLES} answers of two attested TEEs, with the bits of the unsplit network")


def test_a_stage_lets_nothing_out_in_the_clear(studio: Studio) -> None:
    run = f"tzml run {FOLDER}/stage.tzm --grant {FOLDER}/stage.tzg --input {FOLDER}/inputs.npy"
    output, errors, code = studio.machines[0].command.run(run, timeout=scaled(120))
    assert code == 2
    assert "output policy" in " ".join([*output, *errors])


def test_what_a_relay_changes_or_mixes_up_is_refused_and_what_it_sends_again_is_answered_the_same(
    studio: Studio, inputs: np.ndarray
) -> None:
    client, relay = studio.client(), studio.relay
    first, second = (machine.replica for machine in studio.machines)
    record, pending = client.seal({client.invitation.inputs[0].name: inputs[:1]})

    def refused(replica: HttpReplica, data: bytes, status: str) -> None:
        with pytest.raises(StageError, match=status) as caught:
            replica.run(data)
        assert not caught.value.again

    for at in (113, 200, HEADER_SIZE, len(record) - 1):
        refused(first, record[:at] + bytes([record[at] ^ 1]) + record[at + 1 :], "RECORD_TAG")
    refused(first, record[:-1], "RECORD_MALFORMED")
    refused(first, record[:32] + bytes(8) + record[40:], "RECORD_EPOCH")
    between = relay.stages[0].run(record)
    other = "RECORD_MALFORMED|RECORD_OTHER|inputs can take"
    refused(first, between, other)
    refused(second, record, other)
    again = relay.stages[0].run(record)
    assert again != between
    assert again[HEADER_SIZE:] != between[HEADER_SIZE:]
    answers = [client.open(pending, second.run(data)) for data in (between, again)]
    one, two = (next(iter(answer.values())).tobytes() for answer in answers)
    assert one == two


@pytest.mark.full
def test_a_release_is_of_no_use_to_another_session_or_after_a_restart(studio: Studio, inputs: np.ndarray) -> None:
    client = studio.client()
    record, _ = client.seal({client.invitation.inputs[0].name: inputs[:1]})
    first = studio.machines[0]
    old = studio.admit(0)
    first.replica.run(record)
    with pytest.raises(StageError, match="RELEASE_OLD"):
        first.replica.join(old)
    first.serve()
    with pytest.raises(StageError, match="NOT_RELEASED") as caught:
        first.replica.run(record)
    assert caught.value.again
    first.replica.attest(bytes(32))
    with pytest.raises(StageError, match="RELEASE_OTHER"):
        first.replica.join(old)
    with pytest.raises(StageError, match="NOT_RELEASED"):
        first.replica.run(record)
    studio.admit(0)  # any session of the stage takes the client's record
    first.replica.run(record)
