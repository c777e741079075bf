"""What owners' commands are given: a private key, in a file or in a token, a content key, and devices."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from tzml.cli.options import read_passphrase
from tzml.errors import TzmlError
from tzml.owner.keys import Signer, load_private

F = TypeVar("F", bound=Callable[..., Any])

_SCHEME = "pkcs11:"
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


class OwnerSource(click.Path):
    """The type of an option that names an owner's private key: a file, or the PKCS #11 URI of one in a token."""

    name = "file or pkcs11 uri"

    def __init__(self) -> None:
        super().__init__(exists=True, dir_okay=False)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The path or URI."""
        text = os.fspath(value)
        return text if text.startswith(_SCHEME) else str(super().convert(text, param, ctx))


owner_option = click.option(
    "--owner",
    type=OwnerSource(),
    metavar="FILE|URI",
    required=True,
    help="The owner's private key, with which bundles and their grants are signed: a PEM file, or the PKCS #11 URI "
    "of one in a token, pkcs11:token=LABEL;object=KEY?module-path=FILE.",
)


def new_secret(path: Path) -> Path:
    """The path of a file that a secret is written to. Raises TzmlError if there is one already."""
    if path.exists():
        raise TzmlError(f"{path} exists, and is not written over", "remove it, or give another output")
    return path


key_argument = click.argument("key", type=_FILE)


def devices_option(what: str) -> Callable[[F], F]:
    """The option for the records of devices; `what` is its help."""
    return click.option(
        "--device", "devices", type=_FILE, multiple=True, required=True, help=f"{what} May be given several times."
    )


@contextmanager
def opened_owner(owner: str, passphrase_file: Path | None) -> Iterator[Signer]:
    """The key that the option names, while the context is open. Raises TzmlError."""
    passphrase = read_passphrase(passphrase_file)
    if not owner.startswith(_SCHEME):
        yield load_private(Path(owner), passphrase)
        return
    if passphrase is None:
        raise TzmlError("a token needs a PIN", "give the file that has it to --passphrase-file")
    try:
        from tzml.owner.pkcs11 import token_key
    except ModuleNotFoundError as error:
        raise TzmlError("a key in a token needs python-pkcs11", "pip install 'tzml[pkcs11]'") from error
    with token_key(owner, passphrase.decode(errors="replace")) as key:
        yield key
