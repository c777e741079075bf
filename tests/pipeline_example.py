"""Vectors for pipelines: docs/bundle-examples/pipeline, made by this program.

Two stages: the first multiplies, the second adds up. HPKE draws random numbers, so the files are made once and then
only checked.
"""

from __future__ import annotations

import hashlib
import json
import struct
from dataclasses import replace
from pathlib import Path

from bundle_examples import (
    ANSWER,
    BUNDLE,
    FOLDER,
    IMAGE,
    INPUT,
    MEMORY,
    OWNER,
    PROGRAM,
    SCORE,
    WEIGHTS,
    arena,
    weights,
)
from cryptography.hazmat.primitives.asymmetric import ec

from tzml.bundle import Bundle, Call, Direction, Port, Tensor, container
from tzml.device import SessionRecord
from tzml.owner.keys import coordinates
from tzml.pipeline import EpochKeys, SealedRecord, make_release, seal_record
from tzml.pipeline.release import wrap_client_secret

TERMS = replace(IMAGE, name="terms", direction=Direction.output)


def stage(number: int) -> Bundle:
    """The bundle of a stage: 0 multiplies by the weights, 1 adds up."""
    tensors: tuple[Tensor, ...] = (IMAGE, TERMS)
    program = replace(PROGRAM, outputs=(Port(1, 64),), calls=(Call(0, (arena(0), weights(), arena(64))),))
    bundle = replace(BUNDLE, tensors=tensors, programs=(program,), metadata=b'{"name": "terms"}')
    if number == 0:
        return bundle
    tensors = (replace(TERMS, direction=Direction.input), SCORE)
    program = replace(PROGRAM, calls=(Call(1, (arena(0), arena(128, 4))),))
    memory = replace(MEMORY, weights_size=0, chunks=())
    return replace(
        BUNDLE, tensors=tensors, programs=(program,), memories=(memory,), chunks=(), metadata=b'{"name": "sum"}'
    )


def signed(bundle: Bundle) -> bytes:
    """A clear bundle that its owner signed."""
    return container.encode(replace(bundle.header(), owner=OWNER.public), bundle.sections(), OWNER.sign)


def scalar(label: str) -> bytes:
    """A private key that everybody knows."""
    return hashlib.sha256(label.encode()).digest()


def point(secret: bytes) -> bytes:
    return coordinates(ec.derive_private_key(int.from_bytes(secret, "big"), ec.SECP256R1()).public_key())


def main(folder: Path = FOLDER / "pipeline") -> None:
    folder.mkdir(exist_ok=True)
    pipeline, epoch = bytes.fromhex("5b0f2c1d7a934e688f10a2b3c4d5e6f7"), 7
    keys = EpochKeys(pipeline, epoch, scalar("tzml example pipeline"), (scalar("tzml example edge"),))
    sessions = [(scalar(f"tzml example session {i}"), scalar(f"tzml example nonce {i}")) for i in range(2)]
    ids = []
    for number, (secret, nonce) in enumerate(sessions):
        data = signed(stage(number))
        (folder / f"{number}.tzm").write_bytes(data)
        session = SessionRecord(point(secret), nonce, (), None)
        ids.append(session.session_id)
        release = make_release(keys, OWNER, session, number, data[224:256])
        (folder / f"{number}.tzr").write_bytes(release)

    client = scalar("tzml example client")
    enc, wrapped = wrap_client_secret(client, pipeline, epoch, keys.client_public)
    request = SealedRecord(
        pipeline, epoch, 0, scalar("request")[:16], scalar("sender"), 5, len(INPUT), enc, wrapped
    )
    answer = request.answer_secret(client)
    terms = struct.pack("<16f", *(0.5 * i * i for i in range(16)))
    between = SealedRecord(pipeline, epoch, 1, request.request, ids[0], 0, 32 + len(terms))
    last = SealedRecord(pipeline, epoch, 2, request.request, ids[1], 0, 4)
    steps = (
        (request, client, INPUT),
        (between, keys.edges[0], answer + terms),
        (last, answer, struct.pack("<f", ANSWER)),
    )
    for record, secret, payload in steps:
        (folder / f"{record.edge}.tzx").write_bytes(seal_record(record, secret, payload))
    about = {
        "owner": OWNER.public.hex(),
        "weights": WEIGHTS.hex(),
        "pipeline": pipeline.hex(),
        "epoch": epoch,
        "client_private": keys.client_key.hex(),
        "edge_secret": keys.edges[0].hex(),
        "sessions": [
            {"private": secret.hex(), "nonce": nonce.hex(), "id": name.hex()}
            for (secret, nonce), name in zip(sessions, ids, strict=True)
        ],
        "client_secret": client.hex(),
        "answer_secret": answer.hex(),
        "records": [
            {"key": record.key(secret).hex(), "nonce": record.nonce.hex(), "payload": payload.hex()}
            for record, secret, payload in steps
        ],
    }
    (folder / "keys.json").write_text(json.dumps(about, indent=1) + "\n")


if __name__ == "__main__":
    main()
