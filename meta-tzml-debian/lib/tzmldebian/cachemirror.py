# SPDX-License-Identifier: Apache-2.0
"""A cache that somebody publishes over HTTP, for reading (docs/build.md). tools/publish-cache makes it.

Nothing in it is trusted for where it lies. A file of the archive has to have the digest of its signed index. A root
file system has to have the digest in cache.json, which has to be signed with the key TZML_CACHE_MIRROR_KEY.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import bb
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from . import tree

FORMAT = 1
INDEX, SIGNATURE = "cache.json", "cache.json.sig"
FILES, ROOTFS = "downloads/files", "rootfs"
INDEX_SIZE = 16 << 20  # the most that is read of an index
TIMEOUT_SECONDS = 60
PIECE = 1 << 20


class _RefusedError(Exception):
    """The mirror has something else under that name."""


class CacheMirror:
    """A published cache at the address `url`.

    Args:
        url: http://, https:// or file://, of the folder that has cache.json
        key: the publisher's public key (Ed25519, PEM); without it, root file systems are not taken
        environment: with the proxies

    """

    def __init__(self, url: str, key: Path | None = None, environment: Mapping[str, str] | None = None) -> None:
        self.url, self.key = url.rstrip("/"), key
        if not re.match(r"(https?|file)://", self.url):
            bb.fatal(f"TZML_CACHE_MIRROR is {url!r}: expected an address that begins with http:// or https://")
        env = environment or {}
        proxies = {name: env[f"{name}_proxy"] for name in ("http", "https", "no") if env.get(f"{name}_proxy")}
        host = urllib.parse.urlsplit(self.url).netloc
        bypass = urllib.request.proxy_bypass_environment(host, proxies)
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({} if bypass else proxies))
        self._reached = True

    @classmethod
    def of(cls, d: Any, environment: Mapping[str, str]) -> CacheMirror | None:
        """The mirror that this build has, if it has one."""
        url, key = d.getVar("TZML_CACHE_MIRROR"), d.getVar("TZML_CACHE_MIRROR_KEY")
        return cls(url, Path(key) if key else None, environment) if url else None

    def file(self, name: str, size: int, sha256: str, to: Path) -> bool:
        """Put the file with that digest at `to`. False if the mirror does not have it."""
        return self._take(f"{FILES}/{urllib.parse.quote(name)}", size, sha256, to)

    def rootfs(self, name: str, to: Path) -> bool:
        """Put the root file system of that name at `to`. False if the mirror does not have it."""
        entry = self._signed.get(name)
        return bool(entry) and self._take(
            f"{ROOTFS}/{urllib.parse.quote(name)}", entry["size"], entry["sha256"], to
        )

    @cached_property
    def _signed(self) -> dict[str, dict[str, Any]]:
        """What the publisher has signed: root file systems by name."""
        if not self.key:
            bb.note("TZML_CACHE_MIRROR_KEY names no key: root file systems are not taken from the mirror")
            return {}
        try:
            public = serialization.load_pem_public_key(self.key.read_bytes())
        except (OSError, ValueError) as error:
            bb.fatal(f"TZML_CACHE_MIRROR_KEY: {self.key} is no public key in PEM form: {error}")
        if not isinstance(public, Ed25519PublicKey):
            bb.fatal(f"TZML_CACHE_MIRROR_KEY: {self.key} is no Ed25519 key: take the one of tools/publish-cache")
        index, signature = self._read(INDEX), self._read(SIGNATURE)
        if index is None or signature is None:
            return {}
        try:
            public.verify(signature, index)
            content = json.loads(index)
            if content["format"] != FORMAT:
                raise ValueError(f"its format is {content['format']}, not {FORMAT}")
            entries: dict[str, dict[str, Any]] = content["rootfs"]
            for entry in entries.values():
                if not (isinstance(entry["size"], int) and re.fullmatch("[0-9a-f]{64}", entry["sha256"])):
                    raise ValueError("an entry has no size or digest")
        except InvalidSignature:
            bb.warn(f"{self.url}/{INDEX} is not signed with {self.key}: its root file systems are not taken")
            return {}
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            bb.warn(f"{self.url}/{INDEX} cannot be read ({error}): its root file systems are not taken")
            return {}
        return entries

    def _open(self, path: str) -> Any:
        """The response, or None if the mirror does not have it or cannot be reached."""
        if not self._reached:
            return None
        try:
            return self._opener.open(f"{self.url}/{path}", timeout=TIMEOUT_SECONDS)
        except urllib.error.HTTPError as error:
            if error.code != http.client.NOT_FOUND:
                bb.warn(f"{self.url}/{path}: {error}")
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            if not isinstance(reason, FileNotFoundError):
                bb.warn(f"the cache at {self.url} cannot be reached, continuing without it: {reason}")
                self._reached = False
        return None

    def _read(self, path: str) -> bytes | None:
        response = self._open(path)
        if response is None:
            return None
        try:
            with response:
                return bytes(response.read(INDEX_SIZE))
        except (OSError, http.client.HTTPException) as error:
            bb.warn(f"{self.url}/{path}: {error}")
            return None

    def _take(self, path: str, size: int, sha256: str, to: Path) -> bool:
        response = self._open(path)
        if response is None:
            return False
        to.parent.mkdir(parents=True, exist_ok=True)
        try:
            with response, tree.written_atomically(to) as new:
                _copy(response, new, size, sha256)
        except (_RefusedError, OSError, http.client.HTTPException) as error:
            bb.warn(f"{self.url}/{path}: {error}: not taken")
            return False
        bb.note(f"took {to.name} from {self.url}")
        return True


def _copy(response: Any, new: Path, size: int, sha256: str) -> None:
    digest, count = hashlib.sha256(), 0
    with new.open("wb") as stream:
        while piece := response.read(PIECE):
            count += len(piece)
            if count > size:
                raise _RefusedError(f"it has more than {size} bytes")
            stream.write(piece)
            digest.update(piece)
    if count != size or digest.hexdigest() != sha256:
        raise _RefusedError(f"{count} bytes with the SHA-256 {digest.hexdigest()}, expected {size} with {sha256}")
