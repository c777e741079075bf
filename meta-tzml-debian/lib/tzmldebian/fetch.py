# SPDX-License-Identifier: Apache-2.0
"""Fetchers of the Debian feed. All verify a SHA-256 that is in a signed index or pinned in a recipe.

apt-source://PACKAGE;suite=SUITE[;version=VERSION][;otherwise=SUITE]
    A source package. It unpacks like `dpkg-source -x`, with patches applied, into `source` (or ;subdir=). If the
    first suite does not have it, the newest version in the suite `otherwise` is taken, with a warning.
apt-binary://PACKAGE;suite=SUITE[;version=VERSION][;component=NAME][;with=PATTERN][;onto=SUITE:VARIABLE]
    A binary package for DEB_HOST_ARCH, and those of its dependencies whose names match the shell pattern `with`.
    Its files unpack into `root`. `component` is in addition to main. With `onto`, the package must be installable
    on that other suite, together with the packages that VARIABLE lists, which also come from the package's own
    suite. If it is not, the other suite's version is taken, with a warning.
apt-closure://NAME;suite=SUITE;packages=VARIABLE[;prefer=SUITE:VARIABLE]
    The packages that VARIABLE lists with all their dependencies, for an empty system. `prefer` names packages to
    take from another suite if they fit. The .deb files themselves unpack into `debs`.
pypi-wheel://PROJECT;version=VERSION;python=3.13;platform=TAG;sha256sum=DIGEST
    A wheel for the target, downloaded by pip with the host's configuration. It unpacks into `wheel`.

Debian's archive changes. If VERSION is gone, the newest version is taken, with a warning. Each download is recorded
in a JSON file in DL_DIR next to the files. do_fetch copies both into WORKDIR (see keep()), so DL_DIR may be deleted
at any time.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
import os
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import bb
from bb.fetch2 import FetchData, FetchError, FetchMethod, ParameterError, UnpackError

from . import apt, feedlock, host, tree
from .cachemirror import CacheMirror

# of package lists when the newest versions are wanted: one look for all recipes
UPGRADE_AGE_SECONDS = 600
# files with the certificates of those who may be trusted, the most general first
CERTIFICATES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PIP_CERT", "GIT_SSL_CAINFO")
# kas passes on those that kas/include/debian.yml names
NETWORK_VARIABLES = frozenset(bb.fetch2.FETCH_EXPORT_VARS) - {"HOME", "PATH"} | {
    *CERTIFICATES, "APT_CONFIG", "XDG_CONFIG_HOME",
}  # fmt: skip


@dataclass
class Record:
    """The result of a download: its files, and the origin of each package."""

    url: str
    files: list[apt.ArchiveFile]
    origins: dict[str, str] = field(default_factory=dict)
    mirror: dict[str, str | None] = field(default_factory=dict)

    def write(self, path: Path) -> None:
        tree.write_atomically(path, json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def read(cls, path: Path) -> Record:
        data = json.loads(path.read_text())
        data["files"] = [apt.ArchiveFile(**file) for file in data["files"]]
        return cls(**data)

    def is_complete(self, directory: Path) -> bool:
        return all(apt.is_intact(directory / file.name, file) for file in self.files)


class RecordedMethod(FetchMethod):
    """A fetcher that leaves a record in DL_DIR, with the files next to it."""

    url_type = ""
    required: tuple[str, ...] = ()

    def supports(self, ud: FetchData, d: Any) -> bool:
        return bool(ud.type == self.url_type)

    def supports_checksum(self, ud: FetchData) -> bool:
        return False  # these are BitBake's own checksums; the record has one for each file

    def try_premirror(self, ud: FetchData, d: Any) -> bool:
        return False

    def cleanup_upon_failure(self) -> bool:
        return False

    def urldata_init(self, ud: FetchData, d: Any) -> None:
        for name in self.required:
            if name not in ud.parm:
                raise ParameterError(f"it needs ;{name}=", ud.url)
        digest = hashlib.sha256(self.identity(ud, d).encode()).hexdigest()[:12]
        ud.localfile = f"records/{ud.host}_{digest}.json"
        ud.needdonestamp = False

    def identity(self, ud: FetchData, d: Any) -> str:
        """A text that contains everything on which the record depends."""
        return f"{ud.url} {d.getVar('DEB_HOST_ARCH')}"

    def record_path(self, ud: FetchData, d: Any) -> Path:
        return Path(d.getVar("DL_DIR"), ud.localfile)

    def directory(self, d: Any) -> Path:
        return Path(d.getVar("DL_DIR"), "files")

    def need_update(self, ud: FetchData, d: Any) -> bool:
        path = self.record_path(ud, d)
        try:
            record = Record.read(path)
        except FileNotFoundError:
            return True
        except (ValueError, TypeError, KeyError) as error:
            bb.warn(f"{path} is damaged ({error}): fetching {ud.url} again")
            return True
        for file in record.files:
            if not file.path and isinstance(self, AptMethod):
                return True  # of an earlier version, which did not note it
            if not apt.is_intact(self.directory(d) / file.name, file):
                bb.note(f"{file.name} is missing or has changed: fetching it again")
                return True
        return False

    def download(self, ud: FetchData, d: Any) -> None:
        bb.fetch2.check_network_access(d, f"{self.url_type} {ud.host}", ud.url)
        try:
            record = self.fetch(ud, d)
        except apt.AptError as error:
            raise FetchError(str(error), ud.url) from None
        record.write(self.record_path(ud, d))

    def fetch(self, ud: FetchData, d: Any) -> Record:
        raise NotImplementedError

    def kept(self, ud: FetchData, d: Any) -> tuple[Record, Path]:
        """The record, and the folder in this recipe's WORKDIR that contains its files."""
        directory = Path(d.getVar("FETCHED_DIR"))
        return Record.read(directory / Path(ud.localfile).name), directory


