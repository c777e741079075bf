"""`tzml fleet`: several devices that serve the same models."""

from __future__ import annotations

from pathlib import Path

import click

from tzml.cli.options import OutputFile
from tzml.files import is_stdout, write_file
from tzml.fleet import Balancer, Device, check, configuration


@click.group("fleet")
def command() -> None:
    """Serve models from several devices."""


@command.command("haproxy")
@click.argument("devices", nargs=-1, required=True, metavar="[NAME=]HOST:PORT...")
@click.option(
    "-o", "--output", type=OutputFile(), default="-", help="Write to this file. Default: standard output."
)
@click.option("--listen", default="127.0.0.1:8000", show_default=True, metavar="ADDRESS:PORT",
              help="Where clients connect to.")  # fmt: skip
@click.option("--timeout", type=click.FloatRange(0.1), default=4, show_default=True, metavar="SECONDS",
              help="A device that has not answered by then is given up, and another one is asked.")  # fmt: skip
@click.option("--queue", type=click.FloatRange(0.1), default=30, show_default=True, metavar="SECONDS",
              help="How long a request waits for a device.")  # fmt: skip
@click.option("--largest", type=click.IntRange(1024), default=65536, show_default=True, metavar="BYTES",
              help="The largest body of a request: more could not be sent again to another device.")  # fmt: skip
@click.option("--ca", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="The CA that signed the devices' certificates.")  # fmt: skip
@click.option("--certificate", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="HAProxy's certificate and key, which devices ask for, in one PEM file.")  # fmt: skip
def haproxy(
    devices: tuple[str, ...],
    output: Path,
    listen: str,
    timeout: float,
    queue: float,
    largest: int,
    ca: Path | None,
    certificate: Path | None,
) -> None:
    """Write a configuration of HAProxy for devices that serve the same models.

    A request that a device does not answer is sent to another one. HAProxy checks the configuration if it is
    installed here.
    """
    balancer = Balancer(listen, timeout, queue, largest, ca, certificate)
    text = configuration([Device.parse(device) for device in devices], balancer)
    if not check(text):
        click.echo("tzml: warning: this host has no haproxy, so nobody has checked the configuration", err=True)
    if is_stdout(output):
        click.echo(text, nl=False)
    else:
        write_file(output, text.encode())
