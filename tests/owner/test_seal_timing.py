"""`tzml seal` asks before it seals a model whose time of a run may tell of its input."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from bundle_examples import BUNDLE, partition
from click.testing import CliRunner, Result

from tzml.bundle import Bundle, Worlds
from tzml.cli import tzml
from tzml.owner.seal import timing_of

Seal = Callable[..., Result]


def with_notes(about: Any, bundle: Bundle = BUNDLE) -> Bundle:
    return replace(bundle, notes=json.dumps(about).encode())


def telling(*layers: str) -> Bundle:
    """A bundle whose compiler found these layers."""
    return with_notes({"programs": {BUNDLE.program.name: {"timing": list(layers)}}})


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


def test_only_what_runs_in_the_secure_world_counts() -> None:
    parts = partition(Worlds.tee, Worlds.ree)
    inside, outside = (program.name for program in parts.programs)
    about = {"programs": {inside: {"timing": []}, outside: {"timing": ["layer (TopK)"]}}}
    assert timing_of(with_notes(about, parts)) == []
    assert timing_of(with_notes({"programs": {outside: {"timing": []}}}, parts)) is None
