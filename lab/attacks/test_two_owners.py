"""Attack: an owner whom the device knows reaches for the model of another, whom it knows as well."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from labgrid import Target

from tzml.owner.seal import seal
from tzml_lab.inference.granted import FOLDER, OWNER, STRANGER, Granted, enrolled
from tzml_lab.target import Commands
from tzml_lab.time_limits import scaled

pytestmark = pytest.mark.lg_feature("python")


@pytest.fixture(scope="module")
def lab(command: Commands, target: Target, tmp_path_factory: pytest.TempPathFactory) -> Granted:
    """A device of OWNER and STRANGER. The bundle `stranger` has the model's id of OWNER's, in a later version."""
    folder = tmp_path_factory.mktemp("owners") / Path(FOLDER).name
    folder.mkdir()
    lab = enrolled(command, target, folder, (OWNER, STRANGER))
    later = replace(lab.clear, model_version=lab.clear.model_version + 5)
    lab.keys["stranger"] = seal(later, STRANGER, folder / "later.tzm")
    lab.put("later.tzm")
    return lab


def test_each_opens_its_own_and_none_the_others(lab: Granted) -> None:
    lab.grant("mine")
    lab.grant("theirs", bundle="stranger", owner=STRANGER, serial=99)
    lab.grant("forged", owner=STRANGER, serial=100)  # by who has the content key, but is not the bundle's owner
    answer, *rest = lab.do(
        ("sealed", "mine"), ("later", "theirs"), ("sealed", "theirs"), ("later", "mine"), ("sealed", "forged"),
        ("sealed", "mine"),
    )  # fmt: skip
    assert isinstance(answer, list)
    # a later version and serial of the same id, but of another owner, make nothing old
    assert rest == [answer, "GRANT_OTHER", "GRANT_OTHER", "GRANT_OTHER", answer]


def test_both_are_open_at_once(lab: Granted) -> None:
    lab.grant("mine")
    lab.grant("theirs", bundle="stranger", owner=STRANGER, serial=99)
    run = f"python3 {FOLDER}/sealed.py"
    # the shell's `wait` alone would not tell that one of them failed
    both = f"({run} sealed.tzm,mine.tzg,40 & {run} later.tzm,theirs.tzg,40 && wait $!)"
    first, second = lab.command.run_check(both, timeout=scaled(240))
    assert first == second
