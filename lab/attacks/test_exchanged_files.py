"""Attack: a tee-supplicant that gives OP-TEE other files than those it asks for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from labgrid import Target

from tzml_lab.environment import image_of
from tzml_lab.inference.granted import FOLDER, Granted, enrolled
from tzml_lab.target import Commands
from tzml_lab.time_limits import scaled

pytestmark = pytest.mark.lg_feature("python")

STORAGE = "/var/lib/optee-client/data/tee"
SAVED = f"{FOLDER}.storage"
FILES = "$(ls | grep -x '[0-9a-f]*')"  # those of objects; dirf.db lists them
HALF = "expr $(stat -c %s $f) / 2"

ATTACKS = {
    "exchanged": f"set -- {FILES}; mv $1 x; mv $2 $1; mv x $2",
    "in another order": f"set -- {FILES}; mv $1 x; while [ $2 ]; do mv $2 $1; shift; done; mv x $1",
    "all the same": f"set -- {FILES}; for f; do [ $f = $1 ] || cp $1 $f; done",
    "withheld": f"rm {FILES}",
    "half of each": f"for f in {FILES}; do truncate -s $({HALF}) $f; done",
    "other bytes": f"for f in {FILES}; do head -c $(stat -c %s $f) /dev/urandom > x; mv x $f; done",
}
PART = {"exchanged", "withheld"}  # the others take as long again
REFUSED = {"STORAGE", "NOT_ENROLLED", "GRANT_DEVICE"}


@pytest.fixture(scope="module")
def lab(command: Commands, target: Target, tmp_path_factory: pytest.TempPathFactory) -> Granted:
    """An enrolled device whose sealed network has a budget."""
    if image_of(target.env.config).description.storage_counter != "none":
        pytest.skip("storage that is put back ends such a device: lab/test_rollback.py")
    folder = tmp_path_factory.mktemp("exchanged") / Path(FOLDER).name
    folder.mkdir()
    found = enrolled(command, target, folder)
    found.grant("counted", budget=1000)
    return found


@contextmanager
def attacked(command: Commands, attack: str) -> Iterator[None]:
    """Change the files of OP-TEE's storage, and put them back afterwards."""
    command.run_check(f"rm -rf {SAVED} && cp -a {STORAGE} {SAVED} && cd {STORAGE} && ({attack}) 2>/dev/null; cd /")
    try:
        yield
    finally:
        command.run_check(f"rm -rf {STORAGE}/* && cp -a {SAVED}/* {STORAGE}", timeout=scaled(60))


@pytest.mark.parametrize(
    "attack", [pytest.param(name, marks=[] if name in PART else [pytest.mark.full]) for name in ATTACKS]
)
def test_the_model_is_refused_cleanly_and_answers_when_the_files_are_back(lab: Granted, attack: str) -> None:
    (before,) = lab.do(("sealed", "counted"))
    assert isinstance(before, list)
    with attacked(lab.command, ATTACKS[attack]):
        (answer,) = lab.do(("sealed", "counted"))
        assert answer in REFUSED
    assert lab.do(("sealed", "counted")) == [before]
