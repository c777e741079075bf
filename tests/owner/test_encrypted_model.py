"""Encrypted models are what docs/bundle.md says, open for their keys only, and no byte of them can be changed."""

from __future__ import annotations

import hashlib
import hmac
import io
import json
import secrets
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bundle_examples import FOLDER
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tzml.errors import TzmlError
from tzml.owner import encrypted_model
from tzml.owner.encrypted_model import decrypt_model, encrypt_model, is_encrypted
from tzml.owner.keys import coordinates
from tzml.owner.wrapping import wrap

VECTOR = FOLDER / "encrypted.tze"
ABOUT = json.loads((FOLDER / "encrypted.json").read_text())
KEY, OTHER = (ec.derive_private_key(number, ec.SECP256R1()) for number in (31, 32))
PUBLIC = coordinates(KEY.public_key())
CHUNK = 1 << 16


def encrypted(folder: Path, content: bytes = b"the network", name: str = "net.onnx") -> Path:
    """An encrypted model of one file."""
    (folder / name).write_bytes(content)
    encrypt_model(name, {name: folder / name}, [PUBLIC], folder / "net.tze")
    (folder / name).unlink()
    return folder / "net.tze"


def decrypted(path: Path, folder: Path, key: ec.EllipticCurvePrivateKey = KEY) -> Path:
    folder.mkdir(exist_ok=True)
    with path.open("rb") as file:
        return decrypt_model(file, str(path), key, folder)


# RFC 9180 by its own words, sections 4, 4.1, 5.1 and 5.2, for DHKEM(P-256, HKDF-SHA256), HKDF-SHA256, AES-256-GCM.
def _extract(suite: bytes, salt: bytes, label: bytes, key: bytes) -> bytes:
    return hmac.digest(salt or bytes(32), b"HPKE-v1" + suite + label + key, "sha256")


def _expand(suite: bytes, key: bytes, label: bytes, info: bytes, length: int) -> bytes:
    text = struct.pack(">H", length) + b"HPKE-v1" + suite + label + info
    return hmac.digest(key, text + b"\x01", "sha256")[:length]


def hpke_open(private: ec.EllipticCurvePrivateKey, enc: bytes, sealed: bytes, info: bytes) -> bytes:
    kem, suite = b"KEM" + struct.pack(">H", 0x10), b"HPKE" + struct.pack(">3H", 0x10, 1, 2)
    point = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), enc)
    context = enc + b"\x04" + coordinates(private.public_key())
    dh = private.exchange(ec.ECDH(), point)
    shared = _expand(kem, _extract(kem, b"", b"eae_prk", dh), b"shared_secret", context, 32)
    schedule = b"\0" + _extract(suite, b"", b"psk_id_hash", b"") + _extract(suite, b"", b"info_hash", info)
    secret = _extract(suite, shared, b"secret", b"")
    key, nonce = _expand(suite, secret, b"key", schedule, 32), _expand(suite, secret, b"base_nonce", schedule, 12)
    return AESGCM(key).decrypt(nonce, sealed, b"")


