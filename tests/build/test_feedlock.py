"""A locked feed gives the same files however the archive moves, or says which of them are gone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bb
import pytest
from tzmldebian import apt, feedlock, fetch

from .conftest import Says
from .test_apt import LocalArchive, archive, debian, same_fetchers  # noqa: F401 (fixtures)

APP = "apt-binary://app;suite=sid;with=lib*"
OTHER = "apt-binary://other;suite=sid"


@pytest.fixture
def recipe(debian: Any, archive: LocalArchive, tmp_path: Path) -> Callable[..., Any]:  # noqa: F811
    """Make the datastore of a recipe for a machine, in a feed whose lock is in tmp_path."""
    archive.add("other", "2")
    archive.publish()
    fetch.register()

    def make(url: str, name: str = "app", machine: str = "qemu", relock: str = "") -> Any:
        d = debian.createCopy()
        values = {
            "FETCHED_DIR": tmp_path / "fetched" / name, "MACHINE": machine, "MACHINE_ARCH": machine,
            "PACKAGE_ARCH": "arm64", "PN": name, "SRC_URI": url, "TMPDIR": tmp_path / "tmp",
            "TUNE_PKGARCH": "arm64", "TZML_FEED_LOCK": tmp_path / "feed.lock.json", "TZML_FEED_RELOCK": relock,
        }  # fmt: skip
        for variable, value in values.items():
            d.setVar(variable, str(value))
        return d

    return make


def names(d: Any) -> list[str]:
    """What do_fetch brings."""
    fetch.download(d)
    fetch.keep(d)
    feedlock.remember(d)
    [record] = fetch.records(d)
    return sorted(file.name for file in record.files)


def lock(*recipes: Any) -> dict[str, Any]:
    """What make lock-feed does, and the lock's entries by recipe."""
    for d in recipes:
        names(d)
    d.setVar("BB_TASKDEPDATA", {d.getVar("PN"): (d.getVar("PN"), "do_fetch") for d in recipes})
    feedlock.write(d)
    content = json.loads(Path(d.getVar("TZML_FEED_LOCK")).read_text())
    return {entry["recipe"]: entry for entry in content["entries"].values()}


def move(archive: LocalArchive) -> None:  # noqa: F811
    """The archive gets newer versions; its pool has the old ones a while longer."""
    for package, version in (("app", "1.1-1"), ("library", "1:1.3-1"), ("other", "3")):
        archive.add(package, version, depends="library" if package == "app" else "")
    old = [archive.pool / name for name in OLD]
    aside = [path.rename(archive.folder / path.name) for path in old]
    archive.publish()
    for path in aside:
        path.rename(archive.pool / path.name)


OLD = ["app_1.0-1_arm64.deb", "library_1%3a1.2-3_arm64.deb", "other_2_arm64.deb"]
NEW = ["app_1.1-1_arm64.deb", "library_1%3a1.3-1_arm64.deb"]


def forget_downloads(tmp_path: Path) -> None:
    for path in (*tmp_path.glob("downloads/files/*.deb"), *tmp_path.glob("downloads/records/*")):
        path.unlink()
    for path in tmp_path.glob("downloads/apt/*/refreshed"):
        path.unlink()


def test_a_lock_has_what_is_needed_to_fetch_and_to_check(recipe: Any, archive: LocalArchive) -> None:  # noqa: F811
    entries = lock(recipe(APP, relock="add"), recipe(OTHER, "other", relock="add"))
    assert set(entries) == {"app", "other"}
    [app, library] = entries["app"]["files"]
    deb = archive.pool / OLD[0]
    assert app["name"] == OLD[0]
    assert (app["site"], app["path"], app["size"]) == ("main", f"pool/{OLD[0]}", deb.stat().st_size)
    assert apt.is_intact(deb, apt.ArchiveFile(**app))
    assert library["name"] == OLD[1]
    assert str(archive.folder) not in json.dumps(entries)  # any mirror will do


def test_the_next_build_takes_what_is_locked(recipe: Any, archive: LocalArchive, tmp_path: Path) -> None:  # noqa: F811
    lock(recipe(APP, relock="add"), recipe(OTHER, "other", relock="add"))
    move(archive)
    forget_downloads(tmp_path)
    assert names(recipe(APP)) == OLD[:2]
    # without the lock, it would not
    forget_downloads(tmp_path)
    tmp_path.joinpath("feed.lock.json").unlink()
    assert names(recipe(APP)) == NEW


