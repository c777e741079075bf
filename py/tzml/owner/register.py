"""The owner's list of devices: whose attestation keys are known, and how they became known. docs/sealing.md.

A folder with a file for each attestation key, in JSON, which people can read and version control can keep.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tzml.device import DeviceRecord, Evidence
from tzml.errors import TzmlError
from tzml.files import write_file

_FORMAT = "tzml register 1"


class Recorded(enum.Enum):
    """Where an attestation key was written down."""

    factory = "factory"  # the owner held the device
    field = "field"  # it was sent by whoever has the device


@dataclass(frozen=True)
class Entry:
    """An attestation key: its id, how and when it was recorded, and the devices' keys that were checked with it.

    `devices` has, by the key's id in hexadecimal digits, when its evidence was last checked and what it measured.
    """

    key_id: str
    recorded: Recorded
    since: str
    devices: dict[str, dict[str, str]] = field(default_factory=dict)


class Register:
    """A folder of entries. Raises TzmlError for what cannot be read or written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def entry(self, evidence: Evidence) -> Entry | None:
        """The entry of the evidence's key."""
        path = self._path(evidence.key_id.hex())
        return _read(path) if path.exists() else None

    def record_key(self, evidence: Evidence, recorded: Recorded) -> Entry:
        """Write down a key that is not there, or is there as `field` and now comes from the factory."""
        known = self.entry(evidence)
        if known and (known.recorded == recorded or known.recorded == Recorded.factory):
            return known
        entry = Entry(evidence.key_id.hex(), recorded, _now(), known.devices if known else {})
        self._write(entry)
        return entry

    def record_device(self, entry: Entry, record: DeviceRecord) -> None:
        """Write down that a device's evidence was checked with the key of that entry."""
        assert record.evidence, "which was checked"
        about = {
            "verified": _now(),
            "ta": record.evidence.ta.hash.hex(),
            "core": record.evidence.core.hash.hex(),
        }
        self._write(replace(entry, devices=entry.devices | {record.key_id.hex(): about}))

    def of_device(self, record: DeviceRecord) -> Entry | None:
        """The entry with which this device's key was checked; the better one, if there are several."""
        found = [entry for entry in self._entries() if record.key_id.hex() in entry.devices]
        return min(found, key=lambda entry: entry.recorded != Recorded.factory, default=None)

    def _entries(self) -> Iterator[Entry]:
        if not self.folder.is_dir():
            raise TzmlError(f"there is no register in {self.folder}", "`tzml device verify --register` makes one")
        yield from map(_read, sorted(self.folder.glob("*.json")))

    def _path(self, key_id: str) -> Path:
        return self.folder / f"{key_id}.json"

    def _write(self, entry: Entry) -> None:
        about = {
            "format": _FORMAT,
            "key": entry.key_id,
            "recorded": entry.recorded.value,
            "since": entry.since,
            "devices": entry.devices,
        }
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise TzmlError(f"cannot make the register {self.folder}: {error.strerror}") from error
        write_file(self._path(entry.key_id), json.dumps(about, indent=1) + "\n")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _read(path: Path) -> Entry:
    try:
        about: dict[str, Any] = json.loads(path.read_text())
        if about["format"] != _FORMAT or about["key"] != path.stem:
            raise ValueError(path.stem)
        devices = {str(key): dict(told) for key, told in about["devices"].items()}
        return Entry(path.stem, Recorded(about["recorded"]), str(about["since"]), devices)
    except OSError as error:
        raise TzmlError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise TzmlError(
            f"{path} is not an entry of a register", "restore it, or remove it and verify its devices again"
        ) from error
