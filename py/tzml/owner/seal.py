"""Sealing: a clear bundle becomes one whose secure-world sections nobody reads without a grant."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

from tzml.bundle import (
    Bundle,
    BundleError,
    Library,
    Memory,
    Program,
    Role,
    SectionType,
    Worlds,
    container,
    derive_model_id,
)
from tzml.bundle.identity import NO_IDENTITY
from tzml.bundle.protection import AesGcm
from tzml.constant_time import SecretUse, check_library
from tzml.errors import TzmlError
from tzml.files import write_secret, written
from tzml.owner.keys import Signer
from tzml.printable import printable
from tzml.signing import SignedLibrary

_FORMAT = "tzml content key 1"
PUBLIC_METADATA = ("images", "quantization")
"""What a caller needs in order to give inputs and read outputs. Names and labels tell what the model is about."""


@dataclass(frozen=True)
class SealedProgram:
    """A program of a sealed bundle, as grants name it; the role is Role's, the entry point a number."""

    name: str
    role: Role
    entry: int


@dataclass(frozen=True)
class ContentKey:
    """The key of one sealed bundle, which grants carry to devices. Whoever has it reads the model.

    `programs` are the bundle's, by number; none if the key is from before they were written down.
    """

    bundle_digest: bytes
    model_id: bytes
    secret: bytes
    programs: tuple[SealedProgram, ...] = ()

    def write(self, path: Path) -> None:
        """Write a new file that only its owner may read. Raises TzmlError."""
        about = {
            "format": _FORMAT,
            "bundle_digest": self.bundle_digest.hex(),
            "model_id": self.model_id.hex(),
            "secret": self.secret.hex(),
            "programs": [{"name": p.name, "role": p.role.name, "entry": p.entry} for p in self.programs],
        }
        write_secret(path, json.dumps(about, indent=1).encode() + b"\n")

    @staticmethod
    def read(path: Path) -> ContentKey:
        """Read what `write` wrote. Raises TzmlError."""
        remedy = "give the .tzk file that `tzml seal` wrote beside the bundle"
        try:
            about = json.loads(path.read_text())
            if about["format"] != _FORMAT:
                raise ValueError(about["format"])
            fields = [bytes.fromhex(about[name]) for name in ("bundle_digest", "model_id", "secret")]
            programs = tuple(
                SealedProgram(str(p["name"]), Role[p["role"]], int(p["entry"])) for p in about.get("programs", ())
            )
        except OSError as error:
            raise TzmlError(f"cannot read the content key {path}: {error.strerror}", remedy) from error
        except (ValueError, KeyError, TypeError) as error:
            raise TzmlError(f"{path} is not a content key", remedy) from error
        if list(map(len, fields)) != [32, 16, 32]:
            raise TzmlError(f"{path} is not a content key: a field has the wrong size", remedy)
        return ContentKey(fields[0], fields[1], fields[2], programs)


def seal(bundle: Bundle, owner: Signer, path: Path, public_labels: bool = False) -> ContentKey:
    """Write a clear bundle sealed, and signed by its owner, to `path`. Raises TzmlError, BundleError."""
    with written(path) as file:
        return seal_into(file, bundle, owner, public_labels)


def seal_into(file: BinaryIO, bundle: Bundle, owner: Signer, public_labels: bool = False) -> ContentKey:
    """Write a clear bundle sealed, and signed by its owner. Raises TzmlError, BundleError.

    Programs that could run in either world run only in the secure one then, since the normal world does not get
    their kernels, plans and weights. The interface and the parts of the normal world stay clear. The content key is
    made here and seals nothing else.
    """
    bundle = with_identity(for_tee(bundle), owner)
    bundle = replace(bundle, metadata=_public(bundle.metadata, public_labels), notes=_private(bundle))
    bundle.check()
    secret = secrets.token_bytes(32)
    sections = [
        replace(section, protection=AesGcm(secret))
        if section.worlds == Worlds.tee or section.type == SectionType.notes
        else section
        for section in bundle.sections()
    ]
    header = replace(bundle.header(), owner=owner.public)
    digest = container.write(file, header, sections, owner.sign)
    programs = tuple(SealedProgram(p.name, p.role, p.entry) for p in bundle.programs)
    return ContentKey(digest, bundle.model_id.bytes, secret, programs)


def timing_of(bundle: Bundle) -> list[str] | None:
    """The layers in the secure world whose time tells of their numbers; None if the bundle does not say.

    Compilers write it into the notes; who writes a bundle without one has to know.
    """
    about = json.loads(bundle.notes or b"{}").get("programs")
    found: dict[str, None] = {}
    for program in bundle.programs:
        if Worlds.tee not in program.worlds:
            continue
        said = about.get(program.name) if isinstance(about, dict) else None
        layers = said.get("timing") if isinstance(said, dict) else None
        if not isinstance(layers, list):
            return None
        found |= dict.fromkeys(map(str, layers))
    return list(found)


