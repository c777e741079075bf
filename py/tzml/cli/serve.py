"""`tzml serve`: starts tzml-serve, which is a program in C, in the place of this one."""

from __future__ import annotations

import os
import shutil
from importlib.util import find_spec

import click

from tzml.errors import TzmlError


@click.command(
    "serve",
    add_help_option=False,
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@click.argument("arguments", nargs=-1, metavar="[OPTION]... [NAME=]BUNDLE...", type=click.UNPROCESSED)
def command(arguments: tuple[str, ...]) -> None:
    """Serve models over HTTP with the Open Inference Protocol."""
    program = _program()
    os.execv(program, [program, *arguments])  # noqa: S606 (no shell is wanted)


def _program() -> str:
    """The path of tzml-serve: $TZML_SERVE, or where the system has it. Raises TzmlError.

    A build host that has none builds it once, without a secure world (tzml.client.build).
    """
    found = os.environ.get("TZML_SERVE") or shutil.which("tzml-serve")
    if not found and find_spec("tzml.client.build"):  # which a device does not have
        from tzml.client.build import built_server

        found = str(built_server())
    if not found or not os.access(found, os.X_OK):
        raise TzmlError(
            f"there is no program {found or 'tzml-serve'}",
            "install the package tzml-serve, or set TZML_SERVE to its path",
        )
    return found