@pytest.mark.parametrize("number", [0, 1])
def test_the_vector_is_what_the_specification_says(number: int) -> None:
    data = VECTOR.read_bytes()
    header = data[:64]
    magic, version, count, required, chunk, size = struct.unpack_from("<8s4IQ", header)
    assert (magic, version, count, required, chunk) == (b"\x89TZE\r\n\x1a\n", 1, 2, 0, CHUNK)
    assert not any(header[32:])
    private = ec.derive_private_key(int(ABOUT["private_keys"][number], 16), ec.SECP256R1())
    key_id = hashlib.sha256(b"\x04" + coordinates(private.public_key())).digest()
    rows = [data[64 + 160 * i : 224 + 160 * i] for i in range(count)]
    assert [row[:32] for row in rows] == sorted(row[:32] for row in rows)
    [row] = [row for row in rows if row[:32] == key_id]
    assert not any(row[145:])
    cipher = AESGCM(hpke_open(private, row[32:97], row[97:145], b"tzml encrypted model 1" + header))
    at, plain = 64 + 160 * count, b""
    binding = hashlib.sha256(data[:at]).digest()
    for i in range(0, size, CHUNK):
        end = at + min(CHUNK, size - i) + 16
        plain += cipher.decrypt(bytes(4) + struct.pack("<Q", i // CHUNK), data[at:end], binding)
        at = end
    assert (at, len(plain)) == (len(data), size)
    assert size > CHUNK  # so that there are two chunks
    (length,) = struct.unpack_from("<I", plain)
    about = json.loads(plain[4 : 4 + length])
    weights = bytes(range(256)) * 260
    assert about["model"] == ABOUT["model"] == "net.onnx"
    assert [(f["name"], f["bytes"]) for f in about["files"]] == [("net.onnx", 11), ("weights/w0.bin", len(weights))]
    assert plain[4 + length :] == bytes.fromhex(ABOUT["files"]["net.onnx"]) + weights


def test_the_vector_is_read(tmp_path: Path) -> None:
    private = ec.derive_private_key(int(ABOUT["private_keys"][1], 16), ec.SECP256R1())
    model = decrypted(VECTOR, tmp_path / "out", private)
    assert model == tmp_path / "out" / "net.onnx"
    assert model.read_bytes() == b"the network"
    assert (model.parent / "weights" / "w0.bin").read_bytes() == bytes(range(256)) * 260


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from([0, CHUNK - 100, CHUNK - 1, CHUNK]) | st.integers(0, 5000), min_size=1, max_size=4))
def test_files_come_back_as_they_were(tmp_path_factory: pytest.TempPathFactory, sizes: list[int]) -> None:
    folder = tmp_path_factory.mktemp("files")
    files = {f"saved/{'sub/' * (i % 2)}{i}": folder / str(i) for i in range(len(sizes))}
    for size, path in zip(sizes, files.values(), strict=True):
        path.write_bytes(secrets.token_bytes(size))
    encrypt_model("saved", files, [PUBLIC], folder / "x.tze")
    assert decrypted(folder / "x.tze", folder / "out") == folder / "out" / "saved"
    found = {str(p.relative_to(folder / "out")): p for p in (folder / "out").rglob("*") if p.is_file()}
    assert {name: path.read_bytes() for name, path in found.items()} == {
        name: path.read_bytes() for name, path in files.items()
    }


def test_nothing_of_the_model_can_be_read_in_the_file(tmp_path: Path) -> None:
    path = encrypted(tmp_path, b"\0" * (2 * CHUNK), "secret-name.onnx")
    data = path.read_bytes()
    assert is_encrypted(path)
    assert b"secret" not in data
    assert bytes(16) not in data[64 + 160 :]
    # equal chunks become different ones, and the same model another file
    assert data[224 + CHUNK : 224 + CHUNK + 64] != data[224:288]
    assert encrypted(tmp_path, b"\0" * (2 * CHUNK), "secret-name.onnx").read_bytes()[224:288] != data[224:288]


def test_each_changed_byte_is_noticed(tmp_path: Path) -> None:
    path = encrypted(tmp_path)
    data = path.read_bytes()
    for at in range(len(data)):
        path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        with pytest.raises(TzmlError) as caught:
            decrypted(path, tmp_path / "out")
        assert "net.tze" in str(caught.value)
        assert not list((tmp_path / "out").iterdir()), at


def test_chunks_cannot_be_left_out_exchanged_or_taken_from_another_file(tmp_path: Path) -> None:
    path = encrypted(tmp_path, secrets.token_bytes(3 * CHUNK))
    data = path.read_bytes()
    first, second, third = (224 + number * (CHUNK + 16) for number in range(3))
    for changed, message in (
        (data[:-1], "should have"),
        (data + b"\0", "should have"),
        (data[:second], "should have"),
        (
            data[:first] + data[second:third] + data[first:second] + data[third:],
            "changed",
        ),
        (data[:first] + encrypted(tmp_path, secrets.token_bytes(3 * CHUNK)).read_bytes()[first:], "changed"),
    ):
        path.write_bytes(changed)
        with pytest.raises(TzmlError, match=message):
            decrypted(path, tmp_path / "out")


def test_it_opens_for_its_keys_only(tmp_path: Path) -> None:
    path = encrypted(tmp_path)
    with pytest.raises(TzmlError, match="encrypted for other keys than this one; encrypt it --for the public half"):
        decrypted(path, tmp_path / "out", OTHER)
    (tmp_path / "net").write_bytes(b"1")
    both = [PUBLIC, coordinates(OTHER.public_key())]
    encrypt_model("net", {"net": tmp_path / "net"}, [*both, PUBLIC], path)
    for number, key in enumerate((KEY, OTHER)):
        assert decrypted(path, tmp_path / str(number), key).read_bytes() == b"1"


