"""An owner's key in a token: a hardware security module, a smart card, or SoftHSM."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote_to_bytes

import pkcs11
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_public_key
from pkcs11.util.ec import encode_ec_public_key

from tzml.bundle import BundleError
from tzml.bundle.protection import verify_owner
from tzml.errors import TzmlError
from tzml.owner.keys import coordinates

SCHEME = "pkcs11:"
_EXAMPLE = "pkcs11:token=LABEL;object=KEY?module-path=FILE"
_PATH = {"token", "object", "id", "type"}


@dataclass(frozen=True)
class KeyUri:
    """What a PKCS #11 URI (RFC 7512) says of a key: the library of its token, the token, the key's label or id.

    What else a URI can have is refused, so that no key is taken for another.
    """

    module: Path
    token: str
    label: str | None
    key_id: bytes | None

    @staticmethod
    def parse(uri: str) -> KeyUri:
        """Raises TzmlError."""
        path, _, query = uri.removeprefix(SCHEME).partition("?")
        pairs = [part.partition("=") for part in path.split(";")]
        attributes = {name: unquote_to_bytes(value) for name, _, value in pairs}
        options = dict(parse_qsl(query, keep_blank_values=True))
        unknown = [*(attributes.keys() - _PATH), *(options.keys() - {"module-path"})]
        if unknown or len(attributes) < len(pairs):
            what = f"has {min(unknown)!r}" if unknown else "says something twice"
            raise TzmlError(f"the PKCS #11 URI {what}", f"give {_EXAMPLE}, or id=%01 for object=")
        if attributes.get("type", b"private") != b"private":
            raise TzmlError("the PKCS #11 URI is not of a private key", "leave out type=, or give type=private")
        if "token" not in attributes or not attributes.keys() & {"object", "id"} or "module-path" not in options:
            raise TzmlError("the PKCS #11 URI lacks token, object or id, or module-path", f"give {_EXAMPLE}")
        label = attributes.get("object")
        return KeyUri(
            Path(options["module-path"]),
            attributes["token"].decode(errors="replace"),
            None if label is None else label.decode(errors="replace"),
            attributes.get("id"),
        )


class TokenKey:
    """An owner's private key that stays in its token, which signs."""

    def __init__(self, private: Any, public: bytes) -> None:
        self._private, self._public = private, public

    @property
    def public(self) -> bytes:
        """The public key, X and Y, 64 bytes."""
        return self._public

    def sign(self, digest: bytes) -> bytes:
        """ECDSA over a SHA-256 digest: r and s, 64 bytes. Raises TzmlError."""
        with _told("cannot sign"):
            signature: bytes = self._private.sign(digest, mechanism=pkcs11.Mechanism.ECDSA)
        try:
            verify_owner(self._public, digest, signature)
        except BundleError as error:
            raise TzmlError(
                "the token's signature does not fit its public key", "give no two keys the same label and id"
            ) from error
        return signature


@contextmanager
def token_key(uri: str, pin: str) -> Iterator[TokenKey]:
    """The P-256 key that `uri` names, while the context is open. Raises TzmlError."""
    where = KeyUri.parse(uri)
    with _told(f"cannot use {where.module}"):
        library = pkcs11.lib(str(where.module))
    with _told(f"there is no token {where.token!r}"):
        token = library.get_token(token_label=where.token)
    with _told(f"cannot open the token {where.token!r}"):
        session = token.open(user_pin=pin)
    with session:
        yield _find(session, where)


def _find(session: pkcs11.Session, where: KeyUri) -> TokenKey:
    name = where.label if where.label is not None else (where.key_id or b"").hex()
    with _told(f"the token {where.token!r} has not one P-256 key {name!r} with both halves"):
        halves: list[Any] = [
            session.get_key(kind, pkcs11.KeyType.EC, label=where.label, id=where.key_id)
            for kind in (pkcs11.ObjectClass.PRIVATE_KEY, pkcs11.ObjectClass.PUBLIC_KEY)
        ]
        private, half = halves
        public = load_der_public_key(encode_ec_public_key(half))
    if not isinstance(public, ec.EllipticCurvePublicKey) or not isinstance(public.curve, ec.SECP256R1):
        raise TzmlError(
            f"the key {name!r} of the token {where.token!r} is not a P-256 key", "make one of that curve"
        )
    return TokenKey(private, coordinates(public))


@contextmanager
def _told(what: str) -> Iterator[None]:
    """Say of an error of the token what was tried."""
    try:
        yield
    except (pkcs11.PKCS11Error, RuntimeError) as error:
        kind = type(error).__name__
        said = f"{kind}: {error}" if str(error) else kind
        raise TzmlError(f"{what} ({said})", "check the URI, and the PIN in --passphrase-file") from error
