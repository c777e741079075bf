"""Model files that packages ship answer as in their own runtimes, also with 8 MiB of memory."""

from __future__ import annotations

from pathlib import Path

import pytest
from wild_zoo import NEAR, WildModel, answers, distance, wild_models

from tzml.errors import TzmlError

MODELS = wild_models()


def test_each_model_is_pinned_by_version_and_hash() -> None:
    assert len(MODELS) >= 25
    for model in MODELS.values():
        registry, _, version = model.package.partition(":")
        assert registry in ("pypi", "npm")
        assert version.partition("==")[2]
        assert len(model.sha256) == 64
        assert model.near <= 20 * NEAR


@pytest.mark.full
@pytest.mark.parametrize("name", [model.name for model in MODELS.values() if not model.refused])
def test_it_answers_as_its_runtime_does(name: str, libtzml: Path, tmp_path: Path) -> None:
    model = needed(MODELS[name])
    bundle = model.compiled()
    given = model.numbers(bundle)
    ours = answers(bundle, given, tmp_path)
    assert distance(ours, model.expected(given)) < model.near
    little = model.compiled(model.memory << 20)
    assert little.secure_memory <= model.memory << 20
    assert distance(answers(little, given, tmp_path), ours) < model.near


@pytest.mark.full
@pytest.mark.parametrize("name", [model.name for model in MODELS.values() if model.refused])
def test_it_is_refused_with_a_reason(name: str) -> None:
    model = needed(MODELS[name])
    with pytest.raises(TzmlError, match=model.refused):
        model.compiled()


def needed(model: WildModel) -> WildModel:
    """The model, if its runtime is there."""
    if model.is_tflite:
        pytest.importorskip("ai_edge_litert", reason="TFLite files are compared where tools/test-frontends runs")
    return model