def test_what_was_fetched_before_it_was_locked_is_not_taken(
    recipe: Any,
    archive: LocalArchive,  # noqa: F811
    tmp_path: Path,
) -> None:
    entries = lock(recipe(APP, relock="add"))
    locked = tmp_path.joinpath("feed.lock.json").read_text()
    move(archive)
    forget_downloads(tmp_path)
    tmp_path.joinpath("feed.lock.json").unlink()
    assert names(recipe(APP)) == NEW
    tmp_path.joinpath("feed.lock.json").write_text(locked)
    assert names(recipe(APP)) == [file["name"] for file in entries["app"]["files"]]


def test_all_that_has_vanished_is_listed_at_once(recipe: Any, archive: LocalArchive, tmp_path: Path) -> None:  # noqa: F811
    lock(recipe(APP, relock="add"), recipe(OTHER, "other", relock="add"))
    move(archive)
    for name in OLD[1:]:
        archive.pool.joinpath(name).unlink()
    forget_downloads(tmp_path)
    with pytest.raises(bb.fetch2.FetchError) as error:
        names(recipe(APP))
    assert "2 of 3 files that" in error.value.msg
    assert "library 1:1.2-3 (library_1%3a1.2-3_arm64.deb), other 2 (other_2_arm64.deb)" in error.value.msg
    assert "Set DEBIAN_MIRROR" in error.value.msg
    assert "make lock-feed UPGRADE=--upgrade" in error.value.msg


def test_a_file_that_is_another_than_the_locked_is_not_taken(
    recipe: Any,
    archive: LocalArchive,  # noqa: F811
    tmp_path: Path,
) -> None:
    lock(recipe(OTHER, "other", relock="add"))
    forget_downloads(tmp_path)
    path = archive.pool / "other_2_arm64.deb"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(bb.fetch2.FetchError, match=r"1 of 1 files that .* other 2"):
        names(recipe(OTHER, "other"))


def test_a_recipe_that_changed_has_to_be_locked_again(recipe: Any) -> None:
    lock(recipe(OTHER, "other", relock="add"))
    with pytest.raises(bb.fetch2.FetchError, match=r"does not have this URL.*run make lock-feed, which adds it"):
        names(recipe(APP))
    assert set(lock(recipe(APP, relock="add"), recipe(OTHER, "other", relock="add"))) == {"app", "other"}
    assert names(recipe(APP)) == OLD[:2]


def test_locking_again_keeps_what_is_locked_unless_newer_versions_are_wanted(
    recipe: Any,
    archive: LocalArchive,  # noqa: F811
    tmp_path: Path,
) -> None:
    lock(recipe(APP, relock="add"))
    before = tmp_path.joinpath("feed.lock.json").read_bytes()
    move(archive)
    forget_downloads(tmp_path)
    lock(recipe(APP, relock="add"))
    assert tmp_path.joinpath("feed.lock.json").read_bytes() == before
    forget_downloads(tmp_path)
    lock(recipe(APP, relock="upgrade"))
    assert names(recipe(APP)) == NEW


def test_a_lock_is_for_all_machines_that_were_locked(recipe: Any) -> None:
    lock(recipe(APP, relock="add"), recipe(OTHER, "other", relock="add"))
    entries = lock(recipe(APP, machine="rpi3", relock="add"))
    assert (entries["app"]["machines"], entries["other"]["machines"]) == (["qemu", "rpi3"], ["qemu"])
    # what no machine needs any more is dropped
    entries = lock(recipe(APP, machine="qemu", relock="add"))
    assert {name: entry["machines"] for name, entry in entries.items()} == {"app": ["qemu", "rpi3"]}


def test_a_recipe_is_built_again_only_if_its_own_files_change(recipe: Any, tmp_path: Path) -> None:
    app, other = recipe(APP, relock="add"), recipe(OTHER, "other", relock="add")
    assert feedlock.digest(app) == ""
    lock(app, other)
    before = feedlock.digest(app), feedlock.digest(other)
    path = tmp_path / "feed.lock.json"
    content = json.loads(path.read_text())
    for entry in content["entries"].values():
        if entry["recipe"] == "other":
            entry["files"][0]["sha256"] = "0" * 64
    path.write_text(json.dumps(content))
    assert feedlock.digest(app) == before[0]
    assert feedlock.digest(other) != before[1]


@pytest.mark.parametrize("text", ["{", "[]", '{"format": 2}', '{"format": 1, "entries": {"a": {"files": [{}]}}}'])
def test_a_damaged_lock_is_one_line(recipe: Any, tmp_path: Path, one_error: Says, text: str) -> None:
    tmp_path.joinpath("feed.lock.json").write_text(text)
    with one_error(f"{tmp_path}/feed.lock.json is not a lock of the feed", "make lock-feed"):
        feedlock.read(recipe(APP))
