"""Federated rounds in the TA: by DP-SGD, for a server that alone can read what leaves, and only so often.

tests/bundle/test_federated.py has more of the attacks, for the same code on this host, and
tests/federate/test_flower.py two devices at once. Here one machine is both devices, one after the other: each
enrollment is another device. OP-TEE's cryptography, storage and random numbers take part.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from labgrid import Target
from training_networks import lenet

from tzml.bundle.checkpoint import read_checkpoint
from tzml.compiler import compile_model
from tzml.compiler.passes.training import TrainOptions
from tzml.device import DeviceRecord
from tzml.federate.rounds import Federation, Rounds, Update
from tzml.owner.grant import Rights, Terms, make_grant
from tzml.owner.keys import OwnerKey
from tzml.owner.seal import ContentKey, seal
from tzml_lab.faults import RecordProperty
from tzml_lab.inference.compiling import options_for
from tzml_lab.inference.granted import OWNER, enroll
from tzml_lab.inference.known_models import KNOWN
from tzml_lab.target import Commands, files_of
from tzml_lab.time_limits import scaled

pytestmark = pytest.mark.lg_feature("python")

FOLDER = "/root/federated"  # on the target
SERVER = OwnerKey(ec.generate_private_key(ec.SECP256R1()))
EXAMPLES, SHARE, RATE, CLIP, NOISE = 200, 0.1, 0.05, 1.0, 1.5
UPDATES, BUDGET = 2, 5
TERMS = Terms(
    serial=1,
    programs=0xFFFF,
    rights=Rights.train | Rights.export_state | Rights.federate,
    export_key=SERVER.public,
    noised_updates=BUDGET,
)


@dataclass
class Server:
    """A federation whose devices are the target, under one identity after the other."""

    command: Commands
    target: Target
    folder: Path
    federation: Federation
    key: ContentKey

    def enroll(self) -> bytes:
        """Make the target another device, with a grant; its public key."""
        device: DeviceRecord = enroll(self.command, self.target, self.folder, FOLDER, [OWNER])
        self.put("model.tzg", make_grant(self.key, OWNER, [device.public_key], TERMS))
        return device.public_key

    def rounds(self, devices: tuple[bytes, ...], name: str) -> Rounds:
        return Rounds(replace(self.federation, devices=devices), self.folder / name)

    def put(self, name: str, data: bytes) -> None:
        (self.folder / name).write_bytes(data)
        files_of(self.target).put(str(self.folder / name), f"{FOLDER}/{name}")

    def round(self, given: bytes) -> bytes:
        """What the device makes of a global model."""
        self.put("global.tzs", given)
        self.command.run_check(f"rm -f {FOLDER}/update.tzs; {self.told}", timeout=scaled(600))
        files_of(self.target).get(f"{FOLDER}/update.tzs", str(self.folder / "update.tzs"))
        return (self.folder / "update.tzs").read_bytes()

    def refusal(self, given: bytes) -> str:
        """What the command says that does not make a round; no update is there then."""
        self.put("global.tzs", given)
        said, _, code = self.command.run(f"rm -f {FOLDER}/update.tzs; {self.told} 2>&1", timeout=scaled(600))
        assert code == 2
        self.command.run_check(f"test ! -e {FOLDER}/update.tzs")
        return "\n".join(said)

    @property
    def told(self) -> str:
        """The command of a round on the target."""
        files = {"grant": "model.tzg", "global": "global.tzs", "update": "update.tzs"}
        files |= {"images": "x.npy", "labels": "y.npy"}
        options = " ".join(f"--{option} {FOLDER}/{name}" for option, name in files.items())
        return f"tzml federate round {FOLDER}/model.tzm {options} --updates {UPDATES} --share {SHARE} --rate {RATE}"


@pytest.fixture(scope="module")
def server(command: Commands, target: Target, tmp_path_factory: pytest.TempPathFactory) -> Server:
    folder = tmp_path_factory.mktemp("federated") / Path(FOLDER).name
    folder.mkdir()
    (folder / "lenet.onnx").write_bytes(lenet(0).onnx())
    train = TrainOptions("sgd", micro_batch=8, clip=CLIP, noise=NOISE)
    options = options_for(target, owner=OWNER.public, train=train, secure_memory=2 << 20)
    clear = compile_model(folder / "lenet.onnx", options)
    samples, labels = KNOWN["digits"].samples
    np.save(folder / "x.npy", samples[:EXAMPLES])
    np.save(folder / "y.npy", labels[:EXAMPLES])
    key = seal(clear, OWNER, folder / "model.tzm")
    command.run_check(f"rm -rf {FOLDER}")
    files_of(target).put(str(folder), FOLDER)
    return Server(command, target, folder, Federation(clear, key.bundle_digest, OWNER.public, SERVER, ()), key)


@pytest.mark.full
def test_two_devices_make_a_round_and_their_updates_have_the_noise(
    server: Server, record_property: RecordProperty
) -> None:
    """The noise is what an update mostly consists of: so its deviation is known."""
    updates: list[Update] = []
    for name in ("first", "second"):
        device = server.enroll()
        rounds = server.rounds((device,), f"{name}.tzf")
        made = rounds.open(device, server.round(rounds.begin()[device]))
        assert made.updates == UPDATES
        change = made.parameters - rounds.parameters
        change = change[change != 0]  # not what fills up between parameters
        expected = RATE * NOISE * CLIP * UPDATES**0.5 / round(SHARE * EXAMPLES)
        assert change.std() == pytest.approx(expected, rel=0.1)
        updates.append(made)
    both = server.rounds(tuple(update.device for update in updates), "both.tzf")
    begin = both.parameters.copy()
    one, other = (update.parameters - begin for update in updates)
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.2  # not the same noise
    both.end(updates)
    assert both.number == 1
    np.testing.assert_allclose(both.parameters, begin + (one + other) / 2, atol=1e-6)
    record_property("deviation of an update", f"{one.std():.6f} for {begin.size:,} parameters")


@pytest.mark.full
def test_a_device_goes_to_no_earlier_round_and_over_no_budget(server: Server) -> None:
    device = server.enroll()
    rounds = server.rounds((device,), "budget.tzf")
    old = rounds.begin()[device]
    for number in (1, 2):
        data = server.round(rounds.begin()[device])
        assert read_checkpoint(data).number == number
        rounds.end([rounds.open(device, data)])
    assert "has taken a global model of a later round" in server.refusal(old)
    last = server.refusal(rounds.begin()[device])  # it makes one of the two updates
    assert "the updates of the private model that the grant allows are used up" in last
