"""TLS to devices, which ask for a client's certificate."""

from __future__ import annotations

import ssl
from pathlib import Path

from tzml.errors import TzmlError


def client_context(ca: Path | None, certificate: Path | None) -> ssl.SSLContext | None:
    """What connects to devices whose certificates `ca` signed, with a certificate and key in a PEM file.

    None without both: devices on this host need no TLS. Raises TzmlError.
    """
    if not ca and not certificate:
        return None
    try:
        context = ssl.create_default_context(cafile=ca)
        if certificate:
            context.load_cert_chain(certificate)
    except (OSError, ssl.SSLError) as error:
        raise TzmlError(f"cannot use {certificate or ca} for TLS: {error}", "give PEM files") from error
    return context
