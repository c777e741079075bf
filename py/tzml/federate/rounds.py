"""A server's rounds: the global parameters, the devices that train them, and how many updates each has made."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tzml.bundle import Bundle, BundleError
from tzml.bundle.checkpoint import CheckpointKind, read_checkpoint
from tzml.errors import TzmlError
from tzml.files import read_file, write_file
from tzml.owner.exported import open_exported, with_state
from tzml.owner.global_model import exported_size, make_global_model
from tzml.owner.keys import OwnerKey

_FORMAT = "tzml federation 1"

Parameters = NDArray[np.float32]


@dataclass(frozen=True)
class Update:
    """What a device gave in a round: its parameters, and how many updates with noise they come from."""

    device: bytes
    parameters: Parameters
    updates: int


@dataclass(frozen=True)
class Federation:
    """The model of a federation, and who takes part.

    Attributes:
        model: Clear; its version is that which the devices have.
        bundle_digest: Of the sealed bundle.
        owner: Its owner's public key, X and Y.
        server: The key that the grants of the devices name, with its private half.
        devices: The devices' public keys, X and Y.

    """

    model: Bundle
    bundle_digest: bytes
    owner: bytes
    server: OwnerKey
    devices: tuple[bytes, ...]

    @property
    def multiplier(self) -> float:
        """The deviation of the noise of an update, in clips."""
        noise = self.model.memory.noise
        return noise.multiplier if noise else 0.0


class Rounds:
    """The rounds of a federation, kept in a file: a server that was stopped goes on where it was.

    Raises TzmlError for a model that is not private, or for a file of another federation.
    """

    def __init__(self, federation: Federation, path: Path) -> None:
        self.federation, self.path = federation, path
        self.number = 0  # of the last round that ended
        self.updates = {device.hex(): 0 for device in federation.devices}
        size = exported_size(federation.model)
        self.parameters: Parameters = np.frombuffer(_initial(federation.model)[:size], np.float32)
        if path.exists():
            self._read(size)

    def begin(self) -> dict[bytes, bytes]:
        """The global model of the next round for each device."""
        f = self.federation
        data = self.parameters.tobytes()
        return {
            device: make_global_model(f.model, f.bundle_digest, f.owner, f.server, device, self.number + 1, data)
            for device in f.devices
        }

    def open(self, device: bytes, data: bytes) -> Update:
        """What a device gave in the round that was begun.

        Raises BundleError for one that is not of this round, model and device, or that was changed, and TzmlError
        for parameters that are not numbers.
        """
        found = read_checkpoint(data)
        if found.kind != CheckpointKind.exported or found.bundle_digest != self.federation.bundle_digest:
            raise BundleError("CHECKPOINT_VERSION", "the update is of another model", "train the federation's")
        if found.number != self.number + 1:
            raise BundleError(
                "ROUND_OLD", f"the update is of round {found.number}, and this is round {self.number + 1}",
                "train from the global model of this round",
            )  # fmt: skip
        if found.state_size != self.parameters.nbytes:
            raise BundleError(
                "CHECKPOINT_MODEL",
                f"the update has {found.state_size:,} bytes, and the model's parameters {self.parameters.nbytes:,}",
            )
        parameters = np.frombuffer(open_exported(found, self.federation.server, device), np.float32)
        if not np.isfinite(parameters).all():
            raise TzmlError("parameters of the update are not finite", "train with a lower rate")
        return Update(device, parameters, found.updates)

    def end(self, updates: Sequence[Update]) -> None:
        """Take the mean of a round's updates for the global parameters, and keep all in the file.

        Raises TzmlError for no update, or two of one device: nothing is changed then.
        """
        if not updates or len({update.device for update in updates}) != len(updates):
            raise TzmlError("a round takes one update of each device, and at least one")
        mean = np.mean([update.parameters.astype(np.float64) for update in updates], axis=0)
        spent = dict(self.updates)
        for update in updates:
            spent[update.device.hex()] += update.updates
        self._write(self.number + 1, mean.astype(np.float32), spent)

    def trained(self) -> Bundle:
        """The model's next version, with the global parameters."""
        return with_state(self.federation.model, self.parameters.tobytes())

    def _write(self, number: int, parameters: Parameters, updates: Mapping[str, int]) -> None:
        about = {
            "format": _FORMAT,
            "bundle_digest": self.federation.bundle_digest.hex(),
            "round": number,
            "updates": dict(updates),
            "sha256": hashlib.sha256(parameters.tobytes()).hexdigest(),
        }
        head = json.dumps(about).encode() + b"\n"
        write_file(self.path, head + parameters.tobytes())
        self.number, self.parameters, self.updates = number, parameters, dict(updates)

    def _read(self, size: int) -> None:
        head, _, data = read_file(self.path).partition(b"\n")
        try:
            about = json.loads(head)
            known = about["format"] == _FORMAT
            digest, number, updates = bytes.fromhex(about["bundle_digest"]), int(about["round"]), about["updates"]
            whole = len(data) == size and hashlib.sha256(data).hexdigest() == about["sha256"]
        except (ValueError, KeyError, TypeError) as error:
            raise TzmlError(f"{self.path} is not the file of a federation", "give another file") from error
        if not known or digest != self.federation.bundle_digest:
            raise TzmlError(f"{self.path} is of a federation of another model", "give another file")
        if not whole:
            raise TzmlError(f"{self.path} was damaged", "put it back, or begin anew with another file")
        self.number, self.parameters = number, np.frombuffer(data, np.float32)
        self.updates |= {str(device): int(count) for device, count in updates.items()}


def _initial(model: Bundle) -> bytes:
    """The state that a model begins with."""
    state = bytearray(model.memory.state_size)
    for piece, content in zip(model.memory.pieces, model.pieces, strict=True):
        state[piece.offset : piece.offset + piece.size] = content.tobytes()
    return bytes(state)
