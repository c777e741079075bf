"""`tzml federate`: rounds of federated training. Devices have this module, and no package for cryptography."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tzml.bundle import decode, read_public
from tzml.bundle.checkpoint import read_checkpoint
from tzml.cli.arrays import load_array
from tzml.cli.options import OutputFile, RealNumber, passphrase_option, read_passphrase
from tzml.client import World, open_model
from tzml.device import key_id, read_device
from tzml.errors import TzmlError
from tzml.federate.device import LocalPlan, train_round
from tzml.federate.privacy import DELTA, epsilon_elsewhere
from tzml.files import check_output, read_file, write_file

if TYPE_CHECKING:
    from tzml.federate.rounds import Rounds

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_share = click.option(
    "--share", default=1.0, show_default=True, type=RealNumber(0, 1, min_open=True),
    help="Probability with which each example of a device is in the batch of an update.",
)  # fmt: skip


@click.group("federate")
def command() -> None:
    """Train a private model on several devices, each on its own examples (docs/federated.md)."""


@command.command("round")
@click.argument("bundle", type=_FILE)
@click.option("--global", "given", required=True, type=_FILE, help="The global model (.tzs), which a server made.")
@click.option("--update", required=True, type=OutputFile(), help="Where the update goes (.tzs), for the server.")
@click.option("--images", required=True, type=_FILE, help="A .npy file: the device's examples.")
@click.option("--labels", required=True, type=_FILE, help="A .npy file: their classes.")
@click.option("--updates", default=1, show_default=True, type=click.IntRange(1), help="Updates with noise.")
@_share
@click.option("--rate", required=True, type=RealNumber(0, min_open=True), help="The learning rate.")
@click.option("--grant", type=_FILE, help="The grant (.tzg). Default: one that is appended to BUNDLE.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")
def round_(
    bundle: Path,
    given: Path,
    update: Path,
    images: Path,
    labels: Path,
    updates: int,
    share: float,
    rate: float,
    grant: Path | None,
    as_json: bool,
) -> None:
    """Do a device's part of a round: train the private model BUNDLE from a global model.

    The update is encrypted for the server that made the global model, and has noise already.
    """
    check_output(update, [path for path in (bundle, given, images, labels, grant) if path])
    examples = load_array(images), load_array(labels)
    with open_model(bundle, World.tee, grant.read_bytes() if grant else None) as model:
        train_round(model, given, update, examples, LocalPlan(updates, share, rate), _tell)
    made = read_checkpoint(read_file(update))
    if as_json:
        click.echo(json.dumps({"round": made.number, "updates": made.updates}))
    else:
        click.echo(f"{update}: round {made.number}, after {made.updates:,} updates with noise")


def _tell(number: int, loss: float | None) -> None:
    if sys.stderr.isatty():
        click.echo(f"update {number}" + ("" if loss is None else f": loss {loss:.4f}"), err=True)


def _of_server(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options of a server's command, which takes `rounds` in their place."""
    options = (
        click.argument("bundle", type=_FILE),
        click.option("--content-key", required=True, type=_FILE, help="The content key of BUNDLE (.tzk)."),
        click.option(
            "--key", required=True, type=_FILE,
            help="The server's private key (PEM), whose public half the grants have (`tzml grant --federate`).",
        ),
        click.option(
            "--device", "devices", required=True, multiple=True, type=_FILE,
            help="The record (.tzd) of a device that takes part. Repeatable.",
        ),
        click.option(
            "--state", required=True, type=click.Path(dir_okay=False, path_type=Path),
            help="The file that keeps the rounds: parameters, and how many updates each device has made.",
        ),
        passphrase_option,
    )  # fmt: skip
    for option in reversed(options):
        function = option(function)
    return function


