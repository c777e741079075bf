"""Devices that train sealed models, for tests: tests/c/train_bundle.c, with OpenSSL for OP-TEE's cryptography."""

from __future__ import annotations

import hmac
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tzml.bundle import Bundle
from tzml.bundle.checkpoint import read_checkpoint
from tzml.owner.grant import Rights, Terms, make_grant
from tzml.owner.keys import OwnerKey, coordinates
from tzml.owner.seal import ContentKey, seal

OWNER, OTHER, EXPORT = (OwnerKey(ec.derive_private_key(number, ec.SECP256R1())) for number in (11, 12, 13))
DEVICES = [ec.derive_private_key(number, ec.SECP256R1()) for number in (21, 22)]
ALL = Rights.save_state | Rights.export_state | Rights.train
TERMS = Terms(serial=5, programs=3, rights=ALL, export_key=EXPORT.public)
TRAINED = ("run=0", "run=0")


def scalar(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_numbers().private_value.to_bytes(32, "big")


class Lab:
    """Sealed models, their grants, and devices that train them."""

    def __init__(self, program: Path, folder: Path) -> None:
        self.program, self.folder = program, folder

    def seal(self, name: str, bundle: Bundle, owner: OwnerKey = OWNER, **terms: Any) -> ContentKey:
        """Make NAME.tzm, and NAME.tzg for both devices."""
        key = seal(bundle, owner, self.folder / f"{name}.tzm")
        self.write(f"{name}.tzg", make_grant(
            key, owner, [coordinates(device.public_key()) for device in DEVICES], replace(TERMS, **terms)
        ))  # fmt: skip
        return key

    def write(self, name: str, data: bytes) -> None:
        (self.folder / name).write_bytes(data)

    def read(self, name: str) -> bytes:
        return (self.folder / name).read_bytes()

    def run(self, *steps: tuple[str, ...], device: int = 0) -> list[tuple[str, str]]:
        """Status and last output of each step, on one device: the name of a model, and what is done with it."""
        told = [
            ",".join([f"{name}.tzm", f"{name}.tzg" if (self.folder / f"{name}.tzg").exists() else "", *actions])
            for name, *actions in steps
        ]
        command: list[str | Path] = [self.program, scalar(DEVICES[device]).hex(), *told]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return [(status, output) for status, output in map(str.split, done.stdout.splitlines())]

    def statuses(self, *steps: tuple[str, ...], device: int = 0) -> list[str]:
        return [status for status, _ in self.run(*steps, device=device)]


def opened_by_device(data: bytes, device: int = 0) -> bytes:
    """The state, opened with the device's private key as docs/bundle.md says."""
    found = read_checkpoint(data)
    key = hmac.digest(scalar(DEVICES[device]), b"tzml checkpoint 1" + found.digest, "sha256")
    return b"".join(AESGCM(key).decrypt(nonce, text + tag, found.digest) for nonce, text, tag in found.segments())
