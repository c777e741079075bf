"""Two machines train a private model in their TEEs, for a server that reaches them over Flower."""

from __future__ import annotations

import contextlib
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from flower_run import ROUNDS, client, serve
from labgrid import Target
from training_networks import lenet

from tzml.bundle import Bundle
from tzml.compiler import compile_model
from tzml.compiler.passes.training import TrainOptions
from tzml.device import DeviceRecord
from tzml.environments import ENVIRONMENTS
from tzml.federate.rounds import Federation, Rounds
from tzml.owner.grant import Rights, Terms, make_grant
from tzml.owner.keys import generate
from tzml.owner.seal import ContentKey, seal
from tzml_lab.emulation.another import another_machine
from tzml_lab.environment import ROOT
from tzml_lab.inference.compiling import options_for
from tzml_lab.inference.granted import OWNER, enroll
from tzml_lab.inference.known_models import KNOWN
from tzml_lab.processes import free_port
from tzml_lab.target import Commands, commands_of, files_of
from tzml_lab.time_limits import scaled

pytestmark = [
    pytest.mark.full,
    pytest.mark.lg_feature(["emulator", "network", "python"]),
    pytest.mark.skipif(
        not ENVIRONMENTS["flower"].is_made, reason="needs Flower: tzml environment flower; make test-full"
    ),
]

FOLDER = "/root/flower"  # on the targets
ROUND_OVER_SSH = ROOT / "tests/federate/round_over_ssh.py"
UPDATES, EXAMPLES, SHARE, RATE, CLIP, NOISE = 2, 200, 0.1, 0.05, 1.0, 1.5


@dataclass
class Trainee:
    """A machine with its own examples."""

    target: Target
    folder: Path  # on this host: device.tzd, and the examples
    device: DeviceRecord


def join(target: Target, folder: Path, numbers: slice, model: Path, key: ContentKey, server: bytes) -> Trainee:
    """Enroll a machine, and give it the sealed model, a grant, and its part of the examples."""
    folder.mkdir()
    command = commands_of(target)
    command.run_check(f"rm -rf {FOLDER}; mkdir -m 700 {FOLDER}")
    device = enroll(command, target, folder, FOLDER, [OWNER])
    device.write(folder / "device.tzd")
    terms = Terms(
        serial=1,
        programs=0xFFFF,
        rights=Rights.train | Rights.export_state | Rights.federate,
        export_key=server,
        noised_updates=ROUNDS * UPDATES,
    )
    (folder / "model.tzg").write_bytes(make_grant(key, OWNER, [device.public_key], terms))
    for name, array in zip(("x.npy", "y.npy"), KNOWN["digits"].samples, strict=True):
        np.save(folder / name, array[numbers])
    for path in (model, *(folder / name for name in ("model.tzg", "x.npy", "y.npy"))):
        files_of(target).put(str(path), f"{FOLDER}/{path.name}")
    return Trainee(target, folder, device)


def part_of(trainee: Trainee) -> list[str | Path]:
    """The command that does the machine's part of a round."""
    ssh = trainee.target.get_driver("SSHDriver")
    files = f"--grant {FOLDER}/model.tzg --images {FOLDER}/x.npy --labels {FOLDER}/y.npy"
    told = f"tzml federate round {FOLDER}/model.tzm {files} --updates {UPDATES} --share {SHARE} --rate {RATE}"
    reach = (str(ssh.networkservice.port), ssh.keyfile, trainee.folder / "known_hosts")
    return [sys.executable, ROUND_OVER_SSH, *reach, FOLDER, told]


def compiled(target: Target, folder: Path) -> Bundle:
    (folder / "lenet.onnx").write_bytes(lenet(0).onnx())
    train = TrainOptions("sgd", micro_batch=8, clip=CLIP, noise=NOISE)
    return compile_model(
        folder / "lenet.onnx", options_for(target, owner=OWNER.public, train=train, secure_memory=2 << 20)
    )


def test_two_machines_make_rounds_at_once_and_the_server_counts_epsilon(
    target: Target, command: Commands, tmp_path: Path
) -> None:
    clear = compiled(target, tmp_path)
    key = seal(clear, OWNER, tmp_path / "model.tzm")
    key.write(tmp_path / "model.tzk")
    server = generate(tmp_path / "server.pem")
    address = f"127.0.0.1:{free_port()}"
    with contextlib.ExitStack() as stack:
        other = stack.enter_context(another_machine(target, tmp_path / "another"))
        trainees = [
            join(machine, tmp_path / f"{number}", slice(number * EXAMPLES, (number + 1) * EXAMPLES),
                 tmp_path / "model.tzm", key, server.public)
            for number, machine in enumerate((target, other))
        ]  # fmt: skip
        for trainee in trainees:
            stack.enter_context(client(address, trainee.folder / "device.tzd", part_of(trainee)))
        said = serve(
            address, tmp_path, [trainee.folder / "device.tzd" for trainee in trainees], timeout=scaled(900)
        )
    spent = [float(epsilon) for epsilon in re.findall(r"ε ([0-9.]+)", said)]
    assert spent
    assert spent[-1] == max(spent) > 0
    public = tuple(trainee.device.public_key for trainee in trainees)
    rounds = Rounds(Federation(clear, key.bundle_digest, OWNER.public, server, public), tmp_path / "rounds.tzf")
    assert (rounds.number, set(rounds.updates.values())) == (ROUNDS, {ROUNDS * UPDATES})