def _opened(
    bundle: Path, content_key: Path, key: Path, devices: tuple[Path, ...], state: Path, passphrase: Path | None
) -> Rounds:
    from tzml.federate.rounds import Federation, Rounds
    from tzml.owner.keys import load_private
    from tzml.owner.seal import ContentKey, unsealed

    check_output(state, [bundle, content_key, key, *devices])
    content = ContentKey.read(content_key)
    header = read_public(bundle).table.header
    if header.digest != content.bundle_digest:
        raise TzmlError(f"{content_key} is not the content key of {bundle}", "give the .tzk that was made with it")
    model = unsealed(decode(read_file(bundle), content.secret))
    keys = tuple(read_device(path).public_key for path in devices)
    if len(set(keys)) != len(keys):
        raise TzmlError("a device is given twice", "give each record once")
    server = load_private(key, read_passphrase(passphrase))
    return Rounds(Federation(model, header.digest, header.owner, server, keys), state)


@command.command("begin")
@_of_server
@click.option("-o", "--output", "outputs", required=True, multiple=True, type=OutputFile(),
              help="Where a device's global model goes (.tzs): one for each --device, in their order.")  # fmt: skip
def begin(
    bundle: Path,
    content_key: Path,
    key: Path,
    devices: tuple[Path, ...],
    state: Path,
    passphrase_file: Path | None,
    outputs: tuple[Path, ...],
) -> None:
    """Begin a round of the sealed BUNDLE: write a global model for each device, which no other can read."""
    if len(outputs) != len(devices):
        raise click.UsageError(f"there are {len(devices)} devices and {len(outputs)} outputs: give one for each")
    rounds = _opened(bundle, content_key, key, devices, state, passphrase_file)
    for path in outputs:
        check_output(path, [bundle, content_key, key, *devices, state])
    made = rounds.begin()
    for path, device in zip(outputs, rounds.federation.devices, strict=True):
        write_file(path, made[device])
        click.echo(f"{path}: round {rounds.number + 1}")


@command.command("end")
@_of_server
@click.option("--update", "updates", required=True, multiple=True, type=_FILE,
              help="An update (.tzs) of this round. Repeatable; devices without one are left out.")  # fmt: skip
@_share
@click.option("--delta", default=DELTA, show_default=True, help="δ of the privacy that is told.",
              type=RealNumber(0, 1, min_open=True, max_open=True))  # fmt: skip
@click.option("-o", "--output", type=OutputFile(),
              help="The trained model: a clear bundle of the next version, to be kept secret.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")
def end(
    bundle: Path,
    content_key: Path,
    key: Path,
    devices: tuple[Path, ...],
    state: Path,
    passphrase_file: Path | None,
    updates: tuple[Path, ...],
    share: float,
    delta: float,
    output: Path | None,
    as_json: bool,
) -> None:
    """End a round of the sealed BUNDLE: the mean of the updates is the new global model.

    ε is told of each device, for all rounds so far, if the environment `flower` is made. All or nothing is done: an
    update that is not of this round, of another device or of another shape ends the command before.
    """
    rounds = _opened(bundle, content_key, key, devices, state, passphrase_file)
    given = (bundle, content_key, key, state, *devices, *updates)
    if output:
        check_output(output, given)
    by_id = {key_id(device): device for device in rounds.federation.devices}
    found = []
    for path in updates:
        data = read_file(path)
        sender = by_id.get(read_checkpoint(data).device)
        if sender is None:
            raise TzmlError(f"{path} is of a device that is not given", "give its record to --device")
        found.append(rounds.open(sender, data))
    rounds.end(found)
    if output:
        rounds.trained().write(output)
    about = [
        {
            "device": key_id(device).hex(),
            "updates": rounds.updates[device.hex()],
            "epsilon": epsilon_elsewhere(rounds.federation.multiplier, share, rounds.updates[device.hex()], delta),
        }
        for device in rounds.federation.devices
    ]
    if as_json:
        click.echo(json.dumps({"round": rounds.number, "delta": delta, "devices": about}))
        return
    click.echo(f"{state}: round {rounds.number}, the mean of {len(found)} devices")
    for one in about:
        told = "ε takes `tzml environment flower`"
        if one["epsilon"] is not None:
            told = f"ε {one['epsilon']:.3f} for δ {delta:g}"
        click.echo(f"device {str(one['device'])[:16]}: {one['updates']} updates with noise, {told}")


