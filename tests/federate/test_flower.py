"""A server and two devices over Flower, on loopback; the devices are tests/c/train_bundle.c: the TA's own code."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from checkpoint_device import DEVICES, OWNER, scalar
from cryptography.hazmat.primitives import serialization
from federated_device import SERVER
from federated_example import RIGHTS, example

from tzml.device import DeviceRecord
from tzml.environments import ENVIRONMENTS
from tzml.federate.rounds import Federation, Rounds
from tzml.owner.grant import Terms, make_grant
from tzml.owner.keys import coordinates
from tzml.owner.seal import ContentKey, seal

pytestmark = pytest.mark.skipif(
    not ENVIRONMENTS["flower"].is_made, reason="needs Flower: tzml environment flower; make test-frontends"
)
TZML = [sys.executable, "-m", "tzml", "federate"]
RUN_ROUND = Path(__file__).with_name("run_round.py")
KEYS = tuple(coordinates(device.public_key()) for device in DEVICES)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


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


@contextlib.contextmanager
def client(folder: Path, program: Path, number: int, address: str) -> Iterator[None]:
    """A device that takes part as long as the context lasts."""
    command: list[str | Path] = [
        sys.executable,
        RUN_ROUND,
        program,
        scalar(DEVICES[number]).hex(),
        folder / "model.tzm",
        folder / "model.tzg",
    ]
    with (folder / f"client{number}.log").open("wb") as log:
        process = subprocess.Popen(
            [*TZML, "client", "--server", address, "--listen", f"127.0.0.1:{free_port()}", "--device",
             folder / f"{number}.tzd", "--", *command],
            stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
        try:
            yield
        finally:
            process.terminate()
            process.wait(120)


def test_two_devices_make_two_rounds(tmp_path: Path, c_tests: Path, content_key: ContentKey) -> None:
    address = f"127.0.0.1:{free_port()}"
    program = c_tests / "train_bundle"
    with client(tmp_path, program, 0, address), client(tmp_path, program, 1, address):
        done = subprocess.run(
            [*TZML, "server", tmp_path / "model.tzm", "--content-key", tmp_path / "model.tzk",
             "--key", tmp_path / "server.pem", "--device", tmp_path / "0.tzd", "--device", tmp_path / "1.tzd",
             "--state", tmp_path / "rounds.tzf", "--rounds", "2", "--least", "2", "--listen", address,
             "--output", tmp_path / "trained.tzm"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    logs = "".join(path.read_text(errors="replace") for path in sorted(tmp_path.glob("*.log")))
    assert done.returncode == 0, done.stdout + done.stderr + logs
    assert "round 1, the mean of 2 devices" in done.stdout
    assert "round 2, the mean of 2 devices" in done.stdout
    assert done.stdout.count(": 4 updates with noise, ε ") == 2
    federation = Federation(example(OWNER.public), content_key.bundle_digest, OWNER.public, SERVER, KEYS)
    rounds = Rounds(federation, tmp_path / "rounds.tzf")
    assert (rounds.number, set(rounds.updates.values())) == (2, {4})
    begin = np.arange(16, dtype=np.float32) / 2
    np.testing.assert_array_equal(rounds.parameters[:16], 5 * begin)  # each of 4 updates adds the weights
    assert (tmp_path / "trained.tzm").exists()
