"""The signing key that an image's OP-TEE trusts, if the image was built on this host."""

from __future__ import annotations

import os

from cryptography.hazmat.primitives import serialization

from tzml.image import Image
from tzml.signing import SigningKey, load_signing_key
from tzml_lab.environment import ROOT

KEY = ROOT / "build" / "keys" / "ta-signing.pem"


def signing_key(image: Image) -> SigningKey | None:
    """The private key to the image's public key, or None if this user does not have it. Raises TzmlError."""
    if not os.access(KEY, os.R_OK):  # unlike Path.exists() also if another user has the folder
        return None
    key = load_signing_key(KEY)
    public = serialization.load_pem_public_key(image.path("ta-signing-public-key").read_bytes())
    return key if public == key.public_key() else None
