"""Vectors for checkpoints: docs/bundle-examples/checkpoint.{tzm,tzg,tzs,json} and exported.tzs.

Keys and salts are random, so this program made the files once, and they are only checked. `exported.tzs` comes from
the runtime.

usage: checkpoint_example.py TRAIN_BUNDLE (tests/c)
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from bundle_examples import BUNDLE, FOLDER, state_streamed
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sealed_example import scalar

from tzml.bundle import Bundle, derive_model_id
from tzml.bundle.checkpoint import BOUND_SIZE, HEADER_SIZE, MAGIC, CheckpointKind
from tzml.owner.grant import Rights, Terms, make_grant
from tzml.owner.keys import OwnerKey, coordinates
from tzml.owner.seal import seal

STATE_SIZE, SEGMENT_SIZE = 576, 256
STATE = struct.pack("<16f", *range(16)) + bytes(STATE_SIZE - 64)
"""After one update: the weights added to what the bundle has, which is the same."""


def example(owner: bytes) -> Bundle:
    """A model with an update, and with more state than a segment has room for."""
    bundle = state_streamed()
    memory = replace(bundle.memory, state_size=STATE_SIZE)
    return replace(bundle, memories=(memory,), model_id=derive_model_id(owner, "example"))


def checkpoint(device_secret: bytes, header: bytes, state: bytes, segment_size: int = SEGMENT_SIZE) -> bytes:
    """What a device writes that has the header's first BOUND_SIZE bytes: docs/bundle.md."""
    digest = hashlib.sha256(header).digest()
    cipher = AESGCM(hmac.digest(device_secret, b"tzml checkpoint 1" + digest, "sha256"))
    segments = [
        cipher.encrypt(bytes(4) + struct.pack("<Q", number), state[at : at + segment_size], digest)
        for number, at in enumerate(range(0, len(state), segment_size))
    ]
    return header + bytes(HEADER_SIZE - BOUND_SIZE) + b"".join(segments)


def main(program: Path, folder: Path = FOLDER) -> None:
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(3)]
    owner, device = OwnerKey(keys[0]), coordinates(keys[1].public_key())
    key = seal(example(owner.public), owner, folder / "checkpoint.tzm")
    terms = Terms(
        rights=Rights.save_state | Rights.export_state | Rights.train, programs=3, serial=7,
        export_key=coordinates(keys[2].public_key()),
    )  # fmt: skip
    (folder / "checkpoint.tzg").write_bytes(make_grant(key, owner, [device], terms))
    secret = keys[1].private_numbers().private_value.to_bytes(32, "big")
    header = struct.pack(
        "<8s4I4Q16s64s32s32s32s64s", MAGIC, 2, HEADER_SIZE, CheckpointKind.saved, SEGMENT_SIZE, STATE_SIZE, 1, 1,
        BUNDLE.model_version, key.model_id, owner.public, key.bundle_digest,
        hashlib.sha256(b"\x04" + device).digest(), secrets.token_bytes(32), b"a note",
    )  # fmt: skip
    (folder / "checkpoint.tzs").write_bytes(checkpoint(secret, header, STATE))
    about = {
        "owner_private": scalar(keys[0]),
        "device_private": scalar(keys[1]),
        "export_private": scalar(keys[2]),
        "digest": hashlib.sha256(header).hexdigest(),
        "key": hmac.digest(secret, b"tzml checkpoint 1" + hashlib.sha256(header).digest(), "sha256").hex(),
        "state": STATE.hex(),
    }
    (folder / "checkpoint.json").write_text(json.dumps(about, indent=1) + "\n")
    step = f"{folder}/checkpoint.tzm,{folder}/checkpoint.tzg,run=0,export={folder}/exported.tzs"
    done = subprocess.run([program, about["device_private"], step], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("SUCCESS"), done.stdout


if __name__ == "__main__":
    main(Path(sys.argv[1]))
