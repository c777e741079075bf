"""The signing key that an image's OP-TEE trusts, if the image was built on this host."""

from __future__ import annotations

import os
from pathlib import Path

from cryptography.hazmat.primitives import serialization

from tzml.image import Image
from tzml.signing import SigningKey, load_signing_key
from tzml_lab.environment import ROOT


def key_folders() -> list[Path]:
    """Where a build on this host may have its keys (docs/build.md)."""
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share"
    chosen = os.environ.get("TZML_KEYS")
    return [*([Path(chosen)] if chosen else []), Path(data, "tzml/keys"), ROOT / "build/keys"]


def signing_key(image: Image) -> SigningKey | None:
    """The private key to the image's public key, or None if this user does not have it. Raises TzmlError."""
    public = serialization.load_pem_public_key(image.path("ta-signing-public-key").read_bytes())
    for path in (folder / "ta-signing.pem" for folder in key_folders()):
        # unlike Path.exists(), also if another user has the folder
        if os.access(path, os.R_OK) and (key := load_signing_key(path)).public_key() == public:
            return key
    return None
