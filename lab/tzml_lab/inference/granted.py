"""A sealed network for a target's device: enrolled, granted and run as lab tests ask for it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from labgrid import Target

from tzml.bundle import Bundle
from tzml.compiler import compile_model
from tzml.device import DeviceRecord, read_device
from tzml.owner.grant import Terms, make_grant
from tzml.owner.keys import OwnerKey, public_pem
from tzml.owner.seal import ContentKey, seal
from tzml_lab.environment import ROOT
from tzml_lab.inference.compiling import options_for
from tzml_lab.target import Commands, files_of
from tzml_lab.time_limits import scaled
from tzml_zoo.digits import ONNX

FOLDER = "/tmp/sealed"  # on the target
OWNER, STRANGER = (OwnerKey(ec.generate_private_key(ec.SECP256R1())) for _ in range(2))

Answers = list[Any]


@dataclass
class Granted:
    """Sealed bundles on this host and on the target, and the device that they are granted to."""

    command: Commands
    target: Target
    folder: Path
    device: DeviceRecord
    clear: Bundle
    keys: dict[str, ContentKey]

    def grant(self, name: str, bundle: str = "sealed", owner: OwnerKey = OWNER, device: bytes = b"",
              **terms: Any) -> bytes:  # fmt: skip
        """Put a grant onto the target."""
        device = device or self.device.public_key
        data = make_grant(self.keys[bundle], owner, [device], replace(Terms(serial=10), **terms))
        (self.folder / f"{name}.tzg").write_bytes(data)
        self.put(f"{name}.tzg")
        return data

    def put(self, name: str) -> None:
        files_of(self.target).put(str(self.folder / name), f"{FOLDER}/{name}")

    def do(self, *steps: tuple[str, str] | tuple[str, str, int] | tuple[str, str, int, str]) -> Answers:
        """Open bundles with grants, run them so often under an id; for each the status, or the last answer."""

        def told_of(bundle: str, grant: str, runs: int = 1, request: str = "") -> str:
            return f"{bundle}.tzm,{grant and f'{grant}.tzg'},{runs},{request}"

        told = " ".join(told_of(*step) for step in steps)
        (line,) = self.command.run_check(f"python3 {FOLDER}/sealed.py {told}", timeout=scaled(240))
        answers: Answers = json.loads(line)
        return answers


def enrolled(command: Commands, target: Target, folder: Path, owners: Sequence[OwnerKey] = (OWNER,)) -> Granted:
    """A target enrolled for `owners`, with a network that OWNER and STRANGER sealed; `folder` becomes FOLDER there.

    Bundles: `sealed` and `again`, sealed twice; `newer`, a later version; `stranger`, STRANGER's; `changed`, with a
    bit of `sealed` changed; `clear`.
    """
    clear = compile_model(ONNX, options_for(target, owner=OWNER.public))
    clear.write(folder / "clear.tzm")
    keys = {name: seal(clear, OWNER, folder / f"{name}.tzm") for name in ("sealed", "again")}
    keys["newer"] = seal(replace(clear, model_version=clear.model_version + 1), OWNER, folder / "newer.tzm")
    keys["stranger"] = seal(clear, STRANGER, folder / "stranger.tzm")
    changed = bytearray((folder / "sealed.tzm").read_bytes())
    changed[-1] ^= 1
    (folder / "changed.tzm").write_bytes(changed)
    (folder / "sealed.py").write_bytes((ROOT / "lab" / "target" / "sealed.py").read_bytes())
    command.run_check(f"rm -rf {FOLDER}")
    files_of(target).put(str(folder), FOLDER)
    return Granted(command, target, folder, enroll(command, target, folder, FOLDER, owners), clear, keys)


def enroll(command: Commands, target: Target, folder: Path, there: str, owners: Sequence[OwnerKey]) -> DeviceRecord:
    """Give the target a new identity for `owners`, through files in `folder` here and in the folder `there`."""
    options = []
    for number, owner in enumerate(owners):
        name = f"owner{number}.pub.pem"
        (folder / name).write_bytes(public_pem(owner.public))
        files_of(target).put(str(folder / name), f"{there}/{name}")
        options.append(f"--owner {there}/{name}")
    command.run_check(
        f"tzml device enroll --replace {' '.join(options)} -o {there}/device.tzd", timeout=scaled(240)
    )
    files_of(target).get(f"{there}/device.tzd", str(folder / "device.tzd"))
    return read_device(folder / "device.tzd")