class AptMethod(RecordedMethod):
    """Base class of the fetchers for Debian's archive, which moves, unless the feed is locked."""

    required = ("suite",)

    def need_update(self, ud: FetchData, d: Any) -> bool:
        try:
            entry = feedlock.entry_for(ud, d)
        except apt.AptError as error:
            raise FetchError(str(error), ud.url) from None
        if d.getVar("TZML_FEED_RELOCK") == "upgrade" or super().need_update(ud, d):
            return True
        return entry is not None and set(Record.read(self.record_path(ud, d)).files) != set(
            feedlock.files_of(entry)
        )

    def fetch(self, ud: FetchData, d: Any) -> Record:
        if feedlock.entry_for(ud, d):
            return feedlock.fetch_files(ud, d, self.archive(ud, d), self.directory(d))
        return self.fetch_newest(ud, d)

    def fetch_newest(self, ud: FetchData, d: Any) -> Record:
        """The version that the URL names, or else the newest."""
        raise NotImplementedError

    def archive(
        self,
        ud: FetchData,
        d: Any,
        suites: list[str] | None = None,
        prefer: dict[str, list[str]] | None = None,
    ) -> apt.Archive:
        if main := d.getVar("DEBIAN_MIRROR"):
            mirror = apt.Mirror(main, d.getVar("DEBIAN_SECURITY_MIRROR"))
        else:
            mirror = apt.host_mirror(network_environment(d))
        published = CacheMirror.of(d, network_environment(d))
        archive = apt.Archive(
            Path(d.getVar("DL_DIR"), "apt"),
            mirror,
            suites or [ud.parm["suite"]],
            d.getVar("DEB_HOST_ARCH"),
            prefer,
            network_environment(d),
            ["main", *ud.parm.get("component", "").split()],
            published=published and (lambda file, to: published.file(file.name, file.size, file.sha256, to)),
        )
        if d.getVar("TZML_FEED_RELOCK") == "upgrade":
            archive.lists_age = UPGRADE_AGE_SECONDS
        return archive

    def exact_or_newest(
        self, ud: FetchData, fetch: Callable[[str | None], list[apt.ArchiveFile]]
    ) -> list[apt.ArchiveFile]:
        version = ud.parm.get("version")
        try:
            return fetch(version)
        except apt.AptError as error:
            if version is None:
                raise
            files = fetch(None)
            bb.warn(
                f"{ud.host} {version} is no longer available from Debian ({error}); "
                f"using {files[0].version} of {ud.parm['suite']} instead"
            )
            return files

    def recorded(self, ud: FetchData, archive: apt.Archive, files: list[apt.ArchiveFile]) -> Record:
        origins = {file.package: f"Debian {'/'.join(archive.suites)}" for file in files}
        return Record(ud.url, files, origins, asdict(archive.mirror))


