"""`tzml fleet rollout`: the canary first, and back where a device fails; devices are servers of this host."""

from __future__ import annotations

import json
import re
import stat
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from bundle_examples import BUNDLE, OWNER
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric import ec

from tzml.cli import tzml
from tzml.errors import TzmlError
from tzml.fleet import Device
from tzml.fleet.rollout import MODELS, Member, Release, SshShell, asks, check_release, roll_out
from tzml.owner.grant import Terms, make_grant
from tzml.owner.keys import coordinates
from tzml.owner.seal import ContentKey, seal
from tzml_lab.processes import free_port

from .server import Server, image

REQUEST = json.dumps({"inputs": [image(1.0)]}).encode()
PUBLIC = coordinates(ec.derive_private_key(21, ec.SECP256R1()).public_key())


@dataclass
class LocalShell:
    """A device's shell with a folder for its files; `systemctl restart tzml-serve` starts a server there."""

    root: Path
    port: int
    stack: ExitStack
    server: Server | None = None
    commands: list[str] = field(default_factory=list)

    def run(self, command: str) -> str:
        self.commands.append(command)
        here = command.replace(str(MODELS), str(self.root))
        restarts = "systemctl restart tzml-serve" in here
        here = here.replace("&& systemctl restart tzml-serve", "")
        done = subprocess.run(["sh", "-c", here], capture_output=True, text=True, check=False)
        if done.returncode:
            raise TzmlError(done.stderr)
        if restarts:
            self.restart()
        return done.stdout

    def put(self, local: Path, remote: str) -> None:
        Path(remote.replace(str(MODELS), str(self.root))).write_bytes(local.read_bytes())

    def restart(self) -> None:
        if self.server:
            self.server.process.kill()
            self.server.process.wait()
        try:
            self.server = Server("--port", str(self.port), f"plain={self.root}/plain/current/model.tzm")
        except AssertionError:  # the bundle is refused: as on a device, nothing listens
            self.server = None
            return
        self.stack.callback(self.server.process.wait)
        self.stack.callback(self.server.process.kill)

    @property
    def current(self) -> str:
        return (self.root / "plain" / "current").readlink().name

    def answer(self) -> float:
        assert self.server
        status, answer = self.server.infer("plain", [image(1.0)])
        assert status == 200
        return float(answer["outputs"][0]["data"][0])


@pytest.fixture
def members(tmp_path: Path) -> Iterator[list[Member]]:
    with ExitStack() as stack:
        shells = [LocalShell(tmp_path / f"device{i}", free_port(), stack) for i in range(3)]
        for shell in shells:
            shell.root.mkdir()
        yield [Member(Device(f"d{i}", "127.0.0.1", shell.port), shell) for i, shell in enumerate(shells)]


def shells(members: list[Member]) -> list[LocalShell]:
    return [member.shell for member in members]  # type: ignore[misc]


@pytest.fixture
def releases(models: Path, tmp_path: Path) -> dict[str, Release]:
    """`one` and `two` answer 60 and 120; `broken` cannot be opened."""
    data = (models / "plain.tzm").read_bytes()
    from tzml.bundle import Content, decode

    bundle = decode(data)
    doubled = replace(bundle, chunks=(Content((bytes(_doubled(bundle.chunks[0].tobytes())),)),))
    files = {"one": data, "two": doubled.encode(), "broken": data[:-8]}
    for name, content in files.items():
        (tmp_path / f"{name}.tzm").write_bytes(content)
    return {name: Release(tmp_path / f"{name}.tzm", {}) for name in files}


def _doubled(weights: bytes) -> bytes:
    import numpy as np

    return (np.frombuffer(weights, np.float32) * 2).tobytes()


def states(members: list[Member], release: Release, wait: float = 10, canaries: int = 1) -> list[str]:
    found = roll_out(members, "plain", release, asks("plain", REQUEST), wait=wait, canaries=canaries)
    assert [outcome.device for outcome in found] == [member.device.name for member in members]
    return [outcome.state for outcome in found]


def test_a_release_that_answers_gets_to_all_devices(members: list[Member], releases: dict[str, Release]) -> None:
    assert states(members, releases["one"]) == ["served"] * 3
    assert [shell.answer() for shell in shells(members)] == [60] * 3
    assert states(members, releases["two"]) == ["served"] * 3
    assert [shell.answer() for shell in shells(members)] == [120] * 3
    assert {shell.current for shell in shells(members)} == {releases["two"].name}


def test_a_canary_that_fails_goes_back_and_no_other_device_is_touched(
    members: list[Member], releases: dict[str, Release]
) -> None:
    assert states(members, releases["one"]) == ["served"] * 3
    before = [len(shell.commands) for shell in shells(members)]
    assert states(members, releases["broken"], wait=3) == ["back", "left", "left"]
    assert [shell.answer() for shell in shells(members)] == [60] * 3
    assert {shell.current for shell in shells(members)} == {releases["one"].name}
    assert [len(shell.commands) for shell in shells(members)][1:] == before[1:]


