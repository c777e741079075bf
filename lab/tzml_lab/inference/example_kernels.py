"""The specification's example bundles with kernel libraries that a target runs: tests/c/example_kernels.c."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tzml.bundle import Bundle, Library
from tzml.bundle.identity import digest_uuid
from tzml.signing import SigningKey, sign_library
from tzml_lab.environment import ROOT

_COMPILER = "aarch64-linux-gnu-gcc"
_FLAGS = (
    "-std=gnu11", "-O2", "-fPIC", "-ffreestanding", "-fno-stack-protector", "-shared", "-nostdlib", "-s",
    "-Wl,-Bsymbolic", "-Wl,--build-id=none", "-Wl,--hash-style=sysv", "-Wl,-z,max-page-size=4096",
)  # fmt: skip


def example_library(*, crash: bool = False) -> bytes:
    """The examples' kernels as an ELF shared object, which OP-TEE loads once it is signed, and Linux as it is.

    With `crash`, an input that begins with -1 is the end of the TA's instance.
    """
    flags = (*_FLAGS, "-DEXAMPLE_KERNELS_CRASH") if crash else _FLAGS
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "kernels.so"
        source = ROOT / "tests" / "c" / "example_kernels.c"
        include = ROOT / "runtime" / "include"
        subprocess.run([_COMPILER, *flags, f"-I{include}", source, "-o", path], check=True)
        return path.read_bytes()


def with_libraries(bundle: Bundle, elf: bytes, key: SigningKey, digests: Sequence[bytes]) -> Bundle:
    """The bundle with a library of `elf` for each of `digests`, signed; plans name the digest of their library.

    The first of `digests` is the one that `elf` has.
    """

    def library(digest: bytes) -> Library:
        own = elf.replace(digests[0], digest)
        return Library(sign_library(own, digest_uuid(digest), key), own)

    programs = tuple(replace(p, kernels_digest=digests[p.library]) for p in bundle.programs)
    return replace(bundle, programs=programs, libraries=tuple(map(library, digests)))
