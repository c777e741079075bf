"""Puts a bundle and its grants onto a fleet: one device first, the others after it, and back where one fails.

On a device, each release of a model is a folder of its own; the link `current` says which is served:

    /var/lib/tzml/models/NAME/RELEASE/model.tzm, model.tzg
    /var/lib/tzml/models/NAME/current -> RELEASE

tzml-serve is started with `--grant NAME=…/current/model.tzg NAME=…/current/model.tzm`, and started again when the
link has moved. A device that goes back gets its earlier link.

A TA remembers the newest version of a model and the newest grant that it has seen, and refuses older ones. So a way
back exists only to a bundle of the same version, with a grant whose serial is not below the new one's; this is
checked before anything is touched.
"""

from __future__ import annotations

import hashlib
import http.client
import shlex
import ssl
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

from tzml.bundle import read_public
from tzml.errors import TzmlError
from tzml.fleet.haproxy import Device
from tzml.fleet.status import fleet_status
from tzml.http_client import connect, error_of
from tzml.owner.grant import Grant, read_grant

MODELS = PurePosixPath("/var/lib/tzml/models")
_KEPT = 3  # releases of a model on a device


class DeviceShell(Protocol):
    """Commands and files on a device."""

    def run(self, command: str) -> str:
        """What a command of the POSIX shell prints. Raises TzmlError."""

    def put(self, local: Path, remote: str) -> None:
        """Copy a file there. Raises TzmlError."""


@dataclass(frozen=True)
class SshShell:
    """A device over OpenSSH; `destination` is as ssh takes it, and its keys are known to ssh."""

    destination: str
    options: tuple[str, ...] = ("-o", "BatchMode=yes", "-o", "ConnectTimeout=10")

    def run(self, command: str) -> str:
        return self._call("ssh", *self.options, self.destination, command)

    def put(self, local: Path, remote: str) -> None:
        self._call("scp", "-q", *self.options, str(local), f"{self.destination}:{remote}")

    def _call(self, *command: str) -> str:
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
        except OSError as error:
            raise TzmlError(f"cannot run {command[0]}: {error.strerror}", "install openssh-client") from error
        if done.returncode:
            said = (done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}").splitlines()[-1]
            raise TzmlError(f"{self.destination}: {said}", "check that `ssh DESTINATION` lets you in as root")
        return done.stdout


@dataclass(frozen=True)
class Release:
    """A bundle with the grants of a fleet's devices, by the device's name; a clear bundle has none."""

    bundle: Path
    grants: Mapping[str, Path]

    @property
    def name(self) -> str:
        """What its folder on a device is called: a digest of what is in it."""
        digest = hashlib.sha256(self.bundle.read_bytes())
        for device in sorted(self.grants):
            digest.update(device.encode() + self.grants[device].read_bytes())
        return digest.hexdigest()[:16]


@dataclass(frozen=True)
class Member:
    """A device of the fleet: where it serves, and how files get there."""

    device: Device
    shell: DeviceShell


@dataclass(frozen=True)
class Outcome:
    """What became of a device, and why.

    `served`: the release answers. `back`: it failed, and what was there before answers. `failed`: nothing answers.
    `left`: it was not touched, since another one failed before.
    """

    device: str
    state: str
    why: str = ""


Check = Callable[[Member], str]
"""What is wrong with a device that serves the release; "" if nothing is."""


def asks(model: str, request: bytes, timeout: float = 30, context: ssl.SSLContext | None = None) -> Check:
    """A check that the device answers a request, JSON of the Open Inference Protocol."""

    def check(member: Member) -> str:
        device = member.device
        connection = connect(device.host, device.port, timeout, context, secure=context is not None)
        try:
            connection.request("POST", f"/v2/models/{model}/infer", request)
            response = connection.getresponse()
            answer = response.read()
        except (OSError, http.client.HTTPException) as error:
            return f"the request is not answered: {error}"
        finally:
            connection.close()
        if response.status == 200:
            return ""
        return f"the request is answered with {response.status}: {error_of(answer, 'no error is given')}"

    return check


def check_release(release: Release, devices: Sequence[str], sealed_before: Release | None = None) -> None:
    """Whether the release can be rolled out, and taken back to the one before.

    Raises TzmlError, BundleError.
    """
    public = read_public(release.bundle)
    if not public.sealed:
        if release.grants:
            raise TzmlError(f"{release.bundle} is not sealed, so it takes no grants", "leave out --grant")
        return
    missing = [name for name in devices if name not in release.grants]
    if missing:
        raise TzmlError(f"there is no grant for {missing[0]}", f"give --grant {missing[0]}=FILE (tzml grant)")
    grants = {name: read_grant(release.grants[name].read_bytes()) for name in devices}
    for name, grant in grants.items():
        if grant.bundle_digest != public.table.header.digest:
            raise TzmlError(
                f"the grant for {name} is for another bundle than {release.bundle}",
                "make it with that bundle's .tzk",
            )
    if sealed_before is None:
        return
    before = read_public(sealed_before.bundle).table.header
    if before.model_version < public.table.header.model_version:
        raise TzmlError(
            f"{release.bundle} has version {public.table.header.model_version}, and {sealed_before.bundle} version "
            f"{before.model_version}: a device that has seen the new one refuses the old one",
            "compile both with one --model-version, or roll out without --back",
        )
    _check_serials(grants, sealed_before, devices)


