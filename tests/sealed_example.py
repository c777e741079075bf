"""Vectors for sealed bundles and grants: docs/bundle-examples/sealed.{tzm,tzg,json}, made by this program.

No reader opens them yet. HPKE draws random numbers, so the files are made once and then only checked.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
from dataclasses import replace
from pathlib import Path

from bundle_examples import BUNDLE, FOLDER, HEADER, PROGRAM, ROW
from cryptography.hazmat.primitives import hashes, hpke, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from tzml.bundle import SectionType, Worlds, container, derive_model_id
from tzml.bundle.container import GRANT_MAGIC
from tzml.bundle.content import Buffer
from tzml.bundle.protection import Binding, Stream

HPKE = hpke.Suite(hpke.KEM.P256, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)
INFO = b"tzml grant 2"
GRANT = struct.Struct("<8s4I32s16s64sQIIQIIQ64s80s")
RECIPIENT = struct.Struct("<32s65s48s15s")


class AesGcm:
    """The protection with code 1, as docs/bundle.md, "Section table", defines it."""

    code = 1

    def __init__(self, key: bytes) -> None:
        self.key = key

    def seal(self, binding: Binding) -> Stream:
        return _Sealing(self.key, binding)

    def open(self, binding: Binding) -> Stream:
        raise NotImplementedError("the vectors are opened by hand")


class _Sealing:
    def __init__(self, key: bytes, binding: Binding) -> None:
        self._cipher = Cipher(algorithms.AES(key), modes.GCM(nonce_of(binding.row))).encryptor()
        self._cipher.authenticate_additional_data(
            associated_data(binding.header, binding.type, binding.index, binding.worlds)
        )

    def update(self, data: Buffer) -> Buffer:
        return self._cipher.update(data)

    def finish(self) -> bytes:
        self._cipher.finalize()
        return self._cipher.tag + bytes(16)


def nonce_of(row: int) -> bytes:
    return bytes(4) + struct.pack("<Q", row)


def associated_data(header: bytes, kind: int, index: int, worlds: int) -> bytes:
    return header + struct.pack("<III", kind, index, worlds)


def sign(key: ec.EllipticCurvePrivateKey, digest: bytes) -> bytes:
    der = key.sign(digest, ec.ECDSA(Prehashed(hashes.SHA256()), deterministic_signing=True))
    r, s = decode_dss_signature(der)
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def point(key: ec.EllipticCurvePrivateKey) -> bytes:
    """The public key: 4, X, Y."""
    kind = serialization.PublicFormat.UncompressedPoint
    return key.public_key().public_bytes(serialization.Encoding.X962, kind)


def scalar(key: ec.EllipticCurvePrivateKey) -> str:
    return f"{key.private_numbers().private_value:064x}"


def main(folder: Path = FOLDER) -> None:
    owner, device = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    content_key = os.urandom(32)
    public = point(owner)[1:]
    bundle = replace(
        BUNDLE,
        programs=(replace(PROGRAM, worlds=Worlds.tee),),
        memories=(replace(BUNDLE.memory, worlds=Worlds.tee),),
        model_id=derive_model_id(public, "example"),
    )
    # the interface stays clear, and the normal world has no library and may read the metadata
    clear = {SectionType.interface, SectionType.metadata}
    sections = [
        section if section.type in clear else replace(section, protection=AesGcm(content_key))
        for section in bundle.sections()
        if not (section.type == SectionType.kernels and section.worlds == Worlds.ree)
    ]
    header = replace(bundle.header(), owner=public)
    data = bytearray(container.encode(header, sections))
    digest = bytes(data[224:256])
    data[256:320] = sign(owner, digest)

    key_id = hashlib.sha256(point(device)).digest()
    sealed = HPKE.encrypt(content_key, device.public_key(), INFO + digest + public)
    recipient = RECIPIENT.pack(key_id, sealed[:65], sealed[65:], b"")
    grant = GRANT.pack(
        GRANT_MAGIC, 2, GRANT.size + len(recipient) + 64, 1, 0, digest, bundle.model_id.bytes, public, 7,
        2, 0, 1000, 1, 0, 0, b"", b"",
    )  # fmt: skip
    grant += recipient
    grant += sign(owner, hashlib.sha256(grant).digest())

    about = {
        "owner_private": scalar(owner),
        "device_private": scalar(device),
        "content_key": content_key.hex(),
        "header_binding": binding_of(data).hex(),
        "hpke_info": (INFO + digest + public).hex(),
        "sections": [
            {"nonce": nonce_of(i).hex(), "plaintext": section.content.tobytes().hex()}
            for i, section in enumerate(sections)
            if section.type not in clear
        ],
    }
    (folder / "sealed.tzm").write_bytes(data)
    (folder / "sealed.tzg").write_bytes(grant)
    (folder / "sealed.json").write_text(json.dumps(about, indent=1) + "\n")


def binding_of(data: bytes | bytearray) -> bytes:
    """SHA-256 of the header alone, with digest and signature as zeros."""
    return hashlib.sha256(bytes(data[:224]) + bytes(96)).digest()


assert GRANT.size == 320
assert RECIPIENT.size == 160
assert (HEADER, ROW) == (320, 64)

if __name__ == "__main__":
    main()
