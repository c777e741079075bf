"""Bundles are written in little memory, and whole or not at all; what no device would take is not written."""

from __future__ import annotations

import subprocess
import sys
import uuid
from dataclasses import replace
from pathlib import Path

import pytest
from bundle_examples import BUNDLE, MEMORY, PROGRAM, content
from conftest import ROOT

from tzml.bundle import Bundle, BundleError, Chunk, Content, Port, derive_model_id
from tzml.errors import TzmlError

# 64 MiB of weights, in chunks of 1 MiB; prints their size and the most memory that writing added, in bytes
WRITE = """
import os, resource, sys
from dataclasses import replace
from pathlib import Path
from bundle_examples import BUNDLE, MEMORY
from tzml.bundle import Chunk, Content, read
part = os.urandom(1 << 20)
count = 64
chunks = tuple(Content((bytearray(part),)) for _ in range(count))
memory = replace(MEMORY, chunks=tuple(Chunk(len(c), 0) for c in chunks), weights_size=1 << 20)
bundle = replace(BUNDLE, memories=(memory,), chunks=chunks)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
bundle.write(Path(sys.argv[1]))
print(count << 20, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10)
assert read(Path(sys.argv[1])) == bundle
"""


def test_writing_takes_little_memory_beside_the_weights(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WRITE, tmp_path / "large.tzm"],
        cwd=ROOT / "tests", capture_output=True, text=True, check=True,
    )  # fmt: skip
    size, added = map(int, done.stdout.split())
    assert added < 0.2 * size


def named(name: str) -> Bundle:
    return replace(BUNDLE, tensors=(replace(BUNDLE.tensors[0], name=name), BUNDLE.tensors[1]))


@pytest.mark.parametrize(
    ("bundle", "status"),
    [
        (replace(BUNDLE, chunks=content(b"")), "PLAN_MALFORMED"),
        (replace(BUNDLE, chunks=()), "PLAN_MALFORMED"),
        (replace(BUNDLE, memories=(replace(MEMORY, arena_size=100),)), "PLAN_MALFORMED"),
        (replace(BUNDLE, programs=(replace(PROGRAM, inputs=(Port(0, 1 << 20),)),)), "PLAN_MALFORMED"),
        (replace(BUNDLE, tensors=BUNDLE.tensors[:1] * 2), "INTERFACE_MALFORMED"),
        (
            replace(BUNDLE, tensors=(replace(BUNDLE.tensors[0], name="a\nb"), BUNDLE.tensors[1])),
            "INTERFACE_MALFORMED",
        ),
        (named("n" * 1025), "LIMIT"),
        (
            replace(
                BUNDLE,
                memories=(replace(MEMORY, chunks=(Chunk(1, 0),) * 1100),),
                chunks=(Content((b"x",)),) * 1100,
            ),
            "LIMIT",
        ),
    ],
)
def test_what_no_device_would_take_is_not_written(tmp_path: Path, bundle: Bundle, status: str) -> None:
    with pytest.raises(BundleError) as caught:
        bundle.write(tmp_path / "out.tzm")
    assert caught.value.status == status
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    (tmp_path / "out.tzm").mkdir()
    with pytest.raises(TzmlError, match=r"cannot write .*out\.tzm: Is a directory"):
        BUNDLE.write(tmp_path / "out.tzm")
    assert [path.name for path in tmp_path.iterdir()] == ["out.tzm"]


def test_an_identity_follows_from_owner_and_name() -> None:
    alice, bob = bytes([1]) * 64, bytes([2]) * 64
    found = derive_model_id(alice, "model")
    assert found == derive_model_id(alice, "model")
    assert len({found, derive_model_id(bob, "model"), derive_model_id(alice, "other"), uuid.UUID(int=0)}) == 4
    assert (found.version, found.variant) == (8, uuid.RFC_4122)
    with pytest.raises(ValueError, match="64 bytes"):
        derive_model_id(b"", "model")
