"""`tzml fleet`: several devices that serve the same models."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from tzml.cli.options import OutputFile, RealNumber
from tzml.errors import TzmlError
from tzml.files import is_stdout, write_file
from tzml.fleet import Balancer, Device, check, configuration
from tzml.fleet.status import fleet_status, status_table
from tzml.fleet.tls import client_context

F = TypeVar("F", bound=Callable[..., Any])
_EXISTING = click.Path(exists=True, dir_okay=False, path_type=Path)


def _tls_options(function: F) -> F:
    """How to reach devices that want TLS."""
    certificate = click.option(
        "--certificate", type=_EXISTING, help="Certificate and key, which devices ask for, in one PEM file."
    )
    ca = click.option("--ca", type=_EXISTING, help="The CA that signed the devices' certificates.")
    return ca(certificate(function))


def _parse_names(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    """NAME=VALUE, each name once."""
    found: dict[str, str] = {}
    for value in values:
        name, equals, rest = value.partition("=")
        if not (name and equals and rest) or name in found:
            raise click.BadParameter(f"{value!r} is not NAME=…, or the name is given twice")
        found[name] = rest
    return found


def _parse_files(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, Path]:
    """NAME=FILE, each name once, each file there."""
    found = {name: Path(value) for name, value in _parse_names(context, parameter, values).items()}
    for path in found.values():
        if not path.is_file():
            raise click.BadParameter(f"there is no file {path}")
    return found


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
@click.option("--timeout", type=RealNumber(0.1), default=4, show_default=True, metavar="SECONDS",
              help="A device that has not answered by then is given up, and another one is asked.")  # fmt: skip
@click.option("--queue", type=RealNumber(0.1), default=30, show_default=True, metavar="SECONDS",
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


@command.command("status")
@click.argument("devices", nargs=-1, required=True, metavar="[NAME=]HOST:PORT...")
@click.option("--timeout", type=RealNumber(0.1), default=4, show_default=True, metavar="SECONDS",
              help="A device that has not answered by then counts as unreachable.")  # fmt: skip
@click.option("--html", type=OutputFile(), help="Write a page (needs tzml[report]).")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")
@_tls_options
def status(
    devices: tuple[str, ...], timeout: float, html: Path | None, as_json: bool, ca: Path | None,
    certificate: Path | None,
) -> None:  # fmt: skip
    """Show the state of devices, as their tzml-serve tells it. Exit code 1 unless all are ready."""
    found = fleet_status([Device.parse(device) for device in devices], timeout, client_context(ca, certificate))
    if html:
        from tzml.fleet.page import status_page

        write_file(html, status_page(found))
    if as_json:
        click.echo(json.dumps([one.as_json() for one in found], indent=1))
    elif not (html and is_stdout(html)):
        click.echo(status_table(found))
    if any(one.state != "ready" for one in found):
        raise SystemExit(1)


@command.command("rollout")
@click.argument("bundle", type=_EXISTING)
@click.argument("devices", nargs=-1, required=True, metavar="NAME=HOST:PORT...")
@click.option("--model", required=True, metavar="NAME", help="What the devices call the model.")
@click.option("--grant", "grants", multiple=True, metavar="NAME=FILE", callback=_parse_files,
              help="The grant of a device, for a sealed BUNDLE.")  # fmt: skip
@click.option("--back", type=_EXISTING, help="The bundle to go back to. Default: what each device serves now.")
@click.option("--back-grant", "back_grants", multiple=True, metavar="NAME=FILE", callback=_parse_files,
              help="The grant of a device for --back.")  # fmt: skip
@click.option("--ssh", "destinations", multiple=True, metavar="NAME=DESTINATION", callback=_parse_names,
              help="How ssh reaches a device. Default: root@HOST.")  # fmt: skip
@click.option("--canaries", type=click.IntRange(1), default=1, show_default=True,
              help="How many devices have to answer before the others get it.")  # fmt: skip
@click.option("--wait", type=RealNumber(1), default=60, show_default=True, metavar="SECONDS",
              help="For the model to be ready on a device.")  # fmt: skip
@click.option("--request", type=_EXISTING,
              help="A request (JSON) that a device has to answer before it counts as serving.")  # fmt: skip
@_tls_options
def rollout(
    bundle: Path, devices: tuple[str, ...], model: str, grants: dict[str, Path], back: Path | None,
    back_grants: dict[str, Path], destinations: dict[str, str], canaries: int, wait: float, request: Path | None,
    ca: Path | None, certificate: Path | None,
) -> None:  # fmt: skip
    """Put BUNDLE onto devices: the canary first, then the others, and back where one fails (docs/serving.md).

    Exit code 1 if a device does not serve it in the end.
    """
    from tzml.fleet.rollout import Member, Release, SshShell, asks, check_release, roll_out

    parsed = [Device.parse(device) for device in devices]
    names = [device.name for device in parsed]
    for given in (grants, back_grants, destinations):
        unknown = [name for name in given if name not in names]
        if unknown:
            raise TzmlError(f"there is no device {unknown[0]}", f"the devices are {', '.join(names)}")
    release = Release(bundle, grants)
    before = Release(back, back_grants) if back else None
    if back_grants and not back:
        raise TzmlError("--back-grant needs --back", "give the bundle that the grants are for")
    check_release(release, names, before)
    members = [Member(d, SshShell(destinations.get(d.name, f"root@{d.host}"))) for d in parsed]
    context = client_context(ca, certificate)
    check = asks(model, request.read_bytes(), context=context) if request else lambda _: ""
    outcomes = roll_out(members, model, release, check, before, click.echo, wait, canaries, context)
    for outcome in outcomes:
        click.echo(f"{outcome.device}: {outcome.state}{f': {outcome.why}' if outcome.why else ''}")
    if any(outcome.state != "served" for outcome in outcomes):
        raise SystemExit(1)


@command.command("publish")
@click.argument("bundle", type=_EXISTING, required=False)
@click.option("--model", metavar="NAME", help="What the devices call the model.")
@click.option("--grant", "grants", multiple=True, metavar="NAME=FILE", callback=_parse_files,
              help="The grant of a device, for a sealed BUNDLE.")  # fmt: skip
@click.option("--repository", required=True, type=click.Path(file_okay=False, path_type=Path),
              help="The folder that a web server shows to the devices. Made if it is not there.")  # fmt: skip
@click.option("--keys", required=True, type=click.Path(file_okay=False, path_type=Path),
              help="The folder with root.pem, targets.pem and online.pem. Made with a new repository.")  # fmt: skip
@click.option("--renew", is_flag=True, help="Publish nothing, but let what is there be valid longer.")
@click.option("--renew-root", is_flag=True, help="The same for the root; takes root.pem.")
@click.option("--valid", type=click.IntRange(1), default=7, show_default=True, metavar="DAYS",
              help="How long devices believe that this is the newest.")  # fmt: skip
def publish(
    bundle: Path | None, model: str | None, grants: dict[str, Path], repository: Path, keys: Path, renew: bool,
    renew_root: bool, valid: int,
) -> None:  # fmt: skip
    """Publish BUNDLE for devices that pull it, as those behind NAT (docs/serving.md).

    The repository's files may lie on any web server: the owner's signatures protect them.
    """
    try:
        from tzml.fleet.publish import Repository, Validity
    except ModuleNotFoundError as error:
        raise TzmlError("to publish takes tuf and cryptography", "pip install 'tzml[publish]'") from error
    from tzml.fleet.rollout import Release, check_release

    if bool(bundle) == (renew or renew_root) or bool(bundle) != bool(model):
        raise TzmlError("there is nothing to do", "give BUNDLE and --model, or --renew, or --renew-root")
    made = Repository(repository, keys, Validity(online=valid))
    if bundle:
        check_release(Release(bundle, grants), list(grants))
        if not made.is_there:
            made.begin()
            click.echo(
                f"{repository / 'metadata' / '1.root.json'}: give it to each device, by a way that you trust"
            )
        assert model
        made.publish(model, bundle, grants)
    if renew_root:
        made.renew_root()
    if renew:
        made.renew()


@command.command("pull")
@click.argument("url", metavar="URL")
@click.option("--root", required=True, type=_EXISTING, help="1.root.json of the repository, from its owner.")
@click.option("--model", required=True, metavar="NAME", help="The model to pull.")
@click.option("--device", required=True, metavar="NAME", help="What the owner calls this device.")
@click.option("--models", type=click.Path(file_okay=False, path_type=Path), default=Path("/var/lib/tzml/models"),
              show_default=True, help="Where models lie.")  # fmt: skip
@click.option("--server", default="127.0.0.1:8000", show_default=True, metavar="HOST:PORT",
              help="Where this device's tzml-serve answers.")  # fmt: skip
@click.option("--restart", default="systemctl restart tzml-serve", show_default=True, metavar="COMMAND",
              help="Starts tzml-serve again, and returns when the old one has ended.")  # fmt: skip
@click.option("--wait", type=RealNumber(0.1), default=60, show_default=True, metavar="SECONDS",
              help="For the model to be ready.")  # fmt: skip
def pull_command(
    url: str, root: Path, model: str, device: str, models: Path, server: str, restart: str, wait: float
) -> None:
    """On a device: install the bundle and the grant that URL has for it, and serve them (docs/serving.md)."""
    try:
        from tzml.fleet.pull import Destination, pull
    except ModuleNotFoundError as error:
        raise TzmlError("to pull takes tuf", "pip install 'tzml[pull]'") from error

    place = Destination(model, device, models, Device.parse(server), restart, wait)
    click.echo(pull(url, root.read_bytes(), place))


@command.command("grpc")
@click.argument("device", metavar="HOST:PORT")
@click.option("--listen", default="127.0.0.1:8001", show_default=True, metavar="ADDRESS:PORT",
              help="Where clients connect to.")  # fmt: skip
@click.option("--tls-cert", type=_EXISTING, help="The gateway's certificate (PEM).")
@click.option("--tls-key", type=_EXISTING, help="Its key.")
@click.option("--client-ca", type=_EXISTING, help="The CA that signs clients' certificates.")
@click.option("--timeout", type=RealNumber(0.1), default=30, show_default=True, metavar="SECONDS",
              help="For the device's answer.")  # fmt: skip
@_tls_options
def grpc_gateway(
    device: str, listen: str, tls_cert: Path | None, tls_key: Path | None, client_ca: Path | None, timeout: float,
    ca: Path | None, certificate: Path | None,
) -> None:  # fmt: skip
    """Answer gRPC clients of the Open Inference Protocol for a device, or for HAProxy, which speak REST.

    All three TLS options are needed for an address that is not loopback. SIGTERM and SIGINT end it after the
    requests that are here.
    """
    try:
        from tzml.fleet.grpc_gateway import Gateway, Listening, start
    except ModuleNotFoundError as error:
        raise TzmlError("a gateway for gRPC needs grpcio and protobuf", "pip install 'tzml[grpc]'") from error

    gateway = Gateway(Device.parse(device), timeout, client_context(ca, certificate))
    server, port = start(gateway, Listening(listen, tls_cert, tls_key, client_ca))
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    click.echo(f"listening on {listen.rpartition(':')[0]}:{port}")
    ended.wait()
    server.stop(grace=timeout).wait()
