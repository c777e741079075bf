"""Encrypted models: files that only whoever compiles them can read. docs/bundle.md, "Encrypted model (.tze)"."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tzml.bundle.protection import nonce_of
from tzml.errors import TzmlError
from tzml.files import written
from tzml.owner.wrapping import ROW, unwrap, wrap

MAGIC = b"\x89TZE\r\n\x1a\n"
MAX_RECIPIENTS = 64
MAX_FILES = 4096
MAX_MANIFEST = 1 << 20
MAX_SIZE = 1 << 40
_VERSION = 1
_CHUNK = 1 << 16
_TAG = 16
_LABEL = b"tzml encrypted model 1"
_HEADER = struct.Struct("<8s4IQ32s")
_LENGTH = struct.Struct("<I")


def is_encrypted(path: Path) -> bool:
    """Whether a file begins as an encrypted model; False for what cannot be read, or only once."""
    if not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


def encrypt_model(model: str, files: Mapping[str, Path], recipients: Sequence[bytes], output: Path) -> None:
    """Write an encrypted model (.tze).

    Args:
        model: the name of the model's file or folder, which is the first part of at least one name in `files`
        files: what it is made of: files by their names, with `/` between the parts
        recipients: P-256 public keys, X and Y, 64 bytes each, of those who can read it
        output: where it is written, whole or not at all

    Raises TzmlError for names or sizes that no reader takes, a file that cannot be read or changes, and no
    recipient, too many, or one whose key is no point of P-256.

    """
    sizes = {name: _size(path) for name, path in files.items()}
    manifest = json.dumps(
        {"model": model, "files": [{"name": name, "bytes": size} for name, size in sizes.items()]}
    ).encode()
    _check_manifest(model, sizes, str(output))
    if len(manifest) > MAX_MANIFEST:
        raise TzmlError(f"the names of {len(files)} files take {len(manifest):,} bytes, more than {MAX_MANIFEST:,}")
    size = _LENGTH.size + len(manifest) + sum(sizes.values())
    if size > MAX_SIZE:
        raise TzmlError(f"the model has {size:,} bytes, more than {MAX_SIZE:,}")
    count = len(set(recipients))
    if not 1 <= count <= MAX_RECIPIENTS:
        raise TzmlError(f"an encrypted model is for 1 to {MAX_RECIPIENTS} keys, not {count}")
    secret = secrets.token_bytes(32)  # of this file alone, so that its chunks can be counted
    header = _HEADER.pack(MAGIC, _VERSION, count, 0, _CHUNK, size, b"")
    head = header + b"".join(wrap(secret, recipients, _LABEL + header))
    cipher, binding = AESGCM(secret), hashlib.sha256(head).digest()
    with written(output) as out:
        out.write(head)
        for number, chunk in enumerate(_chunks(_plaintext(manifest, files, sizes))):
            out.write(cipher.encrypt(nonce_of(number), chunk, binding))


def decrypt_model(file: BinaryIO, name: str, key: ec.EllipticCurvePrivateKey, folder: Path) -> Path:
    """Write the files of an encrypted model below `folder`, and return the path of the model there.

    `file` is open at its beginning, `name` is what messages call it. Nothing of a chunk is written before its tag
    was right. Raises TzmlError; files may be left in the folder then, with what was right.
    """
    head, size = _read_head(file, name)
    try:
        secret = unwrap(head[_HEADER.size :], key, _LABEL + head[: _HEADER.size])
    except ValueError as error:
        raise _changed(name) from error
    if secret is None:
        raise TzmlError(
            f"{name} was encrypted for other keys than this one", "encrypt it --for the public half of this key"
        )
    plaintext = _Plaintext(_opened(file, name, AESGCM(secret), hashlib.sha256(head).digest(), size))
    model, sizes = _read_manifest(plaintext, name, size)
    try:
        for part, length in sizes.items():
            path = folder / part
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("xb") as out:
                for piece in plaintext.take(length):
                    out.write(piece)
    except OSError as error:
        remedy = "the decrypted model has to fit into memory"
        raise TzmlError(f"cannot write what is in {name} to {folder}: {error.strerror}", remedy) from error
    return folder / model


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise _unreadable(path, error) from error


def _plaintext(manifest: bytes, files: Mapping[str, Path], sizes: Mapping[str, int]) -> Iterator[bytes]:
    yield _LENGTH.pack(len(manifest)) + manifest
    for name, path in files.items():
        left = sizes[name]
        try:
            with path.open("rb") as file:
                while piece := file.read(_CHUNK):
                    left -= len(piece)
                    if left < 0:
                        break
                    yield piece
        except OSError as error:
            raise _unreadable(path, error) from error
        if left:
            raise TzmlError(f"{path} changed while it was read", "encrypt it again")


def _chunks(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The bytes of `pieces`, _CHUNK at a time, and the rest."""
    buffer = bytearray()
    for piece in pieces:
        buffer += piece
        while len(buffer) >= _CHUNK:
            yield bytes(buffer[:_CHUNK])
            del buffer[:_CHUNK]
    if buffer:
        yield bytes(buffer)


