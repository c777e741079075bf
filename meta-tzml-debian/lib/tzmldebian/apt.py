# SPDX-License-Identifier: Apache-2.0
"""Access to Debian's archive through the host's apt, with an apt state of our own.

The mirror, proxies and keyrings are the host's; only the suite and the architecture differ. The host's own apt
state is not changed.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote

import bb

RELEASES = frozenset({"bookworm", "forky", "oldstable", "sid", "stable", "testing", "trixie", "unstable"})
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
LISTS_AGE_SECONDS = 24 * 3600
HELPER = "/usr/lib/apt/apt-helper"
INSTALL = ("install", "--yes", "--no-install-recommends")

URI_LINE = re.compile(r"^'(?P<uri>[^']+)' (?P<name>\S+) (?P<size>\d+) SHA256:(?P<sha256>[0-9a-f]{64})$")
SIMULATED = re.compile(
    r"^Inst (?P<package>\S+) \((?P<version>\S+) (?P<origin>[^\[)]*?)(?:, [^\[)]*)? \[(?P<arch>\S+)\]\)"
)


class AptError(Exception):
    """apt could not do something; the message says how to fix it."""


@dataclass(frozen=True)
class ArchiveFile:
    """A file of the archive, as its signed index describes it. `size` is in bytes.

    `path` is its place below the mirror's address, of which `site` says which: main or security.
    """

    name: str
    size: int
    sha256: str
    path: str = ""
    site: str = ""

    @property
    def package(self) -> str:
        return self.name.partition("_")[0]

    @property
    def version(self) -> str:
        """The version in the name of a package or .dsc file: name_version[_architecture].suffix."""
        version = unquote(self.name.split("_")[1])
        return version.removesuffix(".dsc").removesuffix(".deb")


@dataclass(frozen=True)
class Mirror:
    """The addresses from which the host takes Debian."""

    main: str
    security: str | None

    def address(self, site: str) -> str | None:
        """Where the site's files are. A mirror may have options before its address, as in sources.list."""
        mirror = self.main if site == "main" else self.security
        return mirror.split()[-1].rstrip("/") if mirror else None

    def place(self, uri: str) -> tuple[str, str]:
        """Site and path of a file's address."""
        for site in ("main", "security"):
            address = self.address(site)
            if address and uri.startswith(f"{address}/"):
                return site, uri.removeprefix(f"{address}/")
        return "", ""


def host_mirror(env: dict[str, str] | None = None) -> Mirror:
    """The Debian archive among the host's apt sources. Needs no package lists. Raises AptError."""
    output = _run(["apt-get", "indextargets", "--no-release-info", "--format", "$(SITE) $(RELEASE)"], env=env)
    sites = {release: site for site, release in (line.split() for line in output.splitlines())}
    main = next((sites[r] for r in sorted(sites) if r in RELEASES), None)
    security = next((sites[r] for r in sorted(sites) if r.removesuffix("-security") in RELEASES - {r}), None)
    if main is None:
        raise AptError(
            "the host's apt sources name no Debian archive (found: "
            f"{', '.join(sorted(sites)) or 'nothing'}): add one, or set DEBIAN_MIRROR in `local_conf_header:` "
            "of the kas manifest"
        )
    return Mirror(main, security)


