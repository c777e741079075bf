"""Checkpoints that a device exported: what the owner of the export key reads of them."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from numpy.typing import NDArray

from tzml.bundle import Bundle, BundleError, Chunk, Content
from tzml.bundle.checkpoint import Checkpoint, CheckpointKind
from tzml.device import key_id
from tzml.owner.hpke_auth import open_auth
from tzml.owner.keys import OwnerKey

_LABEL = b"tzml export 1"

Array = NDArray[np.float32]


def open_exported(checkpoint: Checkpoint, key: OwnerKey, device: bytes) -> bytes:
    """The state that a device exported, and that nobody else can have made.

    Args:
        checkpoint: what was read of the file
        key: with the private half of the grant's export key
        device: the device's public key, X and Y, 64 bytes

    Raises BundleError: CHECKPOINT_KIND for one that was not exported, CHECKPOINT_DEVICE for another device's,
    CHECKPOINT_DAMAGED for what does not open.

    """
    if checkpoint.kind != CheckpointKind.exported:
        raise BundleError(
            "CHECKPOINT_KIND", f"the checkpoint is {checkpoint.kind.name}, and not exported",
            "export one: tzml train --export",
        )  # fmt: skip
    if key_id(device) != checkpoint.device:
        raise BundleError(
            "CHECKPOINT_DEVICE", "the checkpoint was exported by another device", "give that device's record (.tzd)"
        )
    try:
        secret = open_auth(key.private, device, checkpoint.enc, checkpoint.wrapped, _LABEL + checkpoint.digest)
        cipher = AESGCM(secret)
        return b"".join(
            cipher.decrypt(nonce, sealed + tag, checkpoint.digest) for nonce, sealed, tag in checkpoint.segments()
        )
    except (InvalidTag, ValueError) as error:
        raise BundleError(
            "CHECKPOINT_DAMAGED",
            "the checkpoint was exported for another key than this one, or was changed",
            "give the private half of the grant's export key, and the file as the device wrote it",
        ) from error


def with_state(bundle: Bundle, state: bytes) -> Bundle:
    """The bundle's next version, whose state begins as a device left it. Raises BundleError if the size differs.

    Of a private model, devices export the parameters alone; the rest begins as zeros.
    """
    if all(memory.noise and memory.noise.sums == len(state) for memory in bundle.memories):
        state = state.ljust(bundle.memory.state_size, b"\0")
    memories = [memory for memory in bundle.memories if memory.state_size]
    if [memory.state_size for memory in memories] != [len(state)]:
        raise BundleError(
            "CHECKPOINT_MODEL", f"the checkpoint has {len(state)} bytes of state, and the bundle others"
        )
    (memory,) = memories
    whole = replace(memory, pieces=(Chunk(len(state), 0),))
    return replace(
        bundle,
        memories=tuple(whole if one is memory else one for one in bundle.memories),
        pieces=(Content((state,)),),
        model_version=bundle.model_version + 1,
    )


def parameters(bundle: Bundle, state: bytes) -> dict[str, Array]:
    """What a bundle's notes name in its state, as float32: parameters, and what the optimizer keeps of them.

    What an export of a private model leaves out is not there.
    """
    found = json.loads(bundle.notes or b"{}").get("state", [])
    return {
        name: np.frombuffer(state, np.float32, int(np.prod(shape)), offset).reshape(shape)
        for name, offset, shape, *dtype in found
        if not dtype and offset < len(state)
    }
