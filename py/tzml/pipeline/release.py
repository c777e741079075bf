"""Releases: with them attested sessions get the keys of an epoch. docs/bundle.md, "Release (.tzr)"."""

from __future__ import annotations

import hashlib
import secrets
import struct
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric import ec

from tzml.bundle.format import FORMAT_VERSION, KEY_SIZE, require
from tzml.bundle.protection import verify_owner
from tzml.device import SessionRecord
from tzml.errors import TzmlError
from tzml.owner.keys import Signer, coordinates, public_key
from tzml.owner.wrapping import seal_to

MAGIC = b"\x89TZR\r\n\x1a\n"
MAX_STAGES = 64
SECRET_SIZE = 32
_ABOUT = struct.Struct("<8sII16sQIIII32s64s32s64s")
_SEALED = struct.Struct("<65s80s55s")
SIZE = _ABOUT.size + _SEALED.size + KEY_SIZE


@dataclass(frozen=True)
class EpochKeys:
    """The secrets of a pipeline in one epoch: the key that clients seal to, and one secret for each inner edge.

    Whoever has them reads all requests of the epoch. `client_key` is a P-256 private key, 32 bytes; `edges` has the
    secrets of edge 1 to that before the last stage.
    """

    pipeline: bytes
    epoch: int
    client_key: bytes
    edges: tuple[bytes, ...]

    @staticmethod
    def new(pipeline: bytes, epoch: int, stage_count: int) -> EpochKeys:
        """New secrets. Raises TzmlError for too many stages."""
        if not 1 <= stage_count <= MAX_STAGES:
            raise TzmlError(f"a pipeline has 1 to {MAX_STAGES} stages, not {stage_count}")
        number = ec.generate_private_key(ec.SECP256R1()).private_numbers().private_value
        edges = tuple(secrets.token_bytes(SECRET_SIZE) for _ in range(stage_count - 1))
        return EpochKeys(pipeline, epoch, number.to_bytes(SECRET_SIZE, "big"), edges)

    @property
    def stage_count(self) -> int:
        """How many stages the pipeline has."""
        return len(self.edges) + 1

    @property
    def client_public(self) -> bytes:
        """What clients seal to: X and Y, 64 bytes."""
        return coordinates(
            ec.derive_private_key(int.from_bytes(self.client_key, "big"), ec.SECP256R1()).public_key()
        )

    def of_stage(self, stage: int) -> bytes:
        """The two secrets that a stage gets: of the records that it takes, and of those that it gives."""
        inner = (self.client_key, *self.edges, bytes(SECRET_SIZE))
        return inner[stage] + inner[stage + 1]


@dataclass(frozen=True)
class StageRelease:
    """What a release says, besides the secrets: to which session of which owner's model, for which stage."""

    pipeline: bytes
    epoch: int
    stage: int
    stage_count: int
    program: int
    bundle_digest: bytes
    owner: bytes
    session: bytes
    client_public: bytes

    def encode(self) -> bytes:
        """The bytes that the secrets are bound to."""
        return _ABOUT.pack(
            MAGIC, FORMAT_VERSION, 0, self.pipeline, self.epoch, self.stage, self.stage_count, self.program, 0,
            self.bundle_digest, self.owner, self.session, self.client_public,
        )  # fmt: skip


def make_release(
    keys: EpochKeys, owner: Signer, session: SessionRecord, stage: int, bundle_digest: bytes, program: int = 0
) -> bytes:
    """The bytes of a release (.tzr), for a session whose evidence was checked.

    Args:
        keys: of the epoch
        owner: of the bundle, for whom the device was enrolled
        session: that is to run the stage
        stage: its number
        bundle_digest: the digest in the header of the stage's bundle
        program: of the bundle, that the stage runs

    Raises TzmlError for a stage that the pipeline does not have, or a key that is no point of P-256.

    """
    if not 0 <= stage < keys.stage_count:
        raise TzmlError(f"the pipeline has the stages 0 to {keys.stage_count - 1}, and no stage {stage}")
    try:
        point = public_key(session.public_key)
    except ValueError as error:
        raise TzmlError(f"the session's public key {session.public_key.hex()} is not a point of P-256") from error
    about = StageRelease(
        keys.pipeline, keys.epoch, stage, keys.stage_count, program, bundle_digest, owner.public,
        session.session_id, keys.client_public,
    ).encode()  # fmt: skip
    info = b"tzml release 1" + hashlib.sha256(about).digest()
    data = about + _SEALED.pack(*seal_to(point, keys.of_stage(stage), info), b"")
    return data + owner.sign(hashlib.sha256(data).digest())


def read_release(data: bytes) -> StageRelease:
    """Read a release as a device checks it. Raises BundleError (RELEASE_MALFORMED, SIGNATURE, UNSUPPORTED)."""
    status = "RELEASE_MALFORMED"
    require(len(data) == SIZE, status, f"a release has {SIZE} bytes, not {len(data)}")
    (
        magic, version, required, pipeline, epoch, stage, count, program, zero, digest, owner, session, client,
    ) = _ABOUT.unpack_from(data)  # fmt: skip
    require(magic == MAGIC and version == FORMAT_VERSION, status, "this is not a release of format 2")
    verify_owner(owner, hashlib.sha256(data[:-KEY_SIZE]).digest(), data[-KEY_SIZE:])
    require(required == 0, "UNSUPPORTED", "the release requires what this version does not know")
    require(1 <= count <= MAX_STAGES and stage < count, status, f"stage {stage} of {count}")
    require(epoch < 2**64 - 1, status, f"epoch {epoch}")
    *_, rest = _SEALED.unpack_from(data, _ABOUT.size)
    require(not zero and not any(rest), status, "reserved bytes are not zero")
    return StageRelease(pipeline, epoch, stage, count, program, digest, owner, session, client)


def wrap_client_secret(secret: bytes, pipeline: bytes, epoch: int, client_public: bytes) -> tuple[bytes, bytes]:
    """A client's secret, sealed to a pipeline's key: `enc` and `wrapped` of a record. Raises ValueError."""
    info = b"tzml client 1" + pipeline + struct.pack("<Q", epoch) + client_public
    return seal_to(public_key(client_public), secret, info)
