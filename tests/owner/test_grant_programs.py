"""Which programs a grant allows: those that infer, those that it names, or all of a model that is to be trained."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from bundle_examples import BUNDLE, PROGRAM, partition
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.asymmetric import ec

from tzml.bundle import Bundle, Role
from tzml.cli import tzml
from tzml.device import DeviceRecord
from tzml.owner.grant import Rights, Terms, read_grant
from tzml.owner.keys import coordinates
from tzml.owner.seal import ContentKey

ROLES = (Role.infer, Role.accumulate, Role.update, Role.evaluate)
TRAINED = replace(
    BUNDLE, programs=tuple(replace(PROGRAM, name=role.name, role=role, entry=i) for i, role in enumerate(ROLES))
)
DEVICE = coordinates(ec.derive_private_key(31, ec.SECP256R1()).public_key())

Grant = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Grant:
    """tzml in a folder with a device's record and an owner's key."""
    monkeypatch.chdir(tmp_path)
    DeviceRecord(DEVICE, bytes(32), (), None).write(Path("device.tzd"))

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(tzml, arguments)

    assert run("keygen", "-o", "owner.pem").exit_code == 0
    return run


@pytest.fixture
def granted(run: Grant) -> Callable[..., Terms | str]:
    """Seal a bundle and grant it: the grant's terms, or what was said instead."""

    def granted(*options: str, bundle: Bundle = TRAINED) -> Terms | str:
        for name in ("model.tzm", "model.sealed.tzk", "model.sealed.tzg"):
            Path(name).unlink(missing_ok=True)
        bundle.write(Path("model.tzm"))
        assert run("seal", "model.tzm", "--owner", "owner.pem", "--allow-timing").exit_code == 0
        done = run("grant", "model.sealed.tzk", "--owner", "owner.pem", "--device", "device.tzd", *options)
        if done.exit_code:
            return str(done.exception) + done.stderr
        return read_grant(Path("model.sealed.tzg").read_bytes()).terms

    return granted


@pytest.mark.parametrize(
    ("options", "programs", "rights"),
    [
        ((), 0b0001, 0),
        (("--train",), 0b1111, Rights.train),
        (("--program", "infer"), 0b0001, 0),
        (("--program", "evaluate"), 0b1000, 0),
        (("--program", "infer", "--program", "evaluate"), 0b1001, 0),
        (("--program", "accumulate"), 0b0010, Rights.train),
        (("--program", "update", "--program", "infer"), 0b0101, Rights.train),
    ],
)
def test_a_grant_allows_what_it_names_and_no_more(
    granted: Callable[..., Terms | str], options: tuple[str, ...], programs: int, rights: int
) -> None:
    terms = granted(*options)
    assert isinstance(terms, Terms)
    assert (terms.programs, terms.rights) == (programs, rights)


def test_the_parts_of_an_entry_point_are_allowed_together(granted: Callable[..., Terms | str]) -> None:
    first, second = partition().programs
    for options in ((), ("--program", first.name), ("--program", second.name)):
        terms = granted(*options, bundle=partition())
        assert isinstance(terms, Terms)
        assert terms.programs == 0b11


def test_a_name_that_the_model_has_not_is_refused_with_those_it_has(granted: Callable[..., Terms | str]) -> None:
    said = granted("--program", "inferr")
    assert "the model has no program 'inferr'" in str(said)
    assert "infer" in str(said).replace("inferr", "")
    assert not Path("model.sealed.tzg").exists()
    assert "either --program or --train" in str(granted("--program", "infer", "--train"))


def test_a_model_that_only_trains_has_no_default(granted: Callable[..., Terms | str]) -> None:
    only = replace(TRAINED, programs=(replace(PROGRAM, role=Role.accumulate),))
    assert "the model has no program that infers" in str(granted(bundle=only))


def test_the_command_says_what_it_allows(run: Grant, granted: Callable[..., Terms | str]) -> None:
    granted()
    done = run("grant", "model.sealed.tzk", "--owner", "owner.pem", "--device", "device.tzd", "--train")
    assert "any number of runs of infer, accumulate, update, evaluate;" in done.stdout


def test_a_key_of_an_earlier_version_names_no_programs(run: Grant, granted: Callable[..., Terms | str]) -> None:
    granted()
    about = json.loads(Path("model.sealed.tzk").read_text())
    del about["programs"]
    Path("model.sealed.tzk").write_text(json.dumps(about))
    assert ContentKey.read(Path("model.sealed.tzk")).programs == ()
    command = ("grant", "model.sealed.tzk", "--owner", "owner.pem", "--device", "device.tzd")
    assert "of all programs" in run(*command).stdout
    assert read_grant(Path("model.sealed.tzg").read_bytes()).terms.programs == 0xFFFF
    assert "seal the model again" in str(run(*command, "--program", "infer").exception)


@pytest.mark.parametrize("programs", [7, [7], [{"name": "infer"}], [{"name": "infer", "role": "x", "entry": 0}]])
def test_a_damaged_key_is_refused(run: Grant, granted: Callable[..., Terms | str], programs: object) -> None:
    granted()
    about = json.loads(Path("model.sealed.tzk").read_text()) | {"programs": programs}
    Path("model.sealed.tzk").write_text(json.dumps(about))
    command = ("grant", "model.sealed.tzk", "--owner", "owner.pem", "--device", "device.tzd")
    assert "is not a content key" in str(run(*command).exception)