def test_behind_the_canary_a_failure_stops_the_rollout_and_all_devices_answer(
    members: list[Member], releases: dict[str, Release], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert states(members, releases["one"]) == ["served"] * 3
    second = shells(members)[1]
    put = second.put
    monkeypatch.setattr(second, "put", lambda local, remote: put(releases["broken"].bundle, remote))
    assert states(members, releases["two"], wait=3) == ["served", "back", "left"]
    assert [shell.answer() for shell in shells(members)] == [120, 60, 60]


def test_of_several_canaries_all_go_back(members: list[Member], releases: dict[str, Release]) -> None:
    assert states(members, releases["one"]) == ["served"] * 3
    second = shells(members)[1]
    run = second.run

    def refusing(command: str) -> str:
        if "mkdir" in command:
            raise TzmlError("No space left on device")
        return run(command)

    second.run = refusing  # type: ignore[method-assign]
    found = roll_out(members, "plain", releases["two"], asks("plain", REQUEST), wait=5, canaries=2)
    assert [outcome.state for outcome in found] == ["back", "back", "left"]
    assert "No space left" in found[1].why
    assert [shell.answer() for shell in shells(members)] == [60] * 3


def test_a_first_release_that_fails_leaves_nothing_to_go_back_to(
    members: list[Member], releases: dict[str, Release]
) -> None:
    found = roll_out(members[:1], "plain", releases["broken"], asks("plain", REQUEST), wait=2)
    assert found[0].state == "failed"
    assert "nothing to go back to" in found[0].why


def test_old_releases_are_removed_but_not_the_one_to_go_back_to(
    members: list[Member], releases: dict[str, Release], tmp_path: Path
) -> None:
    for number in range(7):
        (tmp_path / f"{number}.tzg").write_bytes(bytes([number]))
        again = replace(releases["one"], grants={"d0": tmp_path / f"{number}.tzg"})  # only the name changes
        assert states(members[:1], again) == ["served"]
    kept = {path.name for path in (shells(members)[0].root / "plain").iterdir()}
    assert "current" in kept
    assert 3 <= len(kept) <= 6


class Studio:
    """Sealed bundles of two versions, and grants for them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.keys: dict[str, ContentKey] = {}
        for name, version in (("old", 3), ("same", 3), ("newer", 4)):
            self.keys[name] = seal(replace(BUNDLE, model_version=version), OWNER, folder / f"{name}.tzm")

    def release(self, name: str, serial: int, grant_of: str = "", device: str = "d0") -> Release:
        path = self.folder / f"{name}-{serial}-{grant_of}.tzg"
        path.write_bytes(make_grant(self.keys[grant_of or name], OWNER, [PUBLIC], Terms(serial=serial)))
        return Release(self.folder / f"{name}.tzm", {device: path})


def test_a_rollout_that_could_not_be_taken_back_is_refused_before_anything_is_touched(tmp_path: Path) -> None:
    studio = Studio(tmp_path)
    old, same = studio.release("old", 9), studio.release("same", 8)
    check_release(same, ["d0"], old)
    check_release(studio.release("newer", 8), ["d0"])
    for release, before, says in (
        (studio.release("newer", 8), old, "has version 4, and .* version 3"),
        (studio.release("same", 10), old, "has serial 9, below 10"),
        (same, replace(old, grants={}), "no grant for d0 to go back to"),
        (replace(same, grants={}), None, "no grant for d0"),
        (studio.release("same", 8, "old"), None, "for another bundle"),
    ):
        with pytest.raises(TzmlError, match=says):
            check_release(release, ["d0"], before)


def test_a_clear_bundle_takes_no_grants(releases: dict[str, Release], tmp_path: Path) -> None:
    check_release(releases["one"], ["d0"])
    with pytest.raises(TzmlError, match="takes no grants"):
        check_release(replace(releases["one"], grants={"d0": tmp_path / "x"}), ["d0"])


def test_ssh_and_scp_are_asked_and_what_they_say_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in (("ssh", 'echo "$@"; case "$*" in *fail*) echo denied >&2; exit 255;; esac'),
                       ("scp", 'echo "$@" > copied')):  # fmt: skip
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.chdir(tmp_path)
    shell = SshShell("root@there")
    assert shell.run("uname -a").endswith("root@there uname -a\n")
    shell.put(tmp_path / "ssh", "/var/x")
    assert (tmp_path / "copied").read_text().endswith(f"{tmp_path}/ssh root@there:/var/x\n")
    with pytest.raises(TzmlError, match="root@there: denied"):
        shell.run("fail")


def test_the_command_names_what_is_wrong(releases: dict[str, Release], tmp_path: Path) -> None:
    bundle = str(releases["one"].bundle)

    def said(*arguments: str) -> str:
        result = CliRunner().invoke(tzml, ["fleet", "rollout", bundle, *arguments])
        assert result.exit_code
        return f"{result.output} {result.exception}"

    assert re.search("Missing option '--model'", said("d=127.0.0.1:1"))
    assert "there is no device x" in said("d=127.0.0.1:1", "--model", "plain", "--ssh", "x=root@y")
    assert "there is no file" in said("d=127.0.0.1:1", "--model", "plain", "--grant", "d=/nowhere")
    assert "--back-grant needs --back" in said("d=127.0.0.1:1", "--model", "m", "--back-grant", f"d={bundle}")
    assert "is not a device" in said("d", "--model", "plain")
