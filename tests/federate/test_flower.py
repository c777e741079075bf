"""A server and two devices over Flower, on loopback; the devices are tests/c/train_bundle.c: the TA's own code."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest
from checkpoint_device import DEVICES, OWNER, scalar
from cryptography.hazmat.primitives import serialization
from federated_device import SERVER
from federated_example import RIGHTS, example
from flower_run import ROUNDS, client, serve

from tzml.device import DeviceRecord
from tzml.environments import ENVIRONMENTS
from tzml.federate.rounds import Federation, Rounds
from tzml.owner.grant import Terms, make_grant
from tzml.owner.keys import coordinates
from tzml.owner.seal import ContentKey, seal
from tzml_lab.processes import free_port

pytestmark = pytest.mark.skipif(
    not ENVIRONMENTS["flower"].is_made, reason="needs Flower: tzml environment flower; make test-frontends"
)
RUN_ROUND = Path(__file__).with_name("run_round.py")
KEYS = tuple(coordinates(device.public_key()) for device in DEVICES)


@pytest.fixture
def content_key(tmp_path: Path) -> ContentKey:
    """The sealed model, the grants and the keys of a federation."""
    key = seal(example(OWNER.public), OWNER, tmp_path / "model.tzm")
    key.write(tmp_path / "model.tzk")
    terms = Terms(serial=5, programs=3, rights=RIGHTS, export_key=SERVER.public, noised_updates=10)
    (tmp_path / "model.tzg").write_bytes(make_grant(key, OWNER, KEYS, terms))
    pem = SERVER.private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (tmp_path / "server.pem").write_bytes(pem)
    for number, public in enumerate(KEYS):
        DeviceRecord(public, bytes(32), (OWNER.public,), None).write(tmp_path / f"{number}.tzd")
    return key


def device(folder: Path, program: Path, number: int, address: str) -> AbstractContextManager[None]:
    """A device takes part as long as the context lasts."""
    files = (folder / "model.tzm", folder / "model.tzg")
    command = (sys.executable, RUN_ROUND, program, scalar(DEVICES[number]).hex(), *files)
    return client(address, folder / f"{number}.tzd", command)


def test_two_devices_make_two_rounds(tmp_path: Path, c_tests: Path, content_key: ContentKey) -> None:
    address = f"127.0.0.1:{free_port()}"
    program = c_tests / "train_bundle"
    with device(tmp_path, program, 0, address), device(tmp_path, program, 1, address):
        said = serve(address, tmp_path, [tmp_path / f"{number}.tzd" for number in range(2)])
    assert said.count(": 4 updates with noise, ε ") == 2
    federation = Federation(example(OWNER.public), content_key.bundle_digest, OWNER.public, SERVER, KEYS)
    rounds = Rounds(federation, tmp_path / "rounds.tzf")
    assert (rounds.number, set(rounds.updates.values())) == (ROUNDS, {4})
    begin = np.arange(16, dtype=np.float32) / 2
    np.testing.assert_array_equal(rounds.parameters[:16], 5 * begin)  # each of 4 updates adds the weights
