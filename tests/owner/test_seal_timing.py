"""`tzml seal` asks before it seals a model whose time of a run may tell of its input."""

from __future__ import annotations

import json
import shutil
import subprocess
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from bundle_examples import BUNDLE, partition
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.asymmetric import rsa

from tzml.bundle import Bundle, Library, Worlds
from tzml.cli import tzml
from tzml.owner.seal import timing_of
from tzml.signing import sign_library

Seal = Callable[..., Result]
CC = "aarch64-linux-gnu-gcc"


def with_notes(about: Any, bundle: Bundle = BUNDLE) -> Bundle:
    return replace(bundle, notes=json.dumps(about).encode())


def telling(*layers: str) -> Bundle:
    """A bundle whose compiler found these layers."""
    return with_notes({"programs": {BUNDLE.program.name: {"timing": list(layers)}}})


def with_code(bundle: Bundle, folder: Path, kernel: str) -> Bundle:
    """The bundle with a library, whose kernel 0 is this one, and whose others only return."""
    call = "cbz w0, 1f\n ldr x0, [x1]\n b other\n 1: ldr x0, [x1]\n b kernel\n"
    text = f".global tzml_kernel_call\nkernel:\n{kernel}\nother: ret\ntzml_kernel_call:\n{call}\n"
    (folder / "library.s").write_text(text)
    subprocess.run([CC, "-shared", "-nostdlib", "library.s", "-o", "library.so"], cwd=folder, check=True)
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    signed = sign_library((folder / "library.so").read_bytes(), uuid.UUID(int=1), key)
    return replace(bundle, libraries=(Library(signed, b"ELF"),))


@pytest.fixture
def seal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Seal:
    monkeypatch.chdir(tmp_path)
    assert CliRunner().invoke(tzml, ("keygen", "-o", "owner.pem")).exit_code == 0

    def seal(bundle: Bundle, *options: str) -> Result:
        bundle.write(Path("model.tzm"))
        return CliRunner().invoke(tzml, ("seal", "model.tzm", "--owner", "owner.pem", *options))

    return seal


def test_a_model_whose_time_tells_nothing_is_sealed(seal: Seal) -> None:
    assert seal(telling()).exit_code == 0


def test_it_is_refused_with_the_layers_that_tell_until_that_is_allowed(seal: Seal) -> None:
    model = telling("sort (TopK)", "boxes\x1b[2J (NonMaxSuppression)", "third (If)", "fourth (If)")
    refused = seal(model)
    assert refused.exit_code
    said = str(refused.exception)
    assert "sort (TopK), boxes\\x1b[2J (NonMaxSuppression), third (If) and 1 more" in said
    assert "--allow-timing" in said
    assert not Path("model.sealed.tzm").exists()
    assert not Path("model.sealed.tzk").exists()
    assert seal(model, "--allow-timing").exit_code == 0


@pytest.mark.parametrize("about", [{}, {"programs": []}, {"programs": {"infer": 3}}, {"programs": {"other": {}}}])
def test_a_bundle_that_does_not_say_is_refused_too(seal: Seal, about: Any) -> None:
    assert timing_of(with_notes(about)) is None
    assert "compile the model again" in str(seal(with_notes(about)).exception)
    assert seal(with_notes(about), "--allow-timing").exit_code == 0


@pytest.mark.skipif(not shutil.which(CC), reason=f"{CC} is not installed")
def test_the_machine_code_decides_whatever_the_notes_say(seal: Seal, tmp_path: Path) -> None:
    """The first kernel of two branches on what it loads, the second one does not."""
    calls = ["0 softmax", "1 relu"]
    about = {"programs": {BUNDLE.program.name: {"timing": [], "calls": calls}}}
    tells = with_code(with_notes(about), tmp_path, "ldr w2, [x0]\n cbz w2, 1f\n nop\n 1: ret")
    refused = str(seal(tells).exception)
    named = [calls[i] for i, call in enumerate(BUNDLE.program.calls) if call.kernel == 0]
    assert f"tells of its input: {named[0]} may take more" in refused
    assert "the code at 0x" in str(seal(replace(tells, notes=telling().notes)).exception)

    suspected = telling("layer (Custom)")
    unknown = with_code(suspected, tmp_path, "sqdmlal v0.4s, v1.4h, v2.4h\n ret")
    said = str(seal(unknown).exception)
    assert "layer (Custom)" in said
    assert "cannot be followed" in said
    assert "layer (Custom)" in str(seal(replace(suspected, libraries=(Library(b"", b"ELF"),))).exception)
    assert seal(with_code(suspected, tmp_path, "ldr w2, [x0]\n str w2, [x0]\n ret")).exit_code == 0


def test_only_what_runs_in_the_secure_world_counts() -> None:
    parts = partition(Worlds.tee, Worlds.ree)
    inside, outside = (program.name for program in parts.programs)
    about = {"programs": {inside: {"timing": []}, outside: {"timing": ["layer (TopK)"]}}}
    assert timing_of(with_notes(about, parts)) == []
    assert timing_of(with_notes({"programs": {outside: {"timing": []}}}, parts)) is None
