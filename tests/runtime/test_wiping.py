"""What of a sealed model stays in the memory of the program that had it open: nothing."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from bundle_examples import BUNDLE, content, stateful
from cryptography.hazmat.primitives.asymmetric import ec

from tzml.bundle import Bundle, SectionType, Worlds
from tzml.owner.grant import Rights, Terms, make_grant
from tzml.owner.keys import OwnerKey, coordinates
from tzml.owner.seal import seal

SIZE = 32  # bytes of each secret that are searched for
SECRET = {SectionType.plan, SectionType.state, SectionType.weights}


def marked(data: bytes, digest: bytes) -> str:
    """The most telling part of a section. The digest of the library is none: the library has it, too."""
    parts = [data[at : at + SIZE] for at in range(0, len(data) - SIZE + 1, 8)]
    own = [part for part in parts if not any(part[at : at + 8] in digest for at in range(0, SIZE, 8))]
    return max(own, key=lambda part: len(set(part))).hex()


@pytest.mark.parametrize(
    "model", [BUNDLE, stateful((0, 64))], ids=["weights", "weights and state, saved and restored"]
)
def test_memory_is_wiped_at_close_and_at_every_error(c_tests: Path, tmp_path: Path, model: Bundle) -> None:
    numbers = np.random.default_rng(0)
    first, second, third = (numbers.standard_normal(16, np.float32).tobytes() for _ in range(3))
    chunks, pieces = content(first), content(second, third)
    library = replace(BUNDLE.libraries[0], tee=numbers.bytes(100))
    bundle = replace(model, chunks=chunks, pieces=pieces[: len(model.pieces)], libraries=(library,))
    owner, device = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    key = seal(bundle, OwnerKey(owner), tmp_path / "sealed.tzm")
    terms = Terms(serial=1, rights=Rights.save_state)
    grant = make_grant(key, OwnerKey(owner), [coordinates(device.public_key())], terms)
    (tmp_path / "sealed.tzg").write_bytes(grant)
    digest = bundle.program.kernels_digest
    # the run changes the first piece of state
    sections = [
        s for s in bundle.sections()
        if s.type in SECRET and s.worlds & Worlds.tee and (s.type != SectionType.state or s.index)
    ]  # fmt: skip
    assert len(sections) == 2 + len(model.pieces) // 2
    secrets = [key.secret.hex(), *(marked(section.content.tobytes(), digest) for section in sections)]
    private = f"{device.private_numbers().private_value:064x}"
    command: list[str | Path] = [c_tests / "test_wiping", "sealed.tzm", "sealed.tzg", private, *secrets]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    *checks, plan = done.stdout.splitlines() or [""]
    assert done.returncode == 0, done.stdout + done.stderr
    assert plan == f"1..{len(checks)}"
    assert [line for line in checks if not line.startswith("ok ")] == []
