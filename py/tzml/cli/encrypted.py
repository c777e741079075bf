"""What commands that read a model file do with an encrypted one (.tze): it is clear only in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import click

from tzml.cli.options import read_passphrase
from tzml.errors import TzmlError

F = TypeVar("F", bound=Callable[..., Any])
Opened = Callable[[Callable[[str], None]], Path]

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@dataclass(frozen=True)
class ModelKey:
    """What opens an encrypted model: a private key, its passphrase, and whether memory may be swapped."""

    file: Path | None
    passphrase: Path | None
    allow_swap: bool

    @property
    def files(self) -> list[Path]:
        """What the command reads for it."""
        return [file for file in (self.file, self.passphrase) if file]


def key_options(command: F) -> F:
    """Give a command the options for encrypted models; it gets them as `key`, a ModelKey."""

    @click.option("--key", "key_file", type=_FILE,
                  help="Private key (PEM) that opens MODEL, if it is encrypted (.tze). The model is clear only in "
                  "memory then.")  # fmt: skip
    @click.option("--passphrase-file", "key_passphrase", type=_FILE,
                  help="File whose first line is the passphrase of --key.")  # fmt: skip
    @click.option("--allow-swap", is_flag=True,
                  help="Open an encrypted model also where memory may be swapped to a disk.")  # fmt: skip
    @wraps(command)
    def with_key(*, key_file: Path | None, key_passphrase: Path | None, allow_swap: bool, **given: Any) -> Any:
        return command(key=ModelKey(key_file, key_passphrase, allow_swap), **given)

    return with_key  # type: ignore[return-value]


@contextmanager
def opened_model(model: Path, key: ModelKey) -> Iterator[Opened | None]:
    """What gives the path of a model that is encrypted, and takes what warns; None for a model that is not.

    The process that calls it (`in_child`) can write nothing to a disk afterwards, and sees the path. What was open
    before stays open. Raises TzmlError for a key without need, one that is missing, and swap on a disk.
    """
    from tzml.owner.encrypted_model import decrypt_model, is_encrypted  # needs cryptography
    from tzml.owner.keys import read_private
    from tzml.private_folder import private_folder, shut_in

    if not is_encrypted(model):
        if key.file:
            raise TzmlError(f"{model} is not encrypted", "leave out --key, or give the .tze file")
        yield None
        return
    if key.file is None:
        raise TzmlError(f"{model} is encrypted", "give the private key that it was encrypted for to --key")
    private = read_private(key.file, read_passphrase(key.passphrase))
    with model.open("rb") as file, private_folder(allow_swap=key.allow_swap) as folder:

        def opened(warn: Callable[[str], None]) -> Path:
            shut_in(folder, warn)
            return decrypt_model(file, str(model), private, folder)

        yield opened
