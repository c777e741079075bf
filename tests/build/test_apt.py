"""What the feed takes from Debian: the real apt on an archive of our own, which moves as Debian's does."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import bb
import pytest
from bb.fetch2 import FetchData, ParameterError
from tzmldebian import apt, fetch, tree


class LocalArchive:
    """A suite of Debian packages in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pool = folder / "pool"
        self.pool.mkdir(parents=True)

    def add(self, package: str, version: str, depends: str = "") -> Path:
        root = self.folder / "build" / f"{package}_{version.replace(':', '%3a')}_arm64"
        control = f"Package: {package}\nVersion: {version}\nArchitecture: arm64\nMaintainer: tests <t@localhost>\n"
        control += f"Depends: {depends}\n" if depends else ""
        for name, text in (("DEBIAN/control", f"{control}Description: of a test\n"), (f"usr/{package}", version)):
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        deb = self.pool / f"{root.name}.deb"
        subprocess.run(["dpkg-deb", "--build", "-Znone", root, deb], check=True, capture_output=True)
        return deb

    def publish(self) -> None:
        scan = ["dpkg-scanpackages", "--multiversion", "pool"]
        packages = subprocess.run(scan, cwd=self.folder, check=True, capture_output=True).stdout
        for suite in ("sid",):
            release = self.folder / "dists" / suite
            index = release / "main/binary-arm64/Packages"
            index.parent.mkdir(parents=True, exist_ok=True)
            index.write_bytes(packages)
            source = release / "main/source/Sources"
            source.parent.mkdir(parents=True, exist_ok=True)
            source.write_text("")
            sums = [
                f" {tree.sha256(path)} {path.stat().st_size} {path.relative_to(release)}"
                for path in (index, source)
            ]
            text = f"Suite: {suite}\nCodename: {suite}\nArchitectures: arm64\nComponents: main\nSHA256:\n"
            release.joinpath("Release").write_text(text + "\n".join(sums) + "\n")


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalArchive:
    # Debian's keyring cannot have signed it
    monkeypatch.setattr(apt, "KEYRING", tmp_path / "no-keyring")
    archive = LocalArchive(tmp_path / "archive")
    archive.add("app", "1.0-1", depends="library (>= 1)")
    archive.add("library", "1:1.2-3")
    archive.publish()
    return archive


@pytest.fixture
def debian(d: Any, archive: LocalArchive, tmp_path: Path) -> Any:
    """A datastore whose Debian is `archive`."""
    d.setVar("DL_DIR", str(tmp_path / "downloads"))
    d.setVar("DEB_HOST_ARCH", "arm64")
    d.setVar("DEBIAN_MIRROR", f"[trusted=yes] copy:{archive.folder}")
    d.setVar("FETCHED_DIR", str(tmp_path / "fetched"))
    d.setVar("HOST_HOME", str(tmp_path))
    d.setVar("BB_ORIGENV", bb.data.init())
    return d


def fetched(d: Any, url: str) -> list[str]:
    """Fetch and keep; the names of the files kept."""
    fetch.register()
    d.setVar("SRC_URI", url)
    fetch.download(d)
    fetch.keep(d)
    (record,) = fetch.records(d)
    kept = Path(d.getVar("FETCHED_DIR"))
    assert record.is_complete(kept)
    return [file.name for file in record.files]


@pytest.fixture(autouse=True)
def same_fetchers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bb.fetch2, "methods", list(bb.fetch2.methods))
    monkeypatch.setattr(bb.fetch2, "urldata_cache", {})


def test_a_package_is_fetched_with_the_dependencies_asked_for(debian: Any) -> None:
    found = fetched(debian, "apt-binary://app;suite=sid;version=1.0-1;with=lib*")
    assert found == ["app_1.0-1_arm64.deb", "library_1%3a1.2-3_arm64.deb"]


def test_a_closure_is_all_a_package_needs(debian: Any) -> None:
    debian.setVar("WANTED", "app")
    found = fetched(debian, "apt-closure://root;suite=sid;packages=WANTED")
    assert sorted(found) == ["app_1.0-1_arm64.deb", "library_1%3a1.2-3_arm64.deb"]


def test_a_version_that_is_gone_is_replaced_by_the_newest_with_a_warning(
    debian: Any, caplog: pytest.LogCaptureFixture
) -> None:
    assert fetched(debian, "apt-binary://app;suite=sid;version=0.9-1") == ["app_1.0-1_arm64.deb"]
    (warning,) = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert warning.startswith("app 0.9-1 is no longer available from Debian")
    assert warning.endswith("using 1.0-1 of sid instead")


def test_an_archive_that_moved_since_the_lists_were_fetched_is_looked_at_again(
    debian: Any, archive: LocalArchive
) -> None:
    assert fetched(debian, "apt-binary://app;suite=sid") == ["app_1.0-1_arm64.deb"]
    archive.pool.joinpath("library_1%3a1.2-3_arm64.deb").unlink()
    archive.add("library", "1:1.3-1")
    archive.publish()
    assert fetched(debian, "apt-binary://library;suite=sid") == ["library_1%3a1.3-1_arm64.deb"]


def test_what_is_downloaded_is_not_fetched_again(debian: Any, archive: LocalArchive) -> None:
    fetched(debian, "apt-binary://app;suite=sid")
    shutil.rmtree(archive.folder)
    assert fetched(debian, "apt-binary://app;suite=sid") == ["app_1.0-1_arm64.deb"]