def _read_head(file: BinaryIO, name: str) -> tuple[bytes, int]:
    """Header and recipients, and the plaintext's size. Raises TzmlError."""
    header = file.read(_HEADER.size)
    if len(header) < _HEADER.size or not header.startswith(MAGIC):
        raise TzmlError(f"{name} is not an encrypted model", "`tzml encrypt` makes one of a model")
    _, version, count, required, chunk, size, reserved = _HEADER.unpack(header)
    if version != _VERSION or required:
        what = f"{name} is an encrypted model of format {version}" + (
            f" that requires {required:#x}" if required else ""
        )
        raise TzmlError(what, f"this version of tzml reads format {_VERSION}")
    minimum = _LENGTH.size + 2
    if not (1 <= count <= MAX_RECIPIENTS and chunk == _CHUNK and minimum <= size <= MAX_SIZE) or any(reserved):
        raise TzmlError(f"{name} is not a valid encrypted model: its header is damaged", "copy it again")
    rows = file.read(count * ROW.size)
    expected = _HEADER.size + count * ROW.size + size + -(-size // _CHUNK) * _TAG
    found = os.fstat(file.fileno()).st_size
    if found != expected:
        raise TzmlError(f"{name} has {found:,} bytes, and should have {expected:,}", "copy it again")
    return header + rows, size


def _opened(file: BinaryIO, name: str, cipher: AESGCM, binding: bytes, size: int) -> Iterator[bytes]:
    for number in range(-(-size // _CHUNK)):
        sealed = file.read(min(_CHUNK, size - number * _CHUNK) + _TAG)
        try:
            yield cipher.decrypt(nonce_of(number), sealed, binding)
        except InvalidTag as error:
            raise _changed(name) from error


class _Plaintext:
    """Bytes that come in chunks, for a reader that wants other sizes."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = memoryview(b"")

    def take(self, size: int) -> Iterator[memoryview]:
        """The next `size` bytes, which must be there, in pieces."""
        while size:
            if not self._rest:
                self._rest = memoryview(next(self._chunks))
            piece, self._rest = self._rest[:size], self._rest[size:]
            size -= len(piece)
            yield piece


def _read_manifest(plaintext: _Plaintext, name: str, size: int) -> tuple[str, dict[str, int]]:
    (length,) = _LENGTH.unpack(b"".join(plaintext.take(_LENGTH.size)))
    if length > min(MAX_MANIFEST, size - _LENGTH.size):
        raise TzmlError(f"{name} is not a valid encrypted model: its list of files has {length:,} bytes")
    try:
        about: dict[str, Any] = json.loads(b"".join(plaintext.take(length)))
        files = [(str(file["name"]), int(file["bytes"])) for file in about["files"]]
        model = str(about["model"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise TzmlError(f"{name} is not a valid encrypted model: its list of files cannot be read") from error
    sizes = dict(files)
    rest = size - _LENGTH.size - length
    if len(sizes) != len(files) or min(sizes.values(), default=0) < 0 or sum(sizes.values()) != rest:
        raise TzmlError(f"{name} is not a valid encrypted model: its list of files does not fit its size")
    _check_manifest(model, sizes, name)
    return model, sizes


def _check_manifest(model: str, files: Iterable[str], what: str) -> None:
    """Raise TzmlError for names that could lead out of a folder, or be no files of one."""
    names = list(files)
    if not 1 <= len(names) <= MAX_FILES:
        raise TzmlError(f"{what}: a model has 1 to {MAX_FILES} files, not {len(names)}")
    for name in (model, *names):
        parts = name.split("/")
        if len(name.encode(errors="replace")) > 1024 or "\0" in name or any(p in ("", ".", "..") for p in parts):
            raise TzmlError(f"{what}: a file of the model has the name {name[:80]!r}", "rename it")
    folders = {str(folder) for name in names for folder in PurePosixPath(name).parents}
    if folders.intersection(names) or model not in folders.union(names):
        raise TzmlError(f"{what}: the files of the model are none, or a file is a folder, too")


def _changed(name: str) -> TzmlError:
    return TzmlError(f"{name} was changed or damaged after it was encrypted", "get it from its owner again")


def _unreadable(path: Path, error: OSError) -> TzmlError:
    return TzmlError(f"cannot read {path}: {error.strerror}", "check the path and its rights")