@pytest.mark.parametrize(
    ("model", "names"),
    [
        ("../x", ["../x"]),
        ("x", ["x", "a/../../y"]),
        ("/x", ["/x"]),
        ("x", ["x", ""]),
        ("x", ["x", "a//b"]),
        ("x", ["x", "a\0b"]),
        ("x", ["y"]),
        ("x", ["x", "x/y"]),
        ("x", []),
        ("x" * 1025, ["x" * 1025]),
        ("x", ["x", *(f"y/{i}" for i in range(4096))]),
    ],
)
def test_names_that_lead_elsewhere_are_neither_written_nor_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str, names: list[str]
) -> None:
    (tmp_path / "file").write_bytes(b"")
    files = dict.fromkeys(names, tmp_path / "file")
    with pytest.raises(TzmlError):
        encrypt_model(model, files, [PUBLIC], tmp_path / "net.tze")
    assert not (tmp_path / "net.tze").exists()
    check: Callable[..., Any] = encrypted_model._check_manifest
    monkeypatch.setattr(encrypted_model, "_check_manifest", lambda *_: None)
    encrypt_model(model, files, [PUBLIC], tmp_path / "net.tze")
    monkeypatch.setattr(encrypted_model, "_check_manifest", check)
    with pytest.raises(TzmlError, match=r"net\.tze"):
        decrypted(tmp_path / "net.tze", tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def test_a_list_of_files_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    """As somebody writes it who has the public key, and so can encrypt anything."""
    for manifest in (
        b"[]", b"{ ", b"[" * 50_000, b'{"model": "x", "files": [{"name": "x", "bytes": 5}]}',
        b'{"model": "x", "files": [{"name": "x", "bytes": -1}, {"name": "y", "bytes": 1}]}',
        b'{"model": "x", "files": [{"name": "x", "bytes": 0}, {"name": "x", "bytes": 0}]}',
    ):  # fmt: skip
        path = tmp_path / "x.tze"
        write_raw(path, struct.pack("<I", len(manifest)) + manifest)
        with pytest.raises(TzmlError, match="not a valid encrypted model: its list of files"):
            decrypted(path, tmp_path / "out")
    write_raw(path, struct.pack("<I", 1 << 30) + b"{}")
    with pytest.raises(TzmlError, match="1,073,741,824 bytes"):
        decrypted(path, tmp_path / "out")


def write_raw(path: Path, plaintext: bytes) -> None:
    secret = bytes(32)
    header = encrypted_model._HEADER.pack(encrypted_model.MAGIC, 1, 1, 0, CHUNK, len(plaintext), b"")
    head = header + b"".join(wrap(secret, [PUBLIC], encrypted_model._LABEL + header))
    sealed = AESGCM(secret).encrypt(bytes(12), plaintext, hashlib.sha256(head).digest())
    path.write_bytes(head + sealed)


def test_what_is_no_encrypted_model_or_of_a_later_format_is_said_to_be_so(tmp_path: Path) -> None:
    path = encrypted(tmp_path)
    data = bytearray(path.read_bytes())
    (tmp_path / "empty").write_bytes(b"")
    assert not is_encrypted(tmp_path / "empty")
    assert not is_encrypted(tmp_path / "none")
    with pytest.raises(TzmlError, match="is not an encrypted model"):
        decrypt_model(io.BytesIO(b"abc"), "abc", KEY, tmp_path)
    data[8] = 2
    path.write_bytes(data)
    with pytest.raises(TzmlError, match="of format 2; this version of tzml reads format 1"):
        decrypted(path, tmp_path / "out")


def test_a_file_that_changes_or_cannot_be_read_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "x").write_bytes(b"12")
    for size, message in ((1, "changed while it was read"), (3, "changed while it was read")):
        monkeypatch.setattr(encrypted_model, "_size", lambda _, size=size: size)
        with pytest.raises(TzmlError, match=message):
            encrypt_model("x", {"x": tmp_path / "x"}, [PUBLIC], tmp_path / "x.tze")
    monkeypatch.undo()
    with pytest.raises(TzmlError, match=r"cannot read .*gone"):
        encrypt_model("x", {"x": tmp_path / "gone"}, [PUBLIC], tmp_path / "x.tze")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x"]