@pytest.mark.parametrize("damage", ["changed", "truncated", "removed", "record"])
def test_a_damaged_download_is_fetched_again(debian: Any, damage: str, tmp_path: Path) -> None:
    fetched(debian, "apt-binary://app;suite=sid")
    (deb,) = tmp_path.glob("downloads/files/*.deb")
    (record,) = tmp_path.glob("downloads/records/*.json")
    if damage == "removed":
        deb.unlink()
    elif damage == "record":
        record.write_text(record.read_text()[:-20])
    else:
        data = deb.read_bytes()
        deb.unlink()  # fetched/ has the same file by another name
        deb.write_bytes(data[:-1] + (b"" if damage == "truncated" else b"x"))
    fetched(debian, "apt-binary://app;suite=sid")


def test_a_package_that_does_not_exist_is_one_line(debian: Any) -> None:
    with pytest.raises(bb.fetch2.FetchError) as error:
        fetched(debian, "apt-binary://nothing;suite=sid")
    assert "Unable to locate package nothing" in error.value.msg


def test_packages_that_do_not_fit_are_an_error(debian: Any, archive: LocalArchive) -> None:
    archive.add("broken", "1", depends="library (>= 9:1)")
    archive.publish()
    debian.setVar("WANTED", "broken")
    with pytest.raises(bb.fetch2.FetchError, match="broken"):
        fetched(debian, "apt-closure://root;suite=sid;packages=WANTED")


def test_several_packages_are_found_at_once_in_the_order_asked_for(archive: LocalArchive, tmp_path: Path) -> None:
    mirror = apt.Mirror(f"[trusted=yes] copy:{archive.folder}", None)
    found = apt.Archive(tmp_path / "state", mirror, ["sid"], "arm64")
    names = [file.name for file in found.binaries(["library", "app"], tmp_path / "files")]
    assert names == ["library_1%3a1.2-3_arm64.deb", "app_1.0-1_arm64.deb"]
    assert all((tmp_path / "files" / name).exists() for name in names)
    with pytest.raises(apt.AptError, match="nothing-else"):
        found.binaries(["app", "nothing-else"], tmp_path / "files")


def test_an_empty_list_of_packages_names_its_variable(debian: Any) -> None:
    with pytest.raises(bb.fetch2.FetchError, match="WANTED lists no packages"):
        fetched(debian, "apt-closure://root;suite=sid;packages=WANTED")


def test_a_url_without_a_suite_is_refused(debian: Any) -> None:
    fetch.register()
    with pytest.raises(ParameterError, match="suite="):
        FetchData("apt-binary://app", debian)


def test_another_list_of_packages_is_another_record(debian: Any) -> None:
    fetch.register()
    names = set()
    for wanted in ("a b", "a", "b a"):
        debian.setVar("WANTED", wanted)
        names.add(FetchData("apt-closure://root;suite=sid;packages=WANTED", debian).localfile)
    assert len(names) == 2  # order is not a difference


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    file = apt.ArchiveFile("app_1%3a2.0-1_arm64.deb", 3, "0" * 64)
    record = fetch.Record(
        "apt-binary://app;suite=sid", [file], {"app": "Debian sid"}, {"main": "m", "security": None}
    )
    record.write(tmp_path / "record.json")
    assert fetch.Record.read(tmp_path / "record.json") == record
    assert json.loads((tmp_path / "record.json").read_text())["files"][0]["name"] == file.name


@pytest.mark.parametrize(
    ("name", "package", "version"),
    [
        ("optee-os_4.10.0-2.dsc", "optee-os", "4.10.0-2"),
        ("arm-trusted-firmware_2.12.1+dfsg-1.dsc", "arm-trusted-firmware", "2.12.1+dfsg-1"),
        ("libssl3t64_3.5.1-1+deb13u1_arm64.deb", "libssl3t64", "3.5.1-1+deb13u1"),
        ("kmod_1%3a34-2_arm64.deb", "kmod", "1:34-2"),
    ],
)
def test_versions_are_read_from_file_names(name: str, package: str, version: str) -> None:
    file = apt.ArchiveFile(name, 1, "")
    assert (file.package, file.version) == (package, version)


HOST = "Types: deb\nURIs: http://mirror.example/debian\nSuites: bookworm bookworm-updates\nComponents: main\n"
SECURITY = "Types: deb\nURIs: http://mirror.example/security\nSuites: bookworm-security\nComponents: main\n"
OTHER = "Types: deb\nURIs: http://other.example/tool\nSuites: nightly\nComponents: main\n"


def host_sources(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.joinpath("apt.d").mkdir()
    tmp_path.joinpath("apt.d/host.sources").write_text(text)
    conf = f'Dir::Etc::SourceList "/dev/null";\nDir::Etc::SourceParts "{tmp_path}/apt.d";\n'
    tmp_path.joinpath("apt.conf").write_text(conf)
    monkeypatch.setenv("APT_CONFIG", str(tmp_path / "apt.conf"))


def test_the_mirror_is_the_hosts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host_sources(f"{OTHER}\n{HOST}\n{SECURITY}", tmp_path, monkeypatch)
    mirror = apt.host_mirror()
    assert mirror.main.rstrip("/") == "http://mirror.example/debian"
    assert (mirror.security or "").rstrip("/") == "http://mirror.example/security"


def test_a_host_without_debian_is_told_what_to_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host_sources(OTHER, tmp_path, monkeypatch)
    with pytest.raises(apt.AptError, match=r"name no Debian archive \(found: nightly\).*DEBIAN_MIRROR"):
        apt.host_mirror()
