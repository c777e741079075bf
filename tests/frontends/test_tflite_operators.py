"""Every TFLite file of one operator is answered as LiteRT answers, or is refused as it is recorded."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT

sys.path.insert(0, str(ROOT / "tests" / "compiler"))

from tflite_cases import all_cases, cases, found_outcome, litert_answers, recorded, recorded_answers


@pytest.fixture(autouse=True)
def needs_litert() -> None:
    pytest.importorskip("ai_edge_litert.interpreter", reason="needs LiteRT: make test-frontends")


def test_the_recorded_answers_are_litert_s() -> None:
    answers = recorded_answers()
    for name, case in cases():
        found = litert_answers(case)
        assert found is not None, name
        for a, b in zip(found, answers[name], strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6, err_msg=name)


@pytest.mark.full
def test_all_operators_are_as_recorded(libtzml: Path) -> None:
    record, other = recorded(), {}
    for name, case in all_cases().items():
        found = found_outcome(case)
        expected = ("refused", record[name]) if name in record else ("right", "")
        if found and (found.verdict, found.why) != expected:
            other[name] = found
    assert not other, "what has changed on purpose is recorded by tests/compiler/tflite_cases.py"
