"""A device that fetches its models itself, as one behind NAT has to: bundle and grant from a repository of TUF.

Whoever answers in the repository's place can withhold, and nothing else: python-tuf refuses metadata that the owner
did not sign, that is older than what the device has seen, or that has expired; a file that is not the one that the
metadata names is refused here. The files of a model on a device are those of `tzml fleet rollout`, and `.pull`, in
which the device remembers the metadata.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import http.client
import os
import shlex
import shutil
import subprocess
import time
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tuf.api.exceptions import (
    DownloadError,
    DownloadHTTPError,
    ExpiredMetadataError,
    LengthOrHashMismatchError,
    RepositoryError,
)
from tuf.api.metadata import TargetFile
from tuf.ngclient import FetcherInterface, Updater, UpdaterConfig

from tzml.errors import TzmlError
from tzml.fleet.haproxy import Device
from tzml.fleet.names import bundle_target, grant_target
from tzml.fleet.status import fleet_status

SILENCE = 20.0
"""Seconds without a byte, after which a download is given up."""
METADATA_SECONDS = 120.0
"""For one file of metadata, of some kilobytes."""
SLOWEST = 512
"""Bytes a second of a bundle, below which a download is given up after METADATA_SECONDS, to go on another time."""
_PIECE = 65536
_KEPT = 3  # releases of a model


class Fetcher(FetcherInterface):
    """HTTP without redirections; a server that sends little or nothing is left."""

    def _fetch(self, url: str) -> Iterator[bytes]:
        return self.pieces(url, 0, 0)

    def pieces(self, url: str, begin: int, slowest: float) -> Iterator[bytes]:
        """A file from that byte on, in pieces. Raises DownloadError."""
        parts = urllib.parse.urlsplit(url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        started, received = time.monotonic(), 0
        try:
            with contextlib.closing(kind(parts.netloc, timeout=SILENCE)) as connection:
                connection.request("GET", parts.path, headers={"Range": f"bytes={begin}-"} if begin else {})
                answer = connection.getresponse()
                if answer.status not in (200, 206):
                    raise DownloadHTTPError(f"{url}: HTTP status {answer.status}", answer.status)
                left = begin if answer.status == 200 else 0  # a server without ranges sends what is here already
                while piece := answer.read1(_PIECE):
                    received += len(piece)
                    if time.monotonic() - started > METADATA_SECONDS + (received / slowest if slowest else 0):
                        raise DownloadError(f"{url}: only {received} bytes came in {METADATA_SECONDS:.0f} s")
                    skipped = min(left, len(piece))
                    left -= skipped
                    yield piece[skipped:]
                if answer.length:
                    raise DownloadError(f"{url}: {answer.length} bytes of the answer did not come")
        except (OSError, http.client.HTTPException) as error:
            raise DownloadError(f"{url}: {error or type(error).__name__}") from error


@dataclass(frozen=True)
class Destination:
    """A model on this device, where it is served, and how the server begins anew."""

    model: str
    device: str
    folder: Path
    server: Device
    restart: str
    wait: float = 60


def pull(url: str, root: bytes, place: Destination) -> str:
    """Install what the repository has for this device, and serve it; what became of it. Raises TzmlError.

    Nothing changes unless all of it is there and right. A release whose model does not get ready is not tried
    again, and what was served before is served on.
    """
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise TzmlError(f"{url} is no address of a repository", "give http://HOST/PATH")
    folder = place.folder / place.model
    with _alone(folder):
        fetcher = Fetcher()
        targets = _look(url, root, folder / ".pull", fetcher, place)
        release = hashlib.sha256("".join(info.hashes["sha256"] for info in targets.values()).encode()).hexdigest()[
            :16
        ]
        current, refused = folder / "current", folder / ".pull" / "refused"
        before = current.readlink().name if current.is_symlink() else ""
        if before == release:
            return f"{place.model}: {release} is here"
        if refused.exists() and refused.read_text() == release:
            raise TzmlError(
                f"{place.model}: {release} was installed before, and did not get ready",
                "publish another one, or see the journal of tzml-serve",
            )
        staged = folder / f"{release}.part"
        staged.mkdir(exist_ok=True)
        for name, info in targets.items():
            _download(f"{url.rstrip('/')}/targets", fetcher, info, staged / name)
        _install(folder, staged, release, before)
        why = _serve(place)
        if why:
            refused.write_text(release)
            _switch(folder, before)
            still = _serve(place) if before else ""
            raise TzmlError(
                f"{place.model}: {release} {why}"
                + (
                    f"; and after going back to {before}: {still}"
                    if still
                    else f"; went back to {before or 'none'}"
                ),
                "see the journal of tzml-serve",
            )
        refused.unlink(missing_ok=True)
        return f"{place.model}: {release} is served"


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One of us at a time. Raises TzmlError."""
    try:
        (folder / ".pull").mkdir(parents=True, exist_ok=True)
        with (folder / ".pull" / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
    except BlockingIOError as error:
        raise TzmlError(f"another `tzml fleet pull` works in {folder}", "wait until it has ended") from error
    except OSError as error:
        raise TzmlError(f"cannot work in {folder}: {error.strerror or error}", "check its permissions") from error


def _look(url: str, root: bytes, folder: Path, fetcher: Fetcher, place: Destination) -> dict[str, TargetFile]:
    """What the newest metadata names for this device, by the file's name here. Raises TzmlError."""
    base = url.rstrip("/") + "/metadata"
    try:
        config = UpdaterConfig(max_root_rotations=64, max_delegations=1, targets_max_length=2_000_000)
        updater = Updater(str(folder), base, fetcher=fetcher, config=config, bootstrap=root)
        updater.refresh()
        bundle = updater.get_targetinfo(bundle_target(place.model))
        grant = updater.get_targetinfo(grant_target(place.model, place.device))
    except ExpiredMetadataError as error:
        raise TzmlError(
            f"{url}: the newest metadata has expired ({error}): nobody renewed it, or somebody withholds it",
            "tzml fleet publish --renew; check this device's clock",
        ) from error
    except DownloadError as error:
        raise TzmlError(f"the repository does not answer as one: {error}", "try again later") from error
    except RepositoryError as error:
        raise TzmlError(
            f"{url}: metadata is refused: {error}", "ask the owner; nothing of it was installed"
        ) from error
    if not bundle:
        raise TzmlError(f"{url} has no model {place.model}", "check --model")
    if any("sha256" not in info.hashes for info in (bundle, grant) if info):
        raise TzmlError(f"{url}: a file of {place.model} has no SHA-256", "publish with `tzml fleet publish`")
    return {"model.tzm": bundle} | ({"model.tzg": grant} if grant else {})


def _download(base: str, fetcher: Fetcher, info: TargetFile, path: Path) -> None:
    """Fetch a file, going on where an earlier attempt ended. Raises TzmlError."""
    folder, _, name = info.path.rpartition("/")
    url = f"{base}/{folder}/{info.hashes['sha256']}.{name}"
    # of another file than this one there may be a beginning
    part = path.with_name(f"{info.hashes['sha256']}.part")
    begin = part.stat().st_size if part.exists() else 0
    free = shutil.disk_usage(path.parent).free
    if info.length - begin > free:
        raise TzmlError(f"{path.name} has {info.length} bytes, and {free} are free", "make room in its file system")
    try:
        if begin < info.length:
            with part.open("ab") as file:
                for piece in fetcher.pieces(url, begin, SLOWEST):
                    if file.tell() + len(piece) > info.length:
                        raise LengthOrHashMismatchError(f"more than {info.length} bytes came")
                    file.write(piece)
        with part.open("rb") as file:
            info.verify_length_and_hashes(file)
            os.fsync(file.fileno())
    except DownloadError as error:
        raise TzmlError(f"a download ended early: {error}", "the next `tzml fleet pull` goes on there") from error
    except LengthOrHashMismatchError as error:
        if part.stat().st_size >= info.length:
            part.unlink()  # what is wrong with it is somewhere: begin anew
        raise TzmlError(f"{url} is not the file that the owner published: {error}", "try again") from error
    part.replace(path)


def _sync(folder: Path) -> None:
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _install(folder: Path, staged: Path, release: str, before: str) -> None:
    """Let the link lead to the release, which is whole, in one step."""
    for rest in staged.glob("*.part"):
        rest.unlink()
    _sync(staged)
    if (folder / release).exists():
        shutil.rmtree(folder / release)
    staged.replace(folder / release)
    _switch(folder, release)
    others = [path for path in folder.iterdir() if path.is_dir() and not path.is_symlink() and path.name[0] != "."]
    others = [path for path in others if path.name not in (release, before)]
    for old in sorted(others, key=lambda path: path.stat().st_mtime, reverse=True)[_KEPT - 2 :]:
        shutil.rmtree(old, ignore_errors=True)


def _switch(folder: Path, release: str) -> None:
    """Let the link `current` lead there, or nowhere."""
    if release:
        fresh = folder / "current.new"
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(release)
        fresh.replace(folder / "current")
    else:
        (folder / "current").unlink()
    _sync(folder)


def _serve(place: Destination) -> str:
    """Begin to serve what `current` leads to; what is wrong with it, or ""."""
    done = subprocess.run(shlex.split(place.restart), capture_output=True, text=True, check=False)
    if done.returncode:
        return f"{place.restart} failed: {(done.stderr.strip() or f'exit code {done.returncode}').splitlines()[-1]}"
    deadline, why = time.monotonic() + place.wait, "does not answer"
    while time.monotonic() < deadline:
        (status,) = fleet_status([place.server])
        found = next((model for model in status.models if model.name == place.model), None)
        if found and found.ready:
            return ""
        why = status.fault or ("does not get ready" if found else "is not among the models that tzml-serve has")
        time.sleep(0.2)
    return why
