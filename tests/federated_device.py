"""Devices that take part in federated rounds, for tests."""

from __future__ import annotations

import hashlib
import struct

from checkpoint_device import DEVICES, OWNER, Lab
from cryptography.hazmat.primitives.asymmetric import ec
from federated_example import PARAMETERS, RIGHTS, example

from tzml.bundle.checkpoint import read_checkpoint
from tzml.owner.exported import open_exported
from tzml.owner.global_model import make_global_model
from tzml.owner.grant import Rights
from tzml.owner.keys import OwnerKey, coordinates
from tzml.owner.seal import ContentKey

SERVER = OwnerKey(ec.derive_private_key(14, ec.SECP256R1()))
UPDATES = 4
OTHERS = struct.pack("<80f", *range(80))


class Round(Lab):
    """The private model, and the global models that a server makes of it."""

    def seal_private(self, name: str = "model", rights: Rights = RIGHTS, updates: int = UPDATES) -> ContentKey:
        return self.seal(
            name, example(OWNER.public), export_key=SERVER.public, rights=rights, noised_updates=updates
        )

    def give(
        self,
        number: int,
        data: bytes = PARAMETERS,
        *,
        name: str = "model",
        server: OwnerKey = SERVER,
        device: int = 0,
    ) -> str:
        """Write the global model of a round; what restores it."""
        digest = decode_header(self.read(f"{name}.tzm"))
        key = coordinates(DEVICES[device].public_key())
        made = make_global_model(example(OWNER.public), digest, OWNER.public, server, key, number, data)
        path = f"{name}-{number}-{device}-{hashlib.sha256(data + server.public).hexdigest()[:8]}.tzs"
        self.write(path, made)
        return f"restore={path}"

    def opened(self, name: str) -> bytes:
        """An update, as the server opens it."""
        return open_exported(read_checkpoint(self.read(name)), SERVER, coordinates(DEVICES[0].public_key()))


def decode_header(data: bytes) -> bytes:
    """The digest in a bundle's header."""
    return data[224:256]
