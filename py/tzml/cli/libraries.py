"""`tzml libraries`, for use on the device."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from tzml.client import installed_libraries, remove_library
from tzml.errors import TzmlError


@click.group("libraries")
def command() -> None:
    """List and remove the kernel libraries that are installed on this device.

    Each bundle brings the code of its kernels as a signed library. OP-TEE checks the signature each time that the
    bundle is opened, and keeps the library. The next bundle that brings it installs a removed one again.
    """


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")
def show(as_json: bool) -> None:
    """Show the installed libraries: UUID, version, bytes."""
    found = installed_libraries()
    if as_json:
        click.echo(json.dumps([asdict(library) for library in found]))
        return
    for library in found:
        click.echo(f"{library.uuid}  version {library.version}  {library.size:>9,} bytes")
    if not found:
        click.echo("no kernel library is installed")


@command.command("remove")
@click.argument("uuids", nargs=-1, metavar="[UUID]...")
@click.option("--all", "everything", is_flag=True, help="Remove all of them.")
def remove(uuids: tuple[str, ...], everything: bool) -> None:
    """Remove the libraries with these UUIDs."""
    if bool(uuids) == everything:
        raise TzmlError("give either UUIDs or --all", "`tzml libraries list` shows the UUIDs")
    for uuid in [library.uuid for library in installed_libraries()] if everything else uuids:
        remove_library(uuid)
        click.echo(f"removed {uuid}")
