"""The SHA-256 of libtzml that needs no OpenSSL (`make -C host OPENSSL=n`)."""

from __future__ import annotations

import ctypes
import hashlib
import random
import subprocess
from pathlib import Path

import pytest
from conftest import ROOT


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    path = tmp_path_factory.mktemp("digest") / "digest.so"
    sanitizer = ["-fsanitize=undefined", "-fno-sanitize-recover=all"]
    includes = ["-I", str(ROOT / "runtime/include")]
    source = ROOT / "host/digest-own.c"
    subprocess.run(
        ["gcc", "-O2", "-Wall", "-fPIC", "-shared", *sanitizer, *includes, "-o", path, source], check=True
    )
    found = ctypes.CDLL(str(path))
    found.digest_new.restype = ctypes.c_void_p
    for name in ("digest_begin", "digest_add", "digest_end", "digest_of"):
        getattr(found, name).restype = ctypes.c_bool
    found.digest_free.argtypes = found.digest_begin.argtypes = [ctypes.c_void_p]
    found.digest_add.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t]
    found.digest_end.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    found.digest_of.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p]
    return found


def test_every_length_around_the_blocks(library: ctypes.CDLL) -> None:
    data = random.Random(1).randbytes(300)
    for size in range(len(data)):
        result = ctypes.create_string_buffer(32)
        assert library.digest_of(data[:size], size, result)
        assert result.raw == hashlib.sha256(data[:size]).digest(), size


def test_data_in_pieces(library: ctypes.CDLL) -> None:
    numbers = random.Random(2)
    data = numbers.randbytes(1 << 20)
    digest = library.digest_new()
    for most in (7, 64, 65, 4096):
        assert library.digest_begin(digest)  # also anew
        at = 0
        while at < len(data):
            piece = data[at : at + numbers.randint(0, most)]
            assert library.digest_add(digest, piece, len(piece))
            at += len(piece)
        result = ctypes.create_string_buffer(32)
        assert library.digest_end(digest, result)
        assert result.raw == hashlib.sha256(data).digest()
    library.digest_free(digest)


def test_the_library_built_with_it_needs_no_libcrypto(tmp_path: Path) -> None:
    command = ["make", "-s", "-j2", "-C", str(ROOT / "host"), f"O={tmp_path}", "TEE=n", "OPENSSL=n"]
    subprocess.run(command, check=True, capture_output=True)
    needed = subprocess.run(
        ["objdump", "-p", tmp_path / "libtzml.so.1"], check=True, capture_output=True, text=True
    ).stdout
    assert "NEEDED" in needed
    assert "libcrypto" not in needed