def _check_serials(grants: Mapping[str, Grant], before: Release, devices: Sequence[str]) -> None:
    for name in devices:
        if name not in before.grants:
            raise TzmlError(f"there is no grant for {name} to go back to", f"give --back-grant {name}=FILE")
        old = read_grant(before.grants[name].read_bytes())
        if old.terms.serial < grants[name].terms.serial:
            raise TzmlError(
                f"the grant for {name} to go back to has serial {old.terms.serial}, below "
                f"{grants[name].terms.serial}: a device that has seen the new one refuses it",
                "make it anew, after the new one (tzml grant)",
            )


def roll_out(
    members: Sequence[Member],
    model: str,
    release: Release,
    check: Check,
    before: Release | None = None,
    tell: Callable[[str], None] = lambda _: None,
    wait: float = 60,
    canaries: int = 1,
    context: ssl.SSLContext | None = None,
) -> list[Outcome]:
    """Put the release onto the devices, one after the other; the first `canaries` have to answer before the others.

    Where a device fails, it goes back to `before`, or without that to what its link `current` led to, and so do the
    canaries before it. Behind the canaries the rollout stops: those before it keep the release, which they serve.
    """
    outcomes: list[Outcome] = []
    served: list[tuple[Member, str]] = []
    for number, member in enumerate(members):
        name = member.device.name
        tell(f"{name}: {'canary, ' if number < canaries else ''}{release.bundle.name}")
        previous = ""
        try:
            previous = _current(member, model)
            _install(member, model, release, previous)
            why = _await(member, model, check, wait, context)
        except TzmlError as error:
            why = str(error)
        if not why:
            outcomes.append(Outcome(name, "served"))
            served.append((member, previous))
            continue
        tell(f"{name}: {why}; going back")
        outcomes.append(_go_back(member, model, before, previous, why, wait, context))
        if number < canaries:
            for other, was in served:
                position = next(i for i, outcome in enumerate(outcomes) if outcome.device == other.device.name)
                outcomes[position] = _go_back(other, model, before, was, f"{name} failed", wait, context)
        outcomes += [Outcome(rest.device.name, "left") for rest in members[number + 1 :]]
        break
    return outcomes


def _folder(model: str) -> PurePosixPath:
    return MODELS / model


def _current(member: Member, model: str) -> str:
    """What the link leads to, "" if there is none."""
    return member.shell.run(f"readlink {shlex.quote(str(_folder(model) / 'current'))} || true").strip()


def _install(member: Member, model: str, release: Release, previous: str) -> None:
    """Copy the files, move the link, and start tzml-serve again. `previous` is what the link leads to."""
    shell, folder = member.shell, _folder(model)
    place = folder / release.name
    quoted, staged = shlex.quote(str(place)), shlex.quote(f"{place}.part")
    shell.run(f"rm -rf {staged} && mkdir -p {staged}")
    shell.put(release.bundle, f"{place}.part/model.tzm")
    grant = release.grants.get(member.device.name)
    if grant:
        shell.put(grant, f"{place}.part/model.tzg")
    digest = hashlib.sha256(release.bundle.read_bytes()).hexdigest()
    found = shell.run(f"sha256sum {staged}/model.tzm").split(maxsplit=1)
    if not found or found[0] != digest:
        raise TzmlError(f"{member.device.name}: the bundle that arrived is not the one that was sent", "try again")
    shell.run(f"rm -rf {quoted} && mv {staged} {quoted} && sync")
    _switch(member, model, release.name)
    keep = " ".join(shlex.quote(name) for name in {release.name, previous} if name)
    old = f"ls -t | grep -v -x -e current $(printf ' -e %s' {keep}) | tail -n +{_KEPT} | xargs -r rm -rf"
    shell.run(f"cd {shlex.quote(str(folder))} && {{ {old}; }} || true")


def _switch(member: Member, model: str, release: str) -> None:
    """Let the link lead to a release, in one step, and start the server again."""
    folder = shlex.quote(str(_folder(model)))
    member.shell.run(
        f"cd {folder} && ln -sfn {shlex.quote(release)} current.new && mv -T current.new current && "
        "systemctl restart tzml-serve"
    )


def _await(member: Member, model: str, check: Check, wait: float, context: ssl.SSLContext | None) -> str:
    """What is wrong with the device once its model is ready, or `wait` seconds have passed; "" if nothing is."""
    deadline, why = time.monotonic() + wait, "it does not answer"
    while time.monotonic() < deadline:
        (status,) = fleet_status([member.device], context=context)
        found = next((m for m in status.models if m.name == model), None)
        if found and found.ready:
            return check(member)
        why = status.fault or ("the model is not ready" if found else f"tzml-serve has no model {model}")
        time.sleep(min(0.5, wait / 10))
    return why


def _go_back(
    member: Member, model: str, before: Release | None, previous: str, why: str, wait: float,
    context: ssl.SSLContext | None,
) -> Outcome:  # fmt: skip
    """Let the device serve what it served before."""
    name = member.device.name
    try:
        if before:
            _install(member, model, before, previous)
        elif previous:
            _switch(member, model, previous)
        else:
            return Outcome(name, "failed", f"{why}; there is nothing to go back to")
        still = _await(member, model, lambda _: "", wait, context)
    except TzmlError as error:
        still = str(error)
    return Outcome(name, "failed", f"{why}; and after going back: {still}") if still else Outcome(name, "back", why)