@command.command("server")
@_of_server
@click.option("--rounds", required=True, type=click.IntRange(1), help="Rounds to make.")
@click.option(
    "--listen", default="127.0.0.1:9093", show_default=True, metavar="HOST:PORT", help="Where devices find it."
)
@click.option("--least", default=1, show_default=True, type=click.IntRange(1),
              help="Devices that must give an update in each round.")  # fmt: skip
@click.option("--wait", default=300, show_default=True, type=click.IntRange(1), metavar="SECONDS",
              help="For devices to come, before the first round.")  # fmt: skip
@click.option("--timeout", default=3600, show_default=True, type=click.IntRange(1), metavar="SECONDS",
              help="For the updates of a round.")  # fmt: skip
@_share
@click.option("-o", "--output", type=OutputFile(), help="As for `end`, after each round.")
@click.option("--tls", nargs=3, type=_FILE, metavar="CA CERTIFICATE KEY",
              help="Of the server (PEM). Without them, it listens on this machine alone.")  # fmt: skip
def server(
    bundle: Path,
    content_key: Path,
    key: Path,
    devices: tuple[Path, ...],
    state: Path,
    passphrase_file: Path | None,
    rounds: int,
    listen: str,
    least: int,
    wait: int,
    timeout: int,
    share: float,
    output: Path | None,
    tls: tuple[Path, Path, Path] | None,
) -> None:
    """Make rounds over Flower, with the devices that `tzml federate client` connects: a `begin` and `end` each."""
    from tzml.federate.flower import serve, tzml_command

    given = (bundle, content_key, key, devices, state, passphrase_file)
    before = _opened(*given).number  # whatever is wrong is told now
    files = {"--content-key": content_key, "--key": key, "--state": state}
    files |= {"--passphrase-file": passphrase_file} if passphrase_file else {}
    common = [str(bundle.resolve()), *(a for name, path in files.items() for a in (name, str(path.resolve())))]
    common += [a for path in devices for a in ("--device", str(path.resolve()))]
    after = ["--share", str(share), *(["--output", str(output.resolve())] if output else [])]
    job = {
        "begin": [*tzml_command(), "federate", "begin", *common],
        "end": [*tzml_command(), "federate", "end", *common, *after],
        "devices": [read_device(path).public_key.hex() for path in devices],
        "rounds": rounds, "least": least, "wait": wait, "timeout": timeout,
    }  # fmt: skip
    code = serve(job, listen, tls or (), click.echo)
    made = _opened(*given).number - before
    if code or made < rounds:  # Flower also ends well where a run failed
        raise TzmlError(
            f"{made} of {rounds} rounds were made", f"the lines above say why; go on with --state {state}"
        )


@command.command("client", context_settings={"ignore_unknown_options": True})
@click.option(
    "--server", "address", required=True, metavar="HOST:PORT", help="Where `tzml federate server` listens."
)
@click.option("--device", required=True, type=_FILE, help="The record (.tzd) of the device.")
@click.option("--listen", default="127.0.0.1:9094", show_default=True, metavar="HOST:PORT",
              help="An address of this machine that is free, for Flower.")  # fmt: skip
@click.option("--tls", type=_FILE, metavar="CA", help="The certificate of the server's CA (PEM).")
@click.argument("command_line", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- COMMAND…")
def client(address: str, device: Path, listen: str, tls: Path | None, command_line: tuple[str, ...]) -> None:
    """Connect a device to a server over Flower, until the server goes away.

    COMMAND does the device's part of a round, and is given --global FILE --update FILE: `tzml federate round`, or a
    program that starts it on the device, as over SSH.
    """
    from tzml.federate.flower import take_part

    job = {"public_key": read_device(device).public_key.hex(), "command": list(command_line)}
    code = take_part(job, address, listen, tls, click.echo)
    if code:
        raise TzmlError(f"Flower ended with exit code {code}", "its lines above say why")
