"""TFLite files of one operator are answered as LiteRT answers, or refused with the operator's name.

Quantized ones are in tests/frontends/test_litert.py.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tflite_cases import cases, litert_answers, outcome, recorded, recorded_answers

CASES = dict(cases())


def check(names: list[str]) -> None:
    """Each is as it is recorded."""
    record, answers = recorded(), recorded_answers()
    found = {name: outcome(CASES[name], answers[name]) for name in names}
    assert found
    other = {n: result for n, result in found.items() if result.verdict != ("refused" if n in record else "right")}
    assert not other, "what has changed on purpose is recorded by tests/compiler/tflite_cases.py"
    assert {n: found[n].why for n in found if n in record} == {n: record[n] for n in found if n in record}


def test_some_operators_are_as_recorded(libtzml: Path) -> None:
    """Those that were answered wrongly, or in TVM's words, and some others."""
    mended = ["GATHER_ND", "RESIZE_NEAREST_NEIGHBOR-3-10", "SCATTER_ND", "ATAN2", "SPACE_TO_BATCH_ND"]
    check([*mended, *list(CASES)[::40]])


@pytest.mark.full
def test_all_operators_are_as_recorded(libtzml: Path) -> None:
    check(list(CASES))


def test_at_least_95_of_100_are_right() -> None:
    assert len(recorded()) <= 0.05 * len(CASES)
    assert recorded().keys() <= CASES.keys() == recorded_answers().keys()


def test_the_recorded_answers_are_litert_s() -> None:
    pytest.importorskip("ai_edge_litert.interpreter", reason="needs LiteRT: make test-frontends")
    answers = recorded_answers()
    for name, case in CASES.items():
        found = litert_answers(case)
        assert found is not None, name
        for a, b in zip(found, answers[name], strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6, err_msg=name)
