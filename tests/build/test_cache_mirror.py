"""A published cache saves downloads, and whoever changes it on the way changes no image."""

from __future__ import annotations

import functools
import http.server
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from tzmldebian import apt, tree
from tzmldebian.cachemirror import CacheMirror

from .conftest import Says

ROOTFS = "0123456789abcdef0123456789abcdef.tar.zst"


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """A cache that was published, and the keys beside it."""
    cache = tmp_path / "cache"
    for name, data in ((f"rootfs/{ROOTFS}", b"root" * 1000), ("downloads/files/x_1%3a2_arm64.deb", b"package")):
        (cache / name).parent.mkdir(parents=True, exist_ok=True)
        (cache / name).write_bytes(data)
    done = publish(tmp_path)
    assert done.returncode == 0, done.stderr
    assert "1 downloads, 1 root file systems" in done.stdout
    return tmp_path / "www"


def publish(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, ROOT / "tools/publish-cache", folder / "www", "--key", folder / "key.pem"]
    return subprocess.run(
        list(map(str, command)), env={**os.environ, "TZML_CACHE": str(folder / "cache")},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.fixture
def address(published: Path) -> Iterator[str]:
    """Where a web server serves it."""
    handler = functools.partial(QuietHandler, directory=str(published))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


@pytest.fixture
def mirror(address: str, published: Path) -> CacheMirror:
    return CacheMirror(address, published.parent / "key.pem.pub")


def file_of(published: Path) -> apt.ArchiveFile:
    path = published / "downloads/files/x_1%3a2_arm64.deb"
    return apt.ArchiveFile(path.name, path.stat().st_size, tree.sha256(path))


def take(mirror: CacheMirror, file: apt.ArchiveFile, to: Path) -> bool:
    return mirror.file(file.name, file.size, file.sha256, to / file.name)


def test_what_was_published_arrives(mirror: CacheMirror, published: Path, tmp_path: Path) -> None:
    file = file_of(published)
    assert take(mirror, file, tmp_path / "to")
    assert apt.is_intact(tmp_path / "to" / file.name, file)
    assert mirror.rootfs(ROOTFS, tmp_path / "rootfs/it")
    assert (tmp_path / "rootfs/it").read_bytes() == b"root" * 1000


def test_what_is_not_there_comes_from_elsewhere(
    mirror: CacheMirror, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert not mirror.file("y_1_arm64.deb", 1, "0" * 64, tmp_path / "y")
    assert not mirror.rootfs("other.tar.zst", tmp_path / "other")
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.mark.parametrize("data", [b"packagf", b"pack", b"package" * 1000])
def test_a_changed_file_is_not_taken(
    mirror: CacheMirror, published: Path, tmp_path: Path, data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    file = file_of(published)
    path = published / "downloads/files" / file.name
    path.unlink()  # it is a link to the cache
    path.write_bytes(data)
    assert not take(mirror, file, tmp_path / "to")
    assert list((tmp_path / "to").iterdir()) == []
    assert "not taken" in caplog.text


def test_a_changed_root_file_system_is_not_taken(mirror: CacheMirror, published: Path, tmp_path: Path) -> None:
    path = published / "rootfs" / ROOTFS
    path.unlink()
    path.write_bytes(b"evil" * 1000)
    assert not mirror.rootfs(ROOTFS, tmp_path / "it")
    assert not (tmp_path / "it").exists()


def test_an_index_that_somebody_else_signed_counts_for_nothing(
    address: str, published: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    index = published / "cache.json"
    index.write_text(index.read_text().replace('"size": 4000', '"size": 4001'))
    assert not CacheMirror(address, published.parent / "key.pem.pub").rootfs(ROOTFS, tmp_path / "it")
    assert "is not signed with" in caplog.text
    (published.parent / "key.pem").unlink()
    assert publish(published.parent).returncode == 0
    other = tmp_path / "first.pub"
    assert not CacheMirror(address, other_key(other)).rootfs(ROOTFS, tmp_path / "it")
    assert not (tmp_path / "it").exists()


def other_key(path: Path) -> Path:
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", f"{path}.key"], check=True)
    subprocess.run(["openssl", "pkey", "-in", f"{path}.key", "-pubout", "-out", path], check=True)
    return path


def test_without_a_key_only_files_with_known_digests_are_taken(
    address: str, published: Path, tmp_path: Path
) -> None:
    mirror = CacheMirror(address)
    assert take(mirror, file_of(published), tmp_path / "to")
    assert not mirror.rootfs(ROOTFS, tmp_path / "it")


def test_a_server_that_is_off_is_asked_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    mirror = CacheMirror("http://127.0.0.1:9/", None)
    for name in ("a", "b"):
        assert not mirror.file(name, 1, "0" * 64, tmp_path / name)
    assert caplog.text.count("cannot be reached") == 1


def test_a_proxy_is_used_unless_it_must_not_be(address: str, published: Path, tmp_path: Path) -> None:
    proxy = {"http_proxy": "http://127.0.0.1:9"}
    assert not take(CacheMirror(address, None, proxy), file_of(published), tmp_path / "to")
    assert take(CacheMirror(address, None, proxy | {"no_proxy": "127.0.0.1"}), file_of(published), tmp_path / "to")


def test_settings_that_make_no_sense_are_refused(address: str, tmp_path: Path, one_error: Says) -> None:
    with one_error("TZML_CACHE_MIRROR", "'/srv/cache'", "http://"):
        CacheMirror("/srv/cache")
    (tmp_path / "key").write_text("no key")
    with one_error("TZML_CACHE_MIRROR_KEY", "no public key"):
        CacheMirror(address, tmp_path / "key").rootfs(ROOTFS, tmp_path / "it")


def test_the_archive_is_asked_only_for_the_rest(
    mirror: CacheMirror, published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there, elsewhere = (
        file_of(published),
        apt.ArchiveFile("y_1_arm64.deb", 1, "0" * 64, "pool/y_1_arm64.deb", "main"),
    )
    asked: list[str] = []
    archive = apt.Archive(
        tmp_path / "state", apt.Mirror("http://archive.invalid", None), ["trixie"], "arm64",
        published=lambda file, to: mirror.file(file.name, file.size, file.sha256, to),
    )  # fmt: skip
    monkeypatch.setattr(archive, "_apt", lambda arguments, **_: asked.extend(arguments))
    assert archive.exactly([there, elsewhere], tmp_path / "to") == [elsewhere]
    assert [word for word in asked if word.endswith(".deb") and "://" in word] == [
        "http://archive.invalid/pool/y_1_arm64.deb"
    ]
    assert apt.is_intact(tmp_path / "to" / there.name, there)


def test_nothing_is_published_of_an_empty_cache(tmp_path: Path) -> None:
    done = publish(tmp_path)
    assert done.returncode == 1
    assert "there is nothing in" in done.stderr