def check_timing(bundle: Bundle) -> None:
    """Raise TzmlError if the time of a run in the secure world tells of its input, or may do so.

    The machine code decides: it is followed for all inputs. Where it cannot be, as where binutils are missing, it
    counts what the compiler says of the layers.
    """
    layers = timing_of(bundle)
    remedy = "or accept that with --allow-timing"
    why_not = ""
    try:
        layers = _layers_that_branch(bundle)
    except TzmlError as error:
        why_not = f" ({error})"
    if layers is None:
        raise TzmlError(
            f"the bundle does not say whether the time of a run tells of its input{why_not}",
            f"compile the model again with this version, {remedy}",
        )
    if layers:
        raise TzmlError(
            f"how long a run takes tells of its input: {_first(layers)} may take more "
            f"instructions for some numbers than for others{why_not}",
            f"replace these layers, {remedy}",
        )


def _layers_that_branch(bundle: Bundle) -> list[str]:
    """The layers, as the bundle's notes call them, whose machine code branches on numbers."""
    found: dict[str, None] = {}
    if not any(library.tee for library in bundle.libraries):
        raise TzmlError("it has no kernels for OP-TEE")
    for number, library in enumerate(bundle.libraries):
        if not library.tee:
            continue
        signed = SignedLibrary.of(library.tee, "the kernel library", "compile the model again")
        for branch in check_library(signed.elf).branches:
            found |= dict.fromkeys(_calls(bundle, number, branch) or [f"the code at {branch}"])
    return list(found)


def _calls(bundle: Bundle, library: int, branch: SecretUse) -> list[str]:
    """What the notes say of the calls of a kernel."""
    about = json.loads(bundle.notes or b"{}").get("programs")
    found = []
    for program in bundle.programs:
        said = about.get(program.name) if isinstance(about, dict) and program.library == library else None
        notes = said.get("calls") if isinstance(said, dict) else None
        if isinstance(notes, list):
            found += [str(n) for n, call in zip(notes, program.calls, strict=False) if call.kernel == branch.kernel]
    return found


def _first(found: list[str]) -> str:
    more = f" and {len(found) - 3} more" if len(found) > 3 else ""
    return ", ".join(map(printable, found[:3])) + more


def unsealed(bundle: Bundle) -> Bundle:
    """A sealed bundle that was read with its content key, as a clear one, which can be sealed again."""
    notes = json.loads(bundle.notes or b"{}")
    metadata = notes.pop("metadata", {})
    return replace(
        bundle,
        metadata=json.dumps(metadata, sort_keys=True).encode() if metadata else b"",
        notes=json.dumps(notes, sort_keys=True).encode() if notes else b"",
    )


def for_tee(bundle: Bundle) -> Bundle:
    """The bundle with every program that may run in the TEE running only there. Raises BundleError."""
    if not any(library.tee for library in bundle.libraries):
        raise BundleError(
            "KERNELS_ABSENT", "the bundle has no part that runs in the secure world, so there is nothing to seal",
            "compile the model with --sign-key",
        )  # fmt: skip
    normal = {p.library for p in bundle.programs if p.worlds == Worlds.ree}

    def only_tee(part: Program | Memory) -> Any:
        return replace(part, worlds=Worlds.tee) if Worlds.tee in part.worlds else part

    return replace(
        bundle,
        programs=tuple(map(only_tee, bundle.programs)),
        memories=tuple(map(only_tee, bundle.memories)),
        libraries=tuple(
            library if number in normal else Library(library.tee) for number, library in enumerate(bundle.libraries)
        ),
    )


def with_identity(bundle: Bundle, owner: Signer) -> Bundle:
    """The bundle with an identity: its own, or one that follows from the owner's key and the model's name."""
    if bundle.model_id != NO_IDENTITY:
        return bundle
    name = json.loads(bundle.metadata or b"{}").get("name", "")
    if not name:
        raise TzmlError(
            "the bundle has neither a name nor an identity, so nothing could tell its versions apart",
            "compile the model with --name or --model-id",
        )
    return replace(bundle, model_id=derive_model_id(owner.public, name))


def _public(metadata: bytes, labels: bool) -> bytes:
    about = json.loads(metadata or b"{}")
    kept = {name: about[name] for name in (*PUBLIC_METADATA, *(("labels",) if labels else ())) if name in about}
    return json.dumps(kept, sort_keys=True).encode() if kept else b""


def _private(bundle: Bundle) -> bytes:
    """The notes with the metadata as it was; both are sealed."""
    notes = json.loads(bundle.notes or b"{}")
    return json.dumps(notes | {"metadata": json.loads(bundle.metadata or b"{}")}, sort_keys=True).encode()
