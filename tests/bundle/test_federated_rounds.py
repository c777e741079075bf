"""A server and two devices: rounds over files, by the TA's own code (tests/c/train_bundle.c)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from checkpoint_device import DEVICES, OWNER
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives import serialization
from federated_device import SERVER, Round
from federated_example import example

from tzml.bundle import BundleError, read_public
from tzml.cli.federate import command
from tzml.device import DeviceRecord
from tzml.errors import TzmlError
from tzml.federate.rounds import Federation, Rounds
from tzml.owner.keys import coordinates

KEYS = tuple(coordinates(device.public_key()) for device in DEVICES)
WEIGHTS = np.arange(16, dtype=np.float32) / 2
"""What an update of the example adds to its first 16 parameters."""


@pytest.fixture
def lab(c_tests: Path, tmp_path: Path) -> Round:
    lab = Round(c_tests / "train_bundle", tmp_path)
    lab.seal_private(updates=100)
    return lab


def opened(lab: Round, path: str = "rounds", devices: tuple[bytes, ...] = KEYS) -> Rounds:
    header = read_public(lab.folder / "model.tzm").table.header
    federation = Federation(example(OWNER.public), header.digest, header.owner, SERVER, devices)
    return Rounds(federation, lab.folder / path)


def trained(lab: Round, rounds: Rounds, runs: tuple[int, int]) -> list[bytes]:
    """The updates of both devices, after so many updates of the model."""
    given, found = rounds.begin(), []
    for number, (key, count) in enumerate(zip(KEYS, runs, strict=True)):
        lab.write(f"global{number}.tzs", given[key])
        steps = (f"restore=global{number}.tzs", *["run=0"] * count, f"export=update{number}.tzs")
        assert lab.statuses(("model", *steps), device=number) == ["SUCCESS"]
        found.append(lab.read(f"update{number}.tzs"))
    return found


def test_the_mean_of_the_updates_is_the_next_global_model(lab: Round) -> None:
    rounds = opened(lab)
    begin = rounds.parameters.copy()
    for number in (1, 2):
        before = rounds.parameters.copy()
        updates = [rounds.open(k, d) for k, d in zip(KEYS, trained(lab, rounds, (1, 3)), strict=True)]
        assert [update.updates for update in updates] == [1, 3]
        rounds.end(updates)
        np.testing.assert_array_equal(rounds.parameters[:16], before[:16] + 2 * WEIGHTS)
        np.testing.assert_array_equal(rounds.parameters[16:], before[16:])
        assert rounds.number == number
        rounds = opened(lab)  # a server that was stopped goes on
        assert rounds.updates == {KEYS[0].hex(): number, KEYS[1].hex(): 3 * number}
    bundle = rounds.trained()
    assert bundle.model_version == example(OWNER.public).model_version + 1
    assert bundle.pieces[0].tobytes().startswith((begin[:16] + 4 * WEIGHTS).tobytes())


def test_updates_that_do_not_belong_to_the_round_are_refused(lab: Round) -> None:
    rounds = opened(lab)
    first, second = trained(lab, rounds, (1, 1))
    with pytest.raises(BundleError, match="CHECKPOINT_DEVICE"):
        rounds.open(KEYS[1], first)
    with pytest.raises(BundleError, match="CHECKPOINT_DAMAGED"):
        rounds.open(KEYS[0], first[:-1] + bytes([first[-1] ^ 1]))
    with pytest.raises(BundleError, match="CHECKPOINT_VERSION"):
        rounds.open(KEYS[0], lab.read("global0.tzs"))
    with pytest.raises(TzmlError, match="one update of each device"):
        rounds.end([rounds.open(KEYS[0], first)] * 2)
    with pytest.raises(TzmlError, match="at least one"):
        rounds.end([])
    assert rounds.number == 0
    rounds.end([rounds.open(KEYS[1], second)])
    with pytest.raises(BundleError, match="the update is of round 1, and this is round 2"):
        rounds.open(KEYS[0], first)
    # nor does one that began elsewhere: it has the round 0
    assert lab.statuses(("model", "run=0", "export=alone.tzs")) == ["SUCCESS"]
    with pytest.raises(BundleError, match="of round 0"):
        rounds.open(KEYS[0], lab.read("alone.tzs"))


def test_an_update_of_another_shape_is_refused(lab: Round) -> None:
    rounds = opened(lab)
    first, _ = trained(lab, rounds, (1, 1))
    rounds.parameters = rounds.parameters[:64]
    with pytest.raises(BundleError, match="320 bytes, and the model's parameters 256"):
        rounds.open(KEYS[0], first)


def test_the_file_of_another_federation_or_a_damaged_one_is_refused(lab: Round) -> None:
    rounds = opened(lab)
    rounds.end([rounds.open(KEYS[0], trained(lab, rounds, (1, 1))[0])])
    data = lab.read("rounds")
    other = Federation(rounds.federation.model, bytes(32), OWNER.public, SERVER, KEYS)
    with pytest.raises(TzmlError, match="of another model"):
        Rounds(other, lab.folder / "rounds")
    lab.write("damaged", data[:-1] + bytes([data[-1] ^ 1]))
    lab.write("none", b"x")
    with pytest.raises(TzmlError, match="was damaged"):
        opened(lab, "damaged")
    with pytest.raises(TzmlError, match="not the file of a federation"):
        opened(lab, "none")


def test_a_model_without_noise_has_no_rounds(lab: Round) -> None:
    model = example(OWNER.public)
    public = replace(model, memories=(replace(model.memory, noise=None),))
    with pytest.raises(TzmlError, match="not private"):
        Rounds(Federation(public, bytes(32), OWNER.public, SERVER, KEYS), lab.folder / "rounds")


def test_the_commands_make_a_round(lab: Round) -> None:
    """`begin` and `end`; between them each device does its part."""
    folder = lab.folder
    lab.seal_private("sealed", updates=9).write(folder / "sealed.tzk")
    pem = SERVER.private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    lab.write("server.pem", pem)
    for number, key in enumerate(KEYS):
        DeviceRecord(key, bytes(32), (OWNER.public,), None).write(folder / f"{number}.tzd")

    def run(name: str, *more: str) -> Result:
        paths = {"--content-key": "sealed.tzk", "--key": "server.pem", "--state": "rounds.tzf"}
        told = [a for option, path in paths.items() for a in (option, str(folder / path))]
        told += [a for number in (0, 1) for a in ("--device", str(folder / f"{number}.tzd"))]
        return CliRunner().invoke(command, [name, str(folder / "sealed.tzm"), *told, *more])

    outputs = [a for number in (0, 1) for a in ("-o", str(folder / f"global{number}.tzs"))]
    begun = run("begin", *outputs)
    assert begun.exit_code == 0, begun.output
    assert begun.output.count(": round 1") == 2
    for number in (0, 1):
        steps = (f"restore=global{number}.tzs", "run=0", "run=0", f"export=update{number}.tzs")
        assert lab.statuses(("sealed", *steps), device=number) == ["SUCCESS"]
    updates = [a for number in (0, 1) for a in ("--update", str(folder / f"update{number}.tzs"))]
    foreign = run("end", *updates, "--update", str(folder / "global0.tzs"))
    assert isinstance(foreign.exception, BundleError)
    assert not (folder / "rounds.tzf").exists()
    done = run("end", *updates, "-o", str(folder / "trained.tzm"))
    assert done.exit_code == 0, done.output
    assert "round 1, the mean of 2 devices" in done.output
    assert done.output.count(": 2 updates with noise, ε ") == 2
    again = run("end", *updates)
    assert isinstance(again.exception, BundleError)
    assert "of round 1, and this is round 2" in str(again.exception)
