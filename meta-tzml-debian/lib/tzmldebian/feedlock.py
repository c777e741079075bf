# SPDX-License-Identifier: Apache-2.0
"""The lock of the feed: exactly which files a build takes from Debian's archive, which moves (docs/build.md).

TZML_FEED_LOCK names a JSON file. If it exists, fetchers take the files that it lists, with their digests, and
nothing else. do_lock_feed of an image writes it. TZML_FEED_RELOCK is set meanwhile: `add` keeps what is locked
already, `upgrade` takes the newest of everything.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import bb
from bb.fetch2 import FetchData

from . import apt, fetch, tree

FORMAT = 1
Entries = dict[str, dict[str, Any]]


def read(d: Any) -> Entries | None:
    """The entries of the lock, or None if the feed is not locked. Ends with bb.fatal() if the file is damaged."""
    path = Path(d.getVar("TZML_FEED_LOCK") or "")
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text())
        if content["format"] != FORMAT:
            raise ValueError(f"its format is {content['format']}, not {FORMAT}")
        entries: Entries = content["entries"]
        for entry in entries.values():
            files_of(entry)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        bb.fatal(f"{path} is not a lock of the feed ({error}): restore it, or delete it and run make lock-feed")
    return entries


def files_of(entry: dict[str, Any]) -> list[apt.ArchiveFile]:
    return [apt.ArchiveFile(**file) for file in entry["files"]]


def key(ud: FetchData) -> str:
    """The entry of a URL: all on which the result depends, apart from the archive."""
    return Path(ud.localfile).stem


def entry_for(ud: FetchData, d: Any) -> dict[str, Any] | None:
    """What is locked for the URL, or None if the newest is wanted. Raises AptError if it should be locked."""
    entries, relock = read(d), d.getVar("TZML_FEED_RELOCK")
    if entries is None or relock == "upgrade":
        return None
    entry = entries.get(key(ud))
    if entry is None and not relock:
        raise apt.AptError(
            f"{d.getVar('TZML_FEED_LOCK')} does not have this URL, or not with this list of packages, because the "
            "recipe has changed since: run make lock-feed, which adds it"
        )
    return entry


def digest(d: Any) -> str:
    """What is locked for a recipe, for the hash of its do_fetch."""
    entries = read(d)
    if entries is None:
        return ""
    own = [entries.get(key(ud)) for ud in fetch.recorded_urls(d)]
    return hashlib.sha256(json.dumps(own, sort_keys=True).encode()).hexdigest()


def fetch_files(ud: FetchData, d: Any, archive: apt.Archive, to: Path) -> fetch.Record:
    """Fetch what is locked for the URL, and with it all that is locked for this machine.

    Raises AptError with the complete list if the archive no longer has some of it.
    """
    entries = read(d) or {}
    entry = entries[key(ud)]
    machine = d.getVar("MACHINE")
    everything = [
        file
        for other in entries.values()
        if other is entry or machine in other["machines"]
        for file in files_of(other)
    ]
    gone = archive.exactly(everything, to)
    if set(gone) & set(files_of(entry)):
        names = ", ".join(sorted({f"{file.package} {file.version} ({file.name})" for file in gone}))
        raise apt.AptError(
            f"{len(gone)} of {len(everything)} files that {d.getVar('TZML_FEED_LOCK')} lists are no longer in the "
            f"archive: {names}. Set DEBIAN_MIRROR to an archive that keeps old versions, or copy the files to "
            f"{to}, or take newer ones with make lock-feed UPGRADE=--upgrade"
        )
    return fetch.Record(ud.url, files_of(entry), entry["origins"], asdict(archive.mirror))


def remember(d: Any) -> None:
    """After do_fetch: note which records this recipe has, for write()."""
    names = [key(ud) for ud in fetch.recorded_urls(d) if isinstance(ud.method, fetch.AptMethod)]
    path = _notes(d) / d.getVar("PACKAGE_ARCH") / f"{d.getVar('PN')}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    tree.write_atomically(path, json.dumps(names) + "\n")


def _notes(d: Any) -> Path:
    return Path(d.getVar("TMPDIR"), "feed")


def write(d: Any) -> None:
    """do_lock_feed of an image: write what was fetched for it and all that it depends on."""
    path, machine = Path(d.getVar("TZML_FEED_LOCK")), d.getVar("MACHINE")
    if d.getVar("TZML_FEED_RELOCK") not in ("add", "upgrade"):
        bb.fatal("TZML_FEED_RELOCK is neither `add` nor `upgrade`: run make lock-feed, which sets it")
    recipes = {name for name, task, *_ in d.getVar("BB_TASKDEPDATA", False).values() if task == "do_fetch"}
    entries: Entries = {}
    for name, entry in (read(d) or {}).items():
        entry["machines"] = [other for other in entry["machines"] if other != machine]
        entries[name] = entry
    for recipe in sorted(recipes):
        for arch in (d.getVar("MACHINE_ARCH"), d.getVar("TUNE_PKGARCH"), "all"):
            noted = _notes(d) / arch / f"{recipe}.json"
            for name in json.loads(noted.read_text()) if noted.exists() else ():
                record = fetch.Record.read(Path(d.getVar("DL_DIR"), "records", f"{name}.json"))
                machines = {machine, *entries.get(name, {"machines": []})["machines"]}
                entries[name] = _entry(recipe, record, sorted(machines))
    used = {name: entry for name, entry in sorted(entries.items()) if entry["machines"]}
    tree.write_atomically(path, json.dumps({"format": FORMAT, "entries": used}, indent=1) + "\n")
    files = {file["sha256"] for entry in used.values() for file in entry["files"] if machine in entry["machines"]}
    bb.plain(f"{path.resolve()} locks {len(files)} files for {machine}")


def _entry(recipe: str, record: fetch.Record, machines: list[str]) -> dict[str, Any]:
    if unplaced := [file.name for file in record.files if not file.path]:
        bb.fatal(f"{recipe}: {', '.join(unplaced)} came from a mirror that is not the configured one")
    files = sorted(record.files, key=lambda file: (not file.name.endswith(".dsc"), file.name))
    origins = dict(sorted(record.origins.items()))
    return {
        "url": record.url, "recipe": recipe, "machines": machines,
        "files": [asdict(file) for file in files], "origins": origins,
    }  # fmt: skip
