"""TFLite files of one operator are answered as LiteRT answers, or refused with the operator's name.

Here are those with a recorded answer. tests/frontends/test_tflite_operators.py asks LiteRT itself about all.
Other quantized ones are in tests/frontends/test_litert.py.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from tflite_cases import all_cases, in_make_test, outcome, recorded, recorded_answers

from tzml.compiler.frontends.tflite.converter import TfliteConverter
from tzml.compiler.frontends.tflite.importer import KNOWN, STATEFUL
from tzml.compiler.frontends.tflite.model import RESOURCES
from tzml.compiler.frontends.tflite.operators import REFUSED

CASES = all_cases()


def check(names: list[str]) -> None:
    """Each is as it is recorded."""
    record, answers = recorded(), recorded_answers()
    found = {n: outcome(CASES[n], answers[n], answers.get(f"{n}@exact")) for n in names if n in answers}
    assert found
    other = {n: result for n, result in found.items() if result.verdict != ("refused" if n in record else "right")}
    assert not other, "what has changed on purpose is recorded by tests/compiler/tflite_cases.py"
    assert {n: found[n].why for n in found if n in record} == {n: record[n] for n in found if n in record}


def test_some_operators_are_as_recorded(libtzml: Path) -> None:
    """Those that were answered wrongly, or in TVM's words, and some others."""
    mended = ["GATHER_ND", "RESIZE_NEAREST_NEIGHBOR-3-10", "SCATTER_ND", "ATAN2", "SPACE_TO_BATCH_ND"]
    check([*mended, *in_make_test()[::20]])


@pytest.mark.full
def test_all_with_a_recorded_answer_are_as_recorded(libtzml: Path) -> None:
    check(in_make_test())


def test_at_least_95_of_100_are_right() -> None:
    assert len(recorded()) <= 0.05 * len(CASES)
    assert recorded().keys() <= CASES.keys()
    assert {name.removesuffix("@exact") for name in recorded_answers()} <= CASES.keys()


# Operators of several graphs, and of sparse weights, which other tests have
ELSEWHERE = {*RESOURCES, *STATEFUL, "IF", "DENSIFY"}


def test_every_operator_that_has_a_converter_has_a_case_or_is_refused() -> None:
    known = set(TfliteConverter(None, None, None, None).convert_map)
    have = {case.operator for case in CASES.values()}
    of_xla = {name for name in known if name.startswith("STABLEHLO_")} - KNOWN
    assert known - have - of_xla - REFUSED.keys() - ELSEWHERE == set()
