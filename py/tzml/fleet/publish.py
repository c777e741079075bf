"""The owner's side of devices that pull: a repository of The Update Framework, which any web server can serve.

    metadata/N.root.json, N.targets.json, N.snapshot.json, timestamp.json
    targets/MODEL/DIGEST.model.tzm, targets/MODEL/DIGEST.DEVICE.tzg

Three keys sign, each its own roles: `root` says which keys are good, `targets` says what devices install, `online`
says for how long that is the newest. Who has only `online`, as on a host that renews it, installs nothing.
https://theupdateframework.github.io/specification/latest/
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.signer import CryptoSigner
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, MetaFile, Root, Signed, Snapshot, TargetFile, Targets, Timestamp

from tzml.errors import TzmlError
from tzml.files import write_file, write_secret, written
from tzml.fleet.names import bundle_target, grant_target

KEYS = {"root": (Root.type,), "targets": (Targets.type,), "online": (Snapshot.type, Timestamp.type)}


@dataclass(frozen=True)
class Validity:
    """Days after which a device takes no metadata of a role any more."""

    root: int = 365
    targets: int = 365
    online: int = 7


def make_keys(folder: Path) -> None:
    """The three keys, each a file that only its owner reads. Raises TzmlError."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in KEYS:
        path = folder / f"{name}.pem"
        if path.exists():
            raise TzmlError(f"{path} is there already", "use it, or name another --keys")
        pem = Ed25519PrivateKey.generate().private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        write_secret(path, pem)


def _signer(folder: Path, name: str) -> CryptoSigner:
    path = folder / f"{name}.pem"
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), None)
    except OSError as error:
        raise TzmlError(f"cannot read {path}: {error.strerror}", "give the folder that has it as --keys") from error
    except (ValueError, TypeError) as error:
        raise TzmlError(f"{path} is not a private key (PEM)", "give another --keys") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise TzmlError(f"{path} is not an Ed25519 key", "let `tzml fleet publish` make the keys")
    return CryptoSigner(key)


class Repository:
    """The files of a repository, and the keys that sign them."""

    def __init__(self, folder: Path, keys: Path, validity: Validity | None = None) -> None:
        self.metadata, self.targets, self.keys = folder / "metadata", folder / "targets", keys
        self.validity = validity or Validity()

    def begin(self) -> None:
        """Make the keys, unless they are there, and the first root. Raises TzmlError."""
        if not self.keys.exists():
            make_keys(self.keys)
        root = Root(consistent_snapshot=True)
        for name, roles in KEYS.items():
            key = _signer(self.keys, name).public_key
            for role in roles:
                root.add_key(key, role)
        self.metadata.mkdir(parents=True, exist_ok=True)
        self._write(Metadata(root), "root", self.validity.root, f"1.{Root.type}.json")

    def renew_root(self) -> None:
        """Sign the newest root once more, so that it does not expire. Raises TzmlError."""
        newest = self._newest(Root.type)
        root = self._read(f"{newest}.root.json")
        root.signed.version = newest + 1
        self._write(root, "root", self.validity.root, f"{newest + 1}.root.json")

    @property
    def is_there(self) -> bool:
        return (self.metadata / "1.root.json").exists()

    def publish(self, model: str, bundle: Path, grants: Mapping[str, Path]) -> None:
        """Let devices have this bundle and these grants in the place of the model's others. Raises TzmlError."""
        files = {bundle_target(model): bundle}
        files |= {grant_target(model, device): path for device, path in grants.items()}
        targets = self._next(Targets.type, Targets())
        assert isinstance(targets.signed, Targets)
        kept = {name: info for name, info in targets.signed.targets.items() if not name.startswith(f"{model}/")}
        for name, path in files.items():
            kept[name] = TargetFile.from_file(name, str(path), ["sha256"])
            place = self.targets / model / f"{kept[name].hashes['sha256']}.{Path(name).name}"
            place.parent.mkdir(parents=True, exist_ok=True)
            with path.open("rb") as source, written(place) as target:
                shutil.copyfileobj(source, target)
        targets.signed.targets = kept
        self._write(targets, "targets", self.validity.targets, f"{targets.signed.version}.targets.json")
        self.renew()

    def renew(self) -> None:
        """Say that what is published is still the newest. Takes the key `online` alone. Raises TzmlError."""
        snapshot = self._next(Snapshot.type, Snapshot())
        assert isinstance(snapshot.signed, Snapshot)
        snapshot.signed.meta["targets.json"] = MetaFile(self._newest(Targets.type))
        version = snapshot.signed.version
        self._write(snapshot, "online", self.validity.online, f"{version}.snapshot.json")
        path = self.metadata / "timestamp.json"
        timestamp = Metadata(Timestamp(version=self._read(path.name).signed.version + 1 if path.exists() else 1))
        timestamp.signed.snapshot_meta = MetaFile(version)
        # last: before it, devices see what was there before
        self._write(timestamp, "online", self.validity.online, path.name)

    def _newest(self, role: str) -> int:
        """The highest version of a role, 0 if there is none."""
        return max((int(path.name.split(".")[0]) for path in self.metadata.glob(f"*.{role}.json")), default=0)

    def _next(self, role: str, empty: Targets | Snapshot) -> Metadata[Signed]:
        newest = self._newest(role)
        found: Metadata[Signed] = self._read(f"{newest}.{role}.json") if newest else Metadata(empty)
        found.signed.version = newest + 1
        return found

    def _read(self, name: str) -> Metadata[Signed]:
        path = self.metadata / name
        try:
            return Metadata.from_bytes(path.read_bytes())
        except (OSError, RepositoryError) as error:
            raise TzmlError(f"{path} is not metadata of TUF: {error}", "give another --repository") from error

    def _write(self, metadata: Metadata[Signed], key: str, days: int, name: str) -> None:
        metadata.signed.expires = (datetime.now(UTC) + timedelta(days=days)).replace(microsecond=0)
        metadata.sign(_signer(self.keys, key))
        write_file(self.metadata / name, metadata.to_bytes())