class Archive:
    """Debian's archive for one architecture and some suites, with an apt state in the folder `state`.

    Instances in several processes may share one state folder: a lock protects what apt cannot share. Methods raise
    AptError.
    """

    def __init__(
        self,
        state: Path,
        mirror: Mirror,
        suites: Sequence[str],
        architecture: str,
        prefer: dict[str, Sequence[str]] | None = None,
        env: dict[str, str] | None = None,
        components: Sequence[str] = ("main",),
        published: Callable[[ArchiveFile, Path], bool] | None = None,
    ) -> None:
        """`prefer` lists, by suite, the packages to take from another suite than the first.

        `published` puts a file to a path if it can, checked, from where it is nearer than in the archive.
        """
        self.mirror = mirror
        self.suites = tuple(suites)
        self.architecture = architecture
        self.env = env
        self.published = published
        self.components = " ".join(components)
        self.lists_age: float = LISTS_AGE_SECONDS
        self.sources = self._sources()
        digest = hashlib.sha256(f"{self.sources}{architecture}".encode()).hexdigest()[:12]
        self._state = state / digest
        self._preferences = self._pins(prefer or {})

    # -- requests ---------------------------------------------------------------------------------------

    def source(self, package: str, version: str | None, to: Path) -> list[ArchiveFile]:
        """Download the .dsc of a source package and the files that it names."""
        wanted = f"{package}={version}" if version else package
        return self._get(["source", "--download-only", "--only-source", wanted], to, to)

    def binary(self, package: str, version: str | None, to: Path) -> list[ArchiveFile]:
        wanted = f"{package}={version}" if version else package
        return self._get(["download", wanted], to, to)

    def binaries(self, packages: Sequence[str], to: Path) -> list[ArchiveFile]:
        """The newest version of each, in the order of `packages`: apt reads its lists only once."""
        found = {file.package: file for file in self._get(["download", *packages], to, to)}
        return [found[package] for package in packages]

    def dependencies(self, package: str) -> list[str]:
        """The names in the Depends field of the package."""
        with self._locked():
            self.refresh(self.lists_age)
            text = self._apt(["show", "--no-all-versions", package], program="apt-cache")
        fields = dict(re.findall(r"^(\S+): (.*)$", text, flags=re.MULTILINE))
        return re.findall(r"(?:^|[,|])\s*([a-z0-9][a-z0-9+.-]+)", fields.get("Depends", ""))

    def closure(self, packages: Sequence[str], to: Path) -> tuple[list[ArchiveFile], dict[str, str]]:
        """Download packages with all their dependencies, for an empty system. Also returns package to origin."""
        origins = self.simulate(packages)
        files = self._get([*INSTALL, "--download-only", *packages], self._state, to)
        return files, origins

    def simulate(self, packages: Sequence[str]) -> dict[str, str]:
        """What apt would install on an empty system: package to origin. Raises AptError if packages conflict."""
        with self._locked():
            self.refresh(self.lists_age)
            output = self._apt([*INSTALL, "--simulate", *packages])
        matches = filter(None, map(SIMULATED.match, output.splitlines()))
        return {match["package"]: match["origin"] for match in matches}

    def exactly(self, files: Sequence[ArchiveFile], to: Path) -> list[ArchiveFile]:
        """Download these files, if they are not there already. Returns those that the archive no longer has.

        Needs no package lists, so it finds whatever is still in the archive's pool.
        """
        to.mkdir(parents=True, exist_ok=True)
        with self._locked():
            missing = [file for file in files if not is_intact(to / file.name, file)]
            wanted: list[str] = []
            for file in self._not_published(missing, to):
                to.joinpath(file.name).unlink(missing_ok=True)
                if address := self.mirror.address(file.site):
                    # the file has a name of apt's, which has a `%` for a colon
                    wanted += [
                        f"{address}/{quote(unquote(file.path))}",
                        str(to / file.name),
                        f"SHA256:{file.sha256}",
                    ]
            if wanted:
                with suppress(AptError):  # which file it was, is seen below
                    self._apt(["download-file", *wanted], program=HELPER)
            for file in missing:  # apt only links to an archive that is a folder
                if (path := to / file.name).is_symlink():
                    source = path.readlink()
                    path.unlink()
                    shutil.copyfile(source, path)
            return [file for file in missing if not is_intact(to / file.name, file)]

    # -- implementation ---------------------------------------------------------------------------------

    def _get(self, arguments: list[str], directory: Path, to: Path) -> list[ArchiveFile]:
        to.mkdir(parents=True, exist_ok=True)
        to.joinpath("partial").mkdir(exist_ok=True)
        with self._locked():
            self.refresh(self.lists_age)
            try:
                return self._get_once(arguments, directory, to)
            except AptError:
                # this happens if the archive has changed since the lists were fetched
                self.refresh(0)
                return self._get_once(arguments, directory, to)

    def _get_once(self, arguments: list[str], directory: Path, to: Path) -> list[ArchiveFile]:
        # apt does not print files that are in its archives folder, so give it an empty one
        empty = ["-o", f"Dir::Cache::archives={self._state / 'archives'}"]
        output = self._apt([*empty, "--print-uris", "-qq", *arguments])
        files = []
        for match in filter(None, map(URI_LINE.match, output.splitlines())):
            site, path = self.mirror.place(match["uri"])
            files.append(ArchiveFile(match["name"], int(match["size"]), match["sha256"], path, site))
        if not files:
            raise AptError(f"apt-get {arguments[0]}: nothing to download")
        missing = self._not_published([file for file in files if not is_intact(to / file.name, file)], to)
        for file in missing:  # apt would resume from a damaged file
            to.joinpath(file.name).unlink(missing_ok=True)
        if missing:
            self._apt(["-o", f"Dir::Cache::archives={to}", *arguments], cwd=directory)
        if broken := [file.name for file in missing if not is_intact(to / file.name, file)]:
            raise AptError(f"apt-get left {', '.join(broken)} incomplete in {to}: run the build again")
        return files

    def _not_published(self, files: list[ArchiveFile], to: Path) -> list[ArchiveFile]:
        """Those of the files that have to come from the archive."""
        published = self.published
        return [file for file in files if not published or not published(file, to / file.name)]

    def refresh(self, age: float) -> None:
        """Fetch the package lists, unless they are younger than `age` seconds."""
        stamp = self._state / "refreshed"
        try:
            if time.time() - stamp.stat().st_mtime < age:
                return
        except FileNotFoundError:
            pass
        try:
            self._apt(["update"])
        except AptError as error:
            if not stamp.exists():
                raise
            bb.warn(f"Debian's package lists could not be refreshed, continuing with older ones: {error}")
            return
        stamp.touch()

    def _apt(self, arguments: Sequence[str], program: str = "apt-get", cwd: Path | None = None) -> str:
        for directory in ("lists/partial", "archives/partial"):
            self._state.joinpath(directory).mkdir(parents=True, exist_ok=True)
        self._state.joinpath("status").touch()
        self._state.joinpath("sources.list").write_text(self.sources)
        preferences = self._state / f"preferences.{os.getpid()}"
        preferences.write_text(self._preferences)
        settings = {
            "Acquire::ForceHash": "SHA256",
            "Acquire::Languages": "none",
            "APT::Architecture": self.architecture,
            "APT::Architectures": self.architecture,
            "APT::Sandbox::User": "root",
            "Debug::NoLocking": "true",  # _locked() locks instead; /var/lib/dpkg must not be needed without root
            "Dir::Cache": str(self._state),
            "Dir::Etc::Preferences": str(preferences),
            "Dir::Etc::PreferencesParts": "/dev/null",
            "Dir::Etc::SourceList": str(self._state / "sources.list"),
            "Dir::Etc::SourceParts": "/dev/null",
            "Dir::State": str(self._state),
            "Dir::State::Status": str(self._state / "status"),
        }
        if certificates := (self.env or {}).get("SSL_CERT_FILE"):  # which apt ignores
            settings["Acquire::https::CaInfo"] = certificates
        options = [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]
        try:
            return _run([program, *options, *arguments], cwd=cwd, env=self.env)
        finally:
            preferences.unlink()

    def _sources(self) -> str:
        options = f" [signed-by={KEYRING}]" if KEYRING.exists() else ""
        lines = []
        for suite in self.suites:
            for kind in ("deb", "deb-src"):
                lines.append(f"{kind}{options} {self.mirror.main} {suite} {self.components}\n")
            if suite == "sid":  # has neither updates nor security
                continue
            lines.append(f"deb{options} {self.mirror.main} {suite}-updates {self.components}\n")
            if self.mirror.security:
                lines.append(f"deb{options} {self.mirror.security} {suite}-security {self.components}\n")
        return "".join(lines)

    def _pins(self, prefer: dict[str, Sequence[str]]) -> str:
        """Suites other than the first provide only the packages that `prefer` names for them."""
        pins = [f"Package: *\nPin: release n={suite}\nPin-Priority: 100\n" for suite in self.suites[1:]]
        pins += [
            f"Package: {' '.join(packages)}\nPin: release n={suite}\nPin-Priority: 990\n"
            for suite, packages in prefer.items()
            if packages
        ]
        return "\n".join(pins)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self._state.mkdir(parents=True, exist_ok=True)
        with self._state.joinpath("tzml.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def is_intact(path: Path, file: ArchiveFile) -> bool:
    try:
        if path.stat().st_size != file.size:
            return False
    except FileNotFoundError:
        return False
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest() == file.sha256


def _run(command: list[str], cwd: Path | None = None, env: dict[str, str] | None = None) -> str:
    try:
        done = subprocess.run(command, cwd=cwd, env=env, text=True, capture_output=True, stdin=subprocess.DEVNULL)
    except FileNotFoundError:
        raise AptError(f"{command[0]} is not installed: this feed needs a Debian host") from None
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.startswith("E:")] or [done.stderr.strip()]
        verb = next((word for word in command[1:] if not word.startswith("-") and "::" not in word), "")
        raise AptError(f"{command[0]} {verb}: {'; '.join(said)}")
    return done.stdout
