"""A network with some of its layers in the TEE, and the others in the normal world, gives the bits of the whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from labgrid import Target

from tzml.bundle import Bundle
from tzml.compiler import compile_model
from tzml_lab.inference.answers import ask
from tzml_lab.inference.compiling import options_for
from tzml_lab.inference.known_models import KNOWN, TARGET_FOLDER
from tzml_lab.target import Commands, files_of
from tzml_zoo.digits import ONNX

pytestmark = pytest.mark.lg_feature("python")

FOLDER = "/tmp/parts"
RANGES = (
    "first",
    pytest.param("middle", marks=pytest.mark.full),
    "last",
    pytest.param("3", marks=pytest.mark.full),
)


@pytest.fixture(scope="module", params=RANGES)
def bundle(request: pytest.FixtureRequest, target: Target) -> Bundle:
    """The digits network with these of its layers in the TEE."""
    return compile_model(ONNX, options_for(target, tee=request.param))


def test_it_gives_the_bits_of_the_whole(bundle: Bundle, target: Target, command: Commands, tmp_path: Path) -> None:
    bundle.write(tmp_path / "parts.tzm")
    np.save(tmp_path / "inputs.npy", KNOWN["digits"].samples[0][:20])
    command.run_check(f"mkdir -p {FOLDER}")
    files = files_of(target)
    for name in ("parts.tzm", "inputs.npy"):
        files.put(str(tmp_path / name), f"{FOLDER}/{name}")
    whole = ask(target, f"{TARGET_FOLDER}/digits.tzm", f"{FOLDER}/inputs.npy", "tee", tmp_path, timeout=120)
    parts = ask(target, f"{FOLDER}/parts.tzm", f"{FOLDER}/inputs.npy", "tee", tmp_path, timeout=120)
    assert parts.outputs.tobytes() == whole.outputs.tobytes()
    assert [part["world"] for part in parts.report["programs"]] == [p.worlds.name for p in bundle.programs]
    assert all(part["seconds"] > 0 for part in parts.report["programs"])
    assert parts.report["memory"]["mapped_peak"] == bundle.mapped_memory
    assert parts.report["memory"]["secure_peak"] <= bundle.secure_memory
