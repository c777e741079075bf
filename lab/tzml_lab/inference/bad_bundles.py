"""Wrong bundles, each with the status that each world must give for it.

A status is a name of runtime/include/tzml/status.h.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa

from tzml.bundle import Bundle, Library, decode
from tzml.bundle.identity import digest_uuid
from tzml.bundle.plan import encode_plan
from tzml.signing import SigningKey, sign_library
from tzml_lab.environment import ROOT
from tzml_lab.inference import WORLDS

EXAMPLES = ROOT / "docs" / "bundle-examples"

# The examples have no real kernel libraries. An example that is right up to there, or wrong only after that, is
# refused because of its library: the TA reads the library's name in its signature, Linux tries to load it.
_BEYOND_KERNELS = {"SUCCESS", "KERNEL_MISSING", "KERNEL_MISMATCH", "KERNELS_CHANGED"}
_WEIGHTS = {"tag-end", "weights-bit"}  # weights are checked when they are loaded, after the kernels
_NO_LIBRARY = {"tee": "KERNELS_CHANGED", "ree": "KERNELS_REFUSED"}
# What only the TEE looks at: its memory, its library, its programs.
_ONLY_TEE = {
    "memories-first",
    "memory-for-both",
    "memory-in-vain",
    "memory-in-vain-flat",
    "no-library-for-the-tee",
    "no-program-for-the-tee",
    "two-memories-in-one",
}


@dataclass(frozen=True)
class BadBundle:
    """A bundle's bytes, and the status it gets in each world that checks for it."""

    name: str
    data: bytes
    status: dict[str, str]


def example_statuses() -> dict[str, dict[str, str]]:
    """The specification's examples (docs/bundle.md), by name, with their statuses on a target."""
    index = json.loads((EXAMPLES / "index.json").read_text())
    return {name: _on_a_target(name, example["status"]) for name, example in index.items()}


# Owners' signatures are for the secure world; the normal world takes what it is given.
_SIGNED = {
    "owner": "HEADER_MALFORMED",
    "owner-not-on-the-curve": "KERNELS_REFUSED",
    "signature-bit": "KERNELS_REFUSED",
    "signature-of-another": "KERNELS_REFUSED",
    "signed-version": "KERNELS_REFUSED",
    "signed-weights": "KERNELS_REFUSED",
    "sealed": "KERNELS_ABSENT",
    "checkpoint": "KERNELS_ABSENT",
    "federated": "KERNELS_ABSENT",
}


def _on_a_target(name: str, status: str) -> dict[str, str]:
    if name in _SIGNED:
        return {"tee": status, "ree": _SIGNED[name]}
    if status in _BEYOND_KERNELS or name in _WEIGHTS:
        return _NO_LIBRARY
    if status == "SECURE_MEMORY" or name in _ONLY_TEE:
        return _NO_LIBRARY | {"tee": status}
    return dict.fromkeys(WORLDS, status)


def examples() -> Iterator[BadBundle]:
    """The examples with their bytes."""
    for name, status in example_statuses().items():
        yield BadBundle(name, (EXAMPLES / f"{name}.tzm").read_bytes(), status)


# The ways in which a sound bundle is spoiled, with the status that each must get
SPOILED = {
    "half": dict.fromkeys(WORLDS, "TRUNCATED"),
    "version-bit": dict.fromkeys(WORLDS, "HEADER_DIGEST"),
    "real-plan-bit": dict.fromkeys(WORLDS, "SECTION_DIGEST"),
    "real-weights-bit": dict.fromkeys(WORLDS, "SECTION_DIGEST"),
    "real-kernel-missing": dict.fromkeys(WORLDS, "KERNEL_MISSING"),
    "another-key": {"tee": "KERNELS_REFUSED"},
    # what the sound bundle's library is installed for, which the target may not look up by its content
    "installed-another-key": {"tee": "KERNELS_REFUSED"},
    "installed-signature-bit": {"tee": "KERNELS_REFUSED"},
    "installed-code-bit": {"tee": "KERNELS_REFUSED"},
    "installed-unsigned": {"tee": "KERNELS_ABSENT"},
    "too-large": {"tee": "MEMORY"},
}


def spoiled(sound: bytes, memory: int) -> Iterator[BadBundle]:
    """Spoil a bundle that works in every way of `SPOILED`.

    Args:
        sound: the bundle
        memory: bytes of secure memory that the target has for TAs

    """
    bundle = decode(sound)
    image = bundle.libraries[0].tee
    call = replace(bundle.program.calls[0], kernel=9999)
    calls = _with_program(bundle, calls=(call, *bundle.program.calls[1:]))
    large = replace(bundle, memories=(replace(bundle.memory, arena_size=4 * memory),))
    data = {
        "half": sound[: len(sound) // 2],
        "version-bit": _flip(sound, 48),
        "real-plan-bit": _flip(sound, sound.index(encode_plan(bundle.program)) + 50),
        "real-weights-bit": _flip(sound, len(sound) - 1),
        "real-kernel-missing": calls.encode(),
        "another-key": _signed(bundle, os.urandom(32), _another_key()).encode(),
        "installed-another-key": _signed(bundle, bundle.program.kernels_digest, _another_key()).encode(),
        "installed-signature-bit": _with_image(bundle, _flip(image, image.index(b"\x7fELF") - 21)).encode(),
        "installed-code-bit": _with_image(bundle, _flip(image, len(image) // 2)).encode(),
        "installed-unsigned": _with_image(bundle, b"").encode(),
        "too-large": large.encode(),
    }
    return (BadBundle(name, data[name], status) for name, status in SPOILED.items())


def _with_program(bundle: Bundle, **changes: Any) -> Bundle:
    return replace(bundle, programs=(replace(bundle.program, **changes),))


def _flip(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def _with_image(bundle: Bundle, image: bytes) -> Bundle:
    return replace(bundle, libraries=(replace(bundle.libraries[0], tee=image),))


def _another_key() -> SigningKey:
    """A key that the target does not know."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def versions(sound: bytes, key: SigningKey) -> tuple[bytes, bytes, bytes]:
    """A bundle with a new kernel library that works: as version 1, as version 0, and as 1 with a byte behind it."""
    bundle, digest = decode(sound), os.urandom(32)
    longer = _signed(bundle, digest, key, 1, behind=b"\0")
    return _signed(bundle, digest, key, 1).encode(), _signed(bundle, digest, key, 0).encode(), longer.encode()


def _signed(bundle: Bundle, new: bytes, key: SigningKey, version: int = 0, behind: bytes = b"") -> Bundle:
    """The bundle with its kernel library signed again, with a digest that gives it its name."""
    old = bundle.program.kernels_digest
    signed = bundle.libraries[0].tee
    elf = signed[signed.index(b"\x7fELF") :].replace(old, new) + behind
    library = Library(sign_library(elf, digest_uuid(new), key, version), bundle.libraries[0].ree.replace(old, new))
    return replace(_with_program(bundle, kernels_digest=new), libraries=(library,))


def remedies() -> dict[str, tuple[str, str]]:
    """The two halves of the line about each status: what happened, and what to do about it."""
    source = (ROOT / "runtime/include/tzml/status.h").read_text().replace("\\\n", " ")
    string = r'((?:"[^"]*"\s*)+)'
    entries = re.findall(rf"X\((\w+),\s*0x\w+,\s*{string},\s*{string}\)", source)
    return {name: (_joined(what), _joined(remedy)) for name, what, remedy in entries}


def _joined(literals: str) -> str:
    return "".join(re.findall(r'"([^"]*)"', literals))
