"""Attack: run programs of a sealed model that the grant does not allow, such as those that train it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import bundle_examples
import pytest
from labgrid import Target

from tzml.bundle import Role
from tzml.owner.grant import Rights, programs_of
from tzml.owner.seal import seal
from tzml_lab.environment import image_of
from tzml_lab.inference.example_kernels import example_library, with_libraries
from tzml_lab.inference.granted import FOLDER, OWNER, Granted, enrolled
from tzml_lab.inference.signing_key import signing_key
from tzml_lab.target import Commands
from tzml_lab.time_limits import scaled

pytestmark = pytest.mark.lg_feature("python")

ROLES = (Role.infer, Role.accumulate, Role.update, Role.evaluate)
NAMES = [role.name for role in ROLES]
TWICE = [*NAMES, *NAMES]  # what was refused changes nothing about what follows


@pytest.fixture(scope="module")
def lab(command: Commands, target: Target, tmp_path_factory: pytest.TempPathFactory) -> Granted:
    """An enrolled device, and a sealed model with a program of each role."""
    folder = tmp_path_factory.mktemp("programs") / Path(FOLDER).name
    folder.mkdir()
    (folder / "each_program.py").write_bytes((Path(__file__).parents[1] / "target/each_program.py").read_bytes())
    found = enrolled(command, target, folder)
    signer = signing_key(image_of(target.env.config))
    assert signer
    one = bundle_examples.PROGRAM
    programs = tuple(replace(one, name=role.name, role=role, entry=i) for i, role in enumerate(ROLES))
    model = with_libraries(
        replace(bundle_examples.BUNDLE, programs=programs),
        example_library(),
        signer,
        [bundle_examples.KERNELS_DIGEST],
    )
    found.keys["roles"] = seal(model, OWNER, folder / "roles.tzm")
    found.put("roles.tzm")
    return found


@pytest.mark.parametrize(
    ("named", "rights", "allowed"),
    [
        ([], None, ["infer"]),
        (["evaluate"], None, ["evaluate"]),
        (["accumulate"], None, ["accumulate"]),
        (["infer", "update"], None, ["infer", "update"]),
        # an owner's own grants: the bit of a program is not enough to train, and the right is not either
        (["accumulate", "update"], Rights(0), []),
        (["infer"], Rights.train, ["infer"]),
    ],
)
def test_a_program_runs_only_if_the_grant_allows_it(
    lab: Granted, named: list[str], rights: Rights | None, allowed: list[str]
) -> None:
    programs, needed = programs_of(lab.keys["roles"], named)
    lab.grant("roles", bundle="roles", programs=programs, rights=needed if rights is None else rights)
    files = f"{FOLDER}/roles.tzm {FOLDER}/roles.tzg"
    (line,) = lab.command.run_check(
        f"python3 {FOLDER}/each_program.py {files} {' '.join(TWICE)}", timeout=scaled(120)
    )
    assert json.loads(line) == ["SUCCESS" if name in allowed else "GRANT_PROGRAM" for name in TWICE]
