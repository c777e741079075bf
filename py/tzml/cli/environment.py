"""`tzml environment`."""

from __future__ import annotations

import click

from tzml.cli.options import completed
from tzml.environments import ENVIRONMENTS, make_environment


@click.command("environment")
@click.argument("name", required=False, type=click.Choice(sorted(ENVIRONMENTS)),
                shell_complete=completed(lambda: ENVIRONMENTS))  # fmt: skip
def command(name: str | None) -> None:
    """Make the Python environment NAME, for packages that cannot be installed beside tzml's.

    Without NAME, list the environments. They lie in the cache; one that is made already costs nothing.
    """
    if name is None:
        for environment in ENVIRONMENTS.values():
            state = "made" if environment.is_made else f"not made, about {environment.megabytes} MB"
            click.echo(f"{environment.name:10} {environment.purpose} ({state})")
        return
    made = make_environment(ENVIRONMENTS[name], lambda line: click.echo(line, err=True))
    click.echo(f"{name} {'is ready' if made else 'was made already'}")
