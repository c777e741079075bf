"""Random networks answer as ONNX Runtime does, also with hardly any memory.

`make test-full` tries many. TZML_RANDOM_NETWORKS=300 tries that many, and others each time.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from hypothesis import HealthCheck, event, given, note, settings
from hypothesis import strategies as st
from random_networks import networks

from tzml.bundle import Bundle
from tzml.client import World, open_model
from tzml.compiler import CompileOptions, compile_model
from tzml.compiler.ir.errors import CompileError

COUNT = int(os.environ.get("TZML_RANDOM_NETWORKS", "0"))


def answer(bundle: Bundle, path: Path, x: np.ndarray) -> np.ndarray:
    """What the second run says: chunks that share a place are then loaded over others."""
    bundle.write(path)
    with open_model(path, World.ree) as model:
        first = model.run(x).outputs
        [(name, second)] = model.run(x).outputs.items()
        assert (first[name] == second).all()
        assert model.memory().weights == bundle.memory.weights_size
        return second


def tried(count: int) -> settings:
    return settings(
        max_examples=COUNT or count,
        derandomize=not COUNT,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        print_blob=True,
    )


@given(networks(), st.floats(0.3, 1))
@tried(6)
def test_a_network_answers_as_onnx_runtime_does(
    libtzml: Path, tmp_path_factory: pytest.TempPathFactory, network: tuple[bytes, np.ndarray], share: float
) -> None:
    compare(*network, share, tmp_path_factory.mktemp("random"))


@pytest.mark.full
@given(networks(), st.floats(0.3, 1))
@tried(60)
def test_many_networks_answer_as_onnx_runtime_does(
    libtzml: Path, tmp_path_factory: pytest.TempPathFactory, network: tuple[bytes, np.ndarray], share: float
) -> None:
    compare(*network, share, tmp_path_factory.mktemp("random"))


def compare(data: bytes, x: np.ndarray, share: float, folder: Path) -> None:
    (folder / "model.onnx").write_bytes(data)
    [expected] = onnxruntime.InferenceSession(data).run(None, {"x": x})

    resident = compile_model(folder / "model.onnx", CompileOptions("host", secure_memory=1 << 30))
    ours = answer(resident, folder / "resident.tzm", x)
    scale = max(1, np.abs(expected).max())
    np.testing.assert_allclose(ours / scale, expected / scale, rtol=1e-4, atol=1e-5)

    memory = resident.memory
    for part in (share, share / 2, share / 4):
        budget = resident.secure_memory - int(part * (memory.weights_size + memory.arena_size // 3))
        streamed = compile_within(folder / "model.onnx", budget)
        if streamed:
            break
    else:
        event("does not fit")
        return
    assert streamed.secure_memory <= budget
    again = answer(streamed, folder / "s.tzm", x)
    if len(streamed.program.calls) == len(resident.program.calls):
        event("streamed")
        np.testing.assert_array_equal(again, ours)
    else:
        event("split or tiled")
        # strips may round otherwise: docs/memory.md
        np.testing.assert_allclose(again / scale, ours / scale, rtol=1e-4, atol=1e-5)


def compile_within(path: Path, budget: int) -> Bundle | None:
    """The bundle that takes so many bytes of secure memory at most; None if there is none."""
    try:
        return compile_model(path, CompileOptions("host", secure_memory=budget))
    except CompileError as error:
        note(str(error))
        if "bytes of secure memory" in str(error):
            return None
        raise
