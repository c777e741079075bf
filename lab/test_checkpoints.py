"""Checkpoints of a sealed model that is trained in the TA: only this device goes on from them, and not backwards.

tests/bundle/test_checkpoints.py has more of the attacks, for the same code on this host. Here OP-TEE's cryptography
and storage take part.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from labgrid import Target
from training_networks import convolutions, lenet

from tzml.bundle import Bundle, derive_model_id
from tzml.bundle.checkpoint import read_checkpoint
from tzml.compiler import compile_model
from tzml.compiler.passes.training import TrainOptions
from tzml.device import DeviceRecord
from tzml.owner.exported import open_exported, parameters, with_state
from tzml.owner.grant import Rights, Terms, make_grant
from tzml.owner.keys import OwnerKey
from tzml.owner.seal import ContentKey, seal
from tzml_lab.drivers.strategy import TrustZoneStrategy
from tzml_lab.faults import RecordProperty
from tzml_lab.inference.compiling import options_for
from tzml_lab.inference.granted import OWNER, enroll
from tzml_lab.inference.known_models import KNOWN
from tzml_lab.target import Commands, commands_of, files_of
from tzml_lab.time_limits import scaled

pytestmark = pytest.mark.lg_feature("python")

FOLDER = "/root/checkpoints"  # on the target; it is there after a power cut
EXPORT = OwnerKey(ec.generate_private_key(ec.SECP256R1()))
TERMS = Terms(
    serial=1,
    programs=0xFFFF,
    rights=Rights.train | Rights.save_state | Rights.export_state,
    export_key=EXPORT.public,
)
EXAMPLES, BATCH = 400, 16
STEPS = {"part": 200, "full": 10_000}


@dataclass
class Learner:
    """A device that may train sealed models, whose clear bundle is here."""

    command: Commands
    target: Target
    folder: Path
    device: DeviceRecord
    clear: Bundle
    keys: dict[str, ContentKey]

    def do(self, *steps: tuple[str, ...], grants: bool = True) -> list[str]:
        """What lab/target/checkpoints.py says of each step: the name of a bundle, and what is done with it."""
        told = " ".join(
            ",".join([f"{name}.tzm", f"{name}.tzg" if grants else "", *actions]) for name, *actions in steps
        )
        (line,) = self.command.run_check(f"python3 {FOLDER}/checkpoints.py {told}", timeout=scaled(600))
        answers: list[str] = json.loads(line)
        return answers

    def get(self, name: str) -> bytes:
        files_of(self.target).get(f"{FOLDER}/{name}", str(self.folder / name))
        return (self.folder / name).read_bytes()

    def put(self, name: str, data: bytes) -> None:
        (self.folder / name).write_bytes(data)
        files_of(self.target).put(str(self.folder / name), f"{FOLDER}/{name}")


@pytest.fixture(scope="module")
def lab(command: Commands, target: Target, tmp_path_factory: pytest.TempPathFactory) -> Learner:
    folder = tmp_path_factory.mktemp("checkpoints") / Path(FOLDER).name
    folder.mkdir()
    (folder / "lenet.onnx").write_bytes(lenet(0).onnx())
    train = TrainOptions("sgd", micro_batch=8, momentum=0.9)
    options = options_for(target, owner=OWNER.public, train=train, secure_memory=2 << 20)
    clear = compile_model(folder / "lenet.onnx", options)
    samples, labels = KNOWN["digits"].samples
    np.savez(folder / "digits.npz", images=samples[:EXAMPLES], labels=labels[:EXAMPLES])
    np.save(folder / "x.npy", samples[:EXAMPLES])
    np.save(folder / "y.npy", labels[:EXAMPLES])
    (folder / "checkpoints.py").write_bytes((Path(__file__).parent / "target" / "checkpoints.py").read_bytes())
    keys = {name: seal(clear, OWNER, folder / f"{name}.tzm") for name in ("model", "again")}
    other = replace(clear, model_id=derive_model_id(OWNER.public, "another"))
    keys["other"] = seal(other, OWNER, folder / "other.tzm")
    command.run_check(f"rm -rf {FOLDER}")
    files_of(target).put(str(folder), FOLDER)
    device = enroll(command, target, folder, FOLDER, [OWNER])
    lab = Learner(command, target, folder, device, clear, keys)
    for name, key in keys.items():
        lab.put(f"{name}.tzg", make_grant(key, OWNER, [device.public_key], TERMS))
    return lab


def test_what_was_saved_goes_on_to_the_bit_and_older_ones_are_refused(
    lab: Learner, record_property: RecordProperty
) -> None:
    whole, half, resumed, again, old, newest = lab.do(
        ("model", "train=6"),
        ("model", "give-up=0.tzs", "train=3", "save=3.tzs"),
        ("model", "restore=3.tzs", "train=3", "save=6.tzs"),
        ("model", "restore=6.tzs", "answer"),
        ("model", "restore=3.tzs"),
        ("model", "restore=6.tzs", "answer"),
    )
    assert whole == resumed != half
    assert (old, newest) == ("CHECKPOINT_OLD", again)
    found = read_checkpoint(lab.get("6.tzs"))
    assert (found.updates, found.number) == (6, 3)
    record_property("checkpoint", f"{len(found.data):,} bytes for {found.state_size:,} of state")


def test_a_session_that_does_not_continue_it_gives_it_up_or_saves_nothing(lab: Learner) -> None:
    found = lab.do(
        ("model", "give-up=one.tzs", "train=1", "save=one.tzs"),
        ("model", "train=1", "save=two.tzs"),
        ("model", "restore=one.tzs"),
    )
    assert found[1:] == ["CHECKPOINT_FORKED", ""]


def test_no_other_checkpoint_is_taken(lab: Learner) -> None:
    assert len(lab.do(("model", "give-up=saved.tzs", "train=1", "save=saved.tzs", "export=export.tzs"))[0]) == 16
    data = lab.get("saved.tzs")

    def flipped(at: int) -> bytes:
        return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]

    lab.put("header.tzs", flipped(230))
    lab.put("first.tzs", flipped(500))
    lab.put("last.tzs", flipped(len(data) - 1))
    lab.put("cut.tzs", data[:-1])
    lab.put("empty.tzs", b"")
    expected = {
        ("again", "restore=saved.tzs"): "CHECKPOINT_VERSION",
        ("other", "restore=saved.tzs"): "CHECKPOINT_MODEL",
        ("model", "restore=header.tzs"): "CHECKPOINT_DAMAGED",
        ("model", "restore=first.tzs"): "CHECKPOINT_DAMAGED",
        ("model", "restore=last.tzs"): "CHECKPOINT_DAMAGED",
        ("model", "restore=cut.tzs"): "CHECKPOINT_MALFORMED",
        ("model", "restore=empty.tzs"): "CHECKPOINT_MALFORMED",
        ("model", "restore=export.tzs"): "CHECKPOINT_KIND",
        ("model", "restore=saved.tzs"): "",
    }
    assert dict(zip(expected, lab.do(*expected), strict=True)) == expected


def test_what_is_exported_opens_with_the_export_key_and_answers_as_in_the_ta(lab: Learner) -> None:
    trained, answer = lab.do(
        ("model", "train=4", "export=export.tzs"), ("model", "give-up=4.tzs", "train=4", "answer")
    )
    assert len(trained) == 16
    state = open_exported(read_checkpoint(lab.get("export.tzs")), EXPORT, lab.device.public_key)
    named = parameters(lab.clear, state)
    assert float(named["step"]) == 4
    before = parameters(lab.clear, b"".join(piece.tobytes() for piece in lab.clear.pieces).ljust(len(state), b"\0"))
    weights = [name for name in named if name.endswith(".weight")]
    assert weights
    assert not any(np.array_equal(named[name], before[name]) for name in weights)
    with_state(lab.clear, state).write(lab.folder / "trained.tzm")
    files_of(lab.target).put(str(lab.folder / "trained.tzm"), f"{FOLDER}/trained.tzm")
    assert lab.do(("trained", "world=ree", "answer"), grants=False) == [answer]


def train(*more: str) -> str:
    files = f"{FOLDER}/model.tzm --grant {FOLDER}/model.tzg --images {FOLDER}/x.npy --labels {FOLDER}/y.npy"
    plan = f"--rate 0.05 --batch {BATCH} --checkpoint {FOLDER}/cut.tzs --checkpoint-steps 1"
    return f"tzml train {files} {plan} {' '.join(more)}"


@pytest.mark.full
def test_a_power_cut_loses_what_was_done_since_the_last_save_and_nothing_else(
    lab: Learner, strategy: TrustZoneStrategy, record_property: RecordProperty
) -> None:
    """The power goes while a checkpoint is saved for each step: whatever it cuts, the file is resumed from."""
    command = lab.command
    updates: list[int] = []
    for cut in range(2):
        how = "--resume" if cut else "--restart"
        command.run_check(f"rm -f {FOLDER}/log; nohup {train(how, '--epochs 1000')} > {FOLDER}/log 2>&1 &")
        wait = f"while ! python3 -c '{_UPDATES}' {FOLDER}/cut.tzs {max(updates, default=0) + 4}; do sleep 1; done"
        command.run_check(f'timeout 300 sh -c "{wait}"', timeout=scaled(320))
        strategy.restart()
        command = commands_of(lab.target)
        updates.append(read_checkpoint(lab.get("cut.tzs")).updates)
    assert updates[0] >= 4
    assert updates[1] >= updates[0] + 4
    # progress would stand on the same line of a serial console
    (line,) = command.run_check(f"{train('--resume', '--epochs 2', '--json')} 2>/dev/null", timeout=scaled(600))
    assert json.loads(line)["steps"] == max(2 * EXAMPLES // BATCH, updates[1])
    record_property("updates before the power cuts", updates)


_UPDATES = (
    "import sys; from pathlib import Path; from tzml.bundle.checkpoint import read_checkpoint as r; "
    "sys.exit(r(Path(sys.argv[1]).read_bytes()).updates < int(sys.argv[2]))"
)


def test_many_steps_take_no_more_memory_than_a_few(
    lab: Learner, pytestconfig: pytest.Config, record_property: RecordProperty
) -> None:
    """A leak of some bytes a step ends a training after thousands of them."""
    steps = STEPS[pytestconfig.option.networks]
    command = commands_of(lab.target)
    network = convolutions()
    (lab.folder / "small.onnx").write_bytes(network.onnx())
    train = TrainOptions("sgd", micro_batch=4, momentum=0.9)
    options = options_for(lab.target, owner=OWNER.public, train=train)
    key = seal(compile_model(lab.folder / "small.onnx", options), OWNER, lab.folder / "small.tzm")
    lab.put("small.tzm", (lab.folder / "small.tzm").read_bytes())
    lab.put("small.tzg", make_grant(key, OWNER, [lab.device.public_key], TERMS))
    program = Path(__file__).parent / "target" / "endure_training.py"
    lab.put(program.name, program.read_bytes())
    told = f"python3 {FOLDER}/{program.name} {FOLDER}/small.tzm {FOLDER}/small.tzg {steps}"
    (line,) = command.run_check(told, timeout=scaled(120 + steps // 5))
    found = json.loads(line)
    early, late = found["memory"]
    assert early == late
    assert found["finite"]
    assert found["steps"] == steps
    record_property("steps in the tee", steps)


@pytest.mark.full
def test_a_device_with_a_new_identity_takes_none_of_its_own(lab: Learner, target: Target) -> None:
    command = commands_of(target)
    now = replace(lab, command=command)
    assert now.do(("model", "give-up=mine.tzs"), ("model", "restore=mine.tzs")) == ["", ""]
    device = enroll(command, target, lab.folder, FOLDER, [OWNER])
    now.put("model.tzg", make_grant(lab.keys["model"], OWNER, [device.public_key], TERMS))
    assert now.do(("model", "restore=mine.tzs"), ("model", "save=mine.tzs")) == ["CHECKPOINT_DEVICE", ""]
