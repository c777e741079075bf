"""Global models: the parameters that a server gives to a device for a round of federated training.

docs/bundle.md, "Checkpoint (.tzs)"; runtime/checkpoint.c reads them on the device.
"""

from __future__ import annotations

import hashlib
import secrets

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tzml.bundle import Bundle
from tzml.bundle.checkpoint import HEADER, HEADER_SIZE, MAGIC, CheckpointKind, segment_size
from tzml.bundle.format import FORMAT_VERSION
from tzml.bundle.protection import nonce_of
from tzml.device import key_id
from tzml.errors import TzmlError
from tzml.owner.keys import OwnerKey, public_key

_LABEL = b"tzml global 1"


def exported_size(bundle: Bundle) -> int:
    """Bytes at the beginning of a private model's state that devices export, and that a global model replaces.

    Raises TzmlError for a model that is not private.
    """
    if bundle.memory.noise is None:
        raise TzmlError(
            "the model is not private, and cannot be trained federated",
            "compile it with `tzml compile --train --clip --noise`",
        )
    return bundle.memory.noise.sums


def make_global_model(
    bundle: Bundle, bundle_digest: bytes, owner: bytes, server: OwnerKey, device: bytes, number: int, data: bytes
) -> bytes:
    """A checkpoint (.tzs) that one device takes for a round, and that nobody but it can read.

    Args:
        bundle: the model, clear
        bundle_digest: of the sealed bundle that the device has
        owner: the public key of the model's owner, X and Y, 64 bytes
        server: the key that the device's grant names as export key, with its private half
        device: the device's public key, X and Y, 64 bytes
        number: of the round, from 1
        data: the parameters, as they lie in the state

    Raises TzmlError for a model that is not private, or parameters of another size.

    """
    if len(data) != exported_size(bundle):
        raise TzmlError(
            f"the global model has {len(data):,} bytes, and the model's parameters {exported_size(bundle):,}",
            "give the parameters of the same bundle",
        )
    size, salt = segment_size(bundle.memory), secrets.token_bytes(32)
    header = HEADER.pack(
        MAGIC, FORMAT_VERSION, HEADER_SIZE, CheckpointKind.global_model, size, len(data), number, 0,
        bundle.model_version, bundle.model_id.bytes, owner, bundle_digest,
        key_id(device), salt, b"",
    )  # fmt: skip
    digest = hashlib.sha256(header).digest()
    cipher = AESGCM(global_key(server.private, device, salt, digest))
    segments = (
        cipher.encrypt(nonce_of(i), data[at : at + size], digest) for i, at in enumerate(range(0, len(data), size))
    )
    return header.ljust(HEADER_SIZE, b"\0") + b"".join(segments)


def global_key(private: ec.EllipticCurvePrivateKey, peer: bytes, salt: bytes, digest: bytes) -> bytes:
    """The key of a global model, from the private key of either side and the other's public one (X and Y)."""
    common = private.exchange(ec.ECDH(), public_key(peer))
    return HKDF(hashes.SHA256(), 32, salt, _LABEL + digest).derive(common)