class AptSource(AptMethod):
    url_type = "apt-source"

    def fetch_newest(self, ud: FetchData, d: Any) -> Record:
        archive, to = self.archive(ud, d), self.directory(d)
        try:
            files = self.exact_or_newest(ud, lambda v: archive.source(ud.host, v, to))
        except apt.AptError as error:
            if "otherwise" not in ud.parm:
                raise
            archive = other = self.archive(ud, d, [ud.parm["otherwise"]])
            files = other.source(ud.host, None, to)
            version = next(file.version for file in files if file.name.endswith(".dsc"))
            bb.warn(f"{ud.host} of {ud.parm['suite']} is not available ({error}): using {version}")
        files.sort(key=lambda file: not file.name.endswith(".dsc"))
        return self.recorded(ud, archive, files)

    def unpack(self, ud: FetchData, rootdir: str, d: Any) -> None:
        record, directory = self.kept(ud, d)
        target = Path(rootdir, ud.parm.get("subdir", "source"))
        shutil.rmtree(target, ignore_errors=True)
        # the signed index has the digest of the .dsc, so its own signature need not be checked
        command = ["dpkg-source", "--no-check", "--extract", str(directory / record.files[0].name), str(target)]
        run_unpacker(command, ud)


class AptBinary(AptMethod):
    url_type = "apt-binary"

    def fetch_newest(self, ud: FetchData, d: Any) -> Record:
        archive, to = self.fitting_archive(ud, d), self.directory(d)
        files = self.exact_or_newest(ud, lambda v: archive.binary(ud.host, v, to))
        if pattern := ud.parm.get("with"):
            for name in archive.dependencies(ud.host):
                if fnmatch.fnmatchcase(name, pattern):
                    files += archive.binary(name, None, to)
        return self.recorded(ud, archive, files)

    def fitting_archive(self, ud: FetchData, d: Any) -> apt.Archive:
        if "onto" not in ud.parm:
            return self.archive(ud, d)
        onto, _, variable = ud.parm["onto"].partition(":")
        names = [ud.host, *(d.getVar(variable) or "").split()]
        archive = self.archive(ud, d, [onto, ud.parm["suite"]], {ud.parm["suite"]: names})
        try:
            archive.simulate([ud.host])
        except apt.AptError as error:
            bb.warn(f"{ud.host} of {ud.parm['suite']} does not fit {onto} ({error}): using that of {onto}")
            return self.archive(ud, d, [onto])
        return archive

    def unpack(self, ud: FetchData, rootdir: str, d: Any) -> None:
        record, directory = self.kept(ud, d)
        target = Path(rootdir, ud.parm.get("subdir", "root"))
        target.mkdir(parents=True, exist_ok=True)
        for file in record.files:
            run_unpacker(["dpkg-deb", "--extract", str(directory / file.name), str(target)], ud)


class AptClosure(AptMethod):
    url_type = "apt-closure"
    required = ("suite", "packages")

    def packages(self, ud: FetchData, d: Any) -> list[str]:
        return sorted(set((d.getVar(ud.parm["packages"]) or "").split()))

    def preferred(self, ud: FetchData, d: Any) -> dict[str, list[str]]:
        if "prefer" not in ud.parm:
            return {}
        suite, _, variable = ud.parm["prefer"].partition(":")
        return {suite: sorted((d.getVar(variable) or "").split())}

    def identity(self, ud: FetchData, d: Any) -> str:
        return f"{super().identity(ud, d)} {self.packages(ud, d)} {self.preferred(ud, d)}"

    def fetch_newest(self, ud: FetchData, d: Any) -> Record:
        packages, prefer, to = self.packages(ud, d), self.preferred(ud, d), self.directory(d)
        if not packages:
            raise FetchError(f"{ud.parm['packages']} lists no packages", ud.url)
        archive = self.archive(ud, d, [ud.parm["suite"], *prefer], prefer)
        try:
            files, origins = archive.closure(packages, to)
        except apt.AptError as error:
            if not prefer:
                raise
            suite, names = next(iter(prefer.items()))
            bb.warn(
                f"{' '.join(names)} of {suite} are not available or no longer fit {ud.parm['suite']} ({error}): "
                f"using those of {ud.parm['suite']}, so the versions of xtest and OP-TEE OS may differ"
            )
            archive = self.archive(ud, d)
            files, origins = archive.closure(packages, to)
        return Record(ud.url, files, origins, asdict(archive.mirror))

    def unpack(self, ud: FetchData, rootdir: str, d: Any) -> None:
        record, directory = self.kept(ud, d)
        target = Path(rootdir, ud.parm.get("subdir", "debs"))
        target.mkdir(parents=True, exist_ok=True)
        for file in record.files:
            tree.link_or_copy(directory / file.name, target / file.name)


