"""Where OP-TEE's random numbers come from, as an attacker sees it who reads the normal world's memory."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from labgrid import Environment

from tzml_lab.emulation.firmware import HANDOVER, RAM, FirmwareBoot
from tzml_lab.environment import image_of

pytestmark = pytest.mark.lg_feature("qemu")

TREE_SIZE = 1 << 20
REFUSED = "Panic"


def secrets_of(tree: bytes, folder: Path) -> dict[str, bytes]:
    """What the device tree tells the secure world alone."""
    path = folder / "tree.dtb"
    path.write_bytes(tree)

    def read(name: str) -> bytes:
        command = ["fdtget", "-t", "bx", str(path), "/secure-chosen", name]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        return bytes(int(byte, 16) for byte in said.split())

    return {name: read(name) for name in ("rng-seed", "kaslr-seed")}


def test_the_seed_is_another_at_each_boot_and_gone_before_the_normal_world_starts(
    env: Environment, tmp_path: Path
) -> None:
    seeds = []
    for boot in range(2):
        with FirmwareBoot(image_of(env.config), tmp_path) as machine:
            before = machine.memory(RAM, TREE_SIZE)
            secrets = secrets_of(before, tmp_path)
            assert all(len(secret) >= 8 and before.count(secret) == 1 for secret in secrets.values())
            assert len(secrets["rng-seed"]) == 32
            said = machine.run(HANDOVER, REFUSED)
            assert "Random numbers are seeded from: device-tree-seed" in said
            # the second time only the tree is looked at, to save the time
            after = machine.memory() if boot == 0 else machine.memory(RAM, TREE_SIZE)
            assert b"secure-chosen" in after, "the tree is still there, so what follows can fail"
            assert not [name for name, secret in secrets.items() if secret[:8] in after]
            seeds.append(secrets["rng-seed"])
    assert seeds[0] != seeds[1]


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("rng-seed", bytes(32), "the source of random numbers repeats itself"),
        ("rng-seed", b"\x5a" * 32, "the source of random numbers repeats itself"),
        ("name", b"rng-none", "the device tree has no /secure-chosen/rng-seed"),
    ],
    ids=["zeros", "constant", "missing"],
)
def test_without_a_seed_optee_does_not_start(
    env: Environment, tmp_path: Path, old: str, new: bytes, says: str
) -> None:
    with FirmwareBoot(image_of(env.config), tmp_path) as machine:
        tree = machine.memory(RAM, TREE_SIZE)
        place = tree.index(b"rng-seed\0" if old == "name" else secrets_of(tree, tmp_path)[old])
        machine.write(RAM + place, new)
        said = machine.run(HANDOVER, REFUSED)
    assert says in said
    assert HANDOVER not in said
