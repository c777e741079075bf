"""Vectors for federated rounds: docs/bundle-examples/federated.{tzm,tzg,tzs,json} and federated-update.tzs.

`federated.tzs` is a global model of round 3, and `federated-update.tzs` what the runtime exported after two updates
with noise. Keys, salts and noise are random, so this program made the files once, and they are only checked.

usage: federated_example.py TRAIN_BUNDLE (tests/c)
"""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from bundle_examples import FOLDER, state_streamed
from cryptography.hazmat.primitives.asymmetric import ec
from sealed_example import scalar

from tzml.bundle import Bundle, UpdateNoise, derive_model_id
from tzml.owner.global_model import make_global_model
from tzml.owner.grant import Rights, Terms, make_grant
from tzml.owner.keys import OwnerKey, coordinates
from tzml.owner.seal import seal

STATE_SIZE, EXPORTED, DEVIATION = 1024, 320, 65536
ROUND = 3
PARAMETERS = struct.pack("<80f", *(i / 4 for i in range(80)))
RIGHTS = Rights.save_state | Rights.export_state | Rights.train | Rights.federate


def example(owner: bytes) -> Bundle:
    """A private model: its program 0 updates the first 64 bytes, and knows nothing of the sums behind 320."""
    bundle = state_streamed()
    memory = replace(
        bundle.memory, state_size=STATE_SIZE, noise=UpdateNoise(EXPORTED, (STATE_SIZE - EXPORTED) // 4, DEVIATION)
    )
    return replace(bundle, memories=(memory,), model_id=derive_model_id(owner, "private example"))


def main(program: Path, folder: Path = FOLDER) -> None:
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(3)]
    owner, device, server = OwnerKey(keys[0]), coordinates(keys[1].public_key()), OwnerKey(keys[2])
    bundle = example(owner.public)
    key = seal(bundle, owner, folder / "federated.tzm")
    terms = Terms(rights=RIGHTS, programs=3, serial=7, export_key=server.public, noised_updates=1000)
    (folder / "federated.tzg").write_bytes(make_grant(key, owner, [device], terms))
    data = make_global_model(bundle, key.bundle_digest, owner.public, server, device, ROUND, PARAMETERS)
    (folder / "federated.tzs").write_bytes(data)
    about = {
        "owner_private": scalar(keys[0]),
        "device_private": scalar(keys[1]),
        "server_private": scalar(keys[2]),
        "content_key": key.secret.hex(),
        "parameters": PARAMETERS.hex(),
    }
    (folder / "federated.json").write_text(json.dumps(about, indent=1) + "\n")
    step = [f"{folder}/federated.{ending}" for ending in ("tzm", "tzg")]
    step += [f"restore={folder}/federated.tzs", "run=0", "run=0", f"export={folder}/federated-update.tzs"]
    told = subprocess.run(
        [program, about["device_private"], ",".join(step)], capture_output=True, text=True, check=True
    )
    assert told.stdout.startswith("SUCCESS"), told.stdout


if __name__ == "__main__":
    main(Path(sys.argv[1]))