class PypiWheel(RecordedMethod):
    url_type = "pypi-wheel"
    required = ("version", "python", "platform", "sha256sum")

    def fetch(self, ud: FetchData, d: Any) -> Record:
        directory = self.directory(d) / "pip" / ud.parm["sha256sum"]
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        requirement = directory / "requirement.txt"
        requirement.write_text(f"{ud.host}=={ud.parm['version']} --hash=sha256:{ud.parm['sha256sum']}\n")
        command = [d.getVar("PYTHON_HOST"), "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
        command += ["--implementation=cp", f"--python-version={ud.parm['python']}", f"--dest={directory}"]
        command += [f"--platform={platform}" for platform in ud.parm["platform"].split(",")]
        command += ["--require-hashes", f"--requirement={requirement}"]
        done = subprocess.run(command, env=network_environment(d), text=True, capture_output=True)
        print(done.stdout, flush=True)  # into the task's log
        if done.returncode:
            raise FetchError(f"pip: {done.stderr.strip().splitlines()[-1:]}", ud.url)
        (wheel,) = directory.glob("*.whl")
        file = apt.ArchiveFile(wheel.name, wheel.stat().st_size, ud.parm["sha256sum"])
        wheel.replace(self.directory(d) / wheel.name)
        shutil.rmtree(directory)
        return Record(ud.url, [file], {ud.host: "PyPI"})

    def unpack(self, ud: FetchData, rootdir: str, d: Any) -> None:
        record, directory = self.kept(ud, d)
        with zipfile.ZipFile(directory / record.files[0].name) as wheel:
            wheel.extractall(Path(rootdir, ud.parm.get("subdir", "wheel")))


def network_environment(d: Any) -> dict[str, str]:
    """The environment of a task plus how the caller reaches the network, which the task lacks.

    apt, pip and BitBake's own fetchers understand different variables: each gets what any of them is told.
    """
    original = d.getVar("BB_ORIGENV", False)
    env = dict(os.environ, HOME=d.getVar("HOST_HOME"), LC_ALL="C.UTF-8", PATH=host.SYSTEM_PATH)
    for name in original:
        if name in NETWORK_VARIABLES or name.startswith("PIP_"):
            env[name] = original.getVar(name)
    for name in ("all_proxy", "ftp_proxy", "http_proxy", "https_proxy", "no_proxy"):
        value = env.get(name) or env.get(name.upper())
        if not value and name in ("http_proxy", "https_proxy"):
            value = env.get("all_proxy")
        if value:
            env[name] = env[name.upper()] = value
    certificates = next((env[name] for name in CERTIFICATES if env.get(name)), None)
    if certificates:
        for name in CERTIFICATES:
            env.setdefault(name, certificates)
    return env


def run_unpacker(command: list[str], ud: FetchData) -> None:
    done = subprocess.run(command, text=True, capture_output=True)
    if done.returncode:
        raise UnpackError(f"{command[0]}: {done.stderr.strip()}", ud.url)


def recorded_urls(d: Any) -> list[FetchData]:
    fetcher = bb.fetch2.Fetch([], d) if (d.getVar("SRC_URI") or "").split() else None
    return [ud for ud in fetcher.ud.values() if isinstance(ud.method, RecordedMethod)] if fetcher else []


def download(d: Any) -> None:
    """do_fetch. Our own fetchers have no mirrors to try, so a failure is reported only once."""
    recorded = recorded_urls(d)
    for ud in recorded:
        ud.setup_localpath(d)
        if ud.method.need_update(ud, d):
            ud.method.download(ud, d)
    others = [url for url in (d.getVar("SRC_URI") or "").split() if url not in {ud.url for ud in recorded}]
    if others:
        for name, value in network_environment(d).items():
            if name in NETWORK_VARIABLES:
                d.setVar(name, value)
        bb.fetch2.Fetch(others, d).download()


def keep(d: Any) -> None:
    """After do_fetch: copy the downloads to WORKDIR, so that DL_DIR is no longer needed."""
    kept = Path(d.getVar("FETCHED_DIR"))
    shutil.rmtree(kept, ignore_errors=True)
    for ud in recorded_urls(d):
        kept.mkdir(parents=True, exist_ok=True)
        record_path = ud.method.record_path(ud, d)
        shutil.copy(record_path, kept)
        for file in Record.read(record_path).files:
            tree.link_or_copy(ud.method.directory(d) / file.name, kept / file.name)


def records(d: Any) -> list[Record]:
    """The records of this recipe's URLs, for tasks after do_fetch."""
    return [ud.method.kept(ud, d)[0] for ud in recorded_urls(d)]


def register() -> None:
    for method in (AptBinary(), AptClosure(), AptSource(), PypiWheel()):
        if all(type(known).__name__ != type(method).__name__ for known in bb.fetch2.methods):
            bb.fetch2.methods.append(method)


register()
