"""Vectors for sealed bundles and grants: docs/bundle-examples/sealed.{tzm,tzg,json}, made by this program.

HPKE draws random numbers, so the files are made once and then only checked.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from bundle_examples import BUNDLE, FOLDER
from cryptography.hazmat.primitives.asymmetric import ec

from tzml.bundle import OutputPolicy, container, decode, derive_model_id
from tzml.bundle.protection import nonce_of
from tzml.owner.grant import Terms, make_grant
from tzml.owner.keys import OwnerKey, coordinates
from tzml.owner.seal import seal


def scalar(key: ec.EllipticCurvePrivateKey) -> str:
    return f"{key.private_numbers().private_value:064x}"


def main(folder: Path = FOLDER) -> None:
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    owner, device = OwnerKey(keys[0]), coordinates(keys[1].public_key())
    bundle = replace(BUNDLE, model_id=derive_model_id(owner.public, "example"))
    key = seal(bundle, owner, folder / "sealed.tzm")
    terms = Terms(OutputPolicy.top_1, budget=1000, serial=7)
    (folder / "sealed.tzg").write_bytes(make_grant(key, owner, [device], terms))
    data = (folder / "sealed.tzm").read_bytes()
    table = container.read_table(data)
    opened = decode(data, key.secret)

    about = {
        "owner_private": scalar(keys[0]),
        "device_private": scalar(keys[1]),
        "content_key": key.secret.hex(),
        "header_binding": table.header.binding().hex(),
        "hpke_info": (b"tzml grant 2" + key.bundle_digest + owner.public).hex(),
        "sections": [
            {"nonce": nonce_of(row.number).hex(), "plaintext": section.content.tobytes().hex()}
            for row, section in zip(table.rows, opened.sections(), strict=True)
            if row.protection
        ],
    }
    (folder / "sealed.json").write_text(json.dumps(about, indent=1) + "\n")


if __name__ == "__main__":
    main()
