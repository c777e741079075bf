"""`tzml pipeline`: one model on several attested devices."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click
import numpy as np

from tzml.bundle import OutputPolicy
from tzml.cli.arrays import load_arrays, save_arrays
from tzml.cli.grant import parse_policy
from tzml.cli.options import OutputFile, RealNumber, passphrase_option
from tzml.cli.owner import opened_owner, owner_option
from tzml.device import read_evidence
from tzml.errors import TzmlError
from tzml.files import check_output
from tzml.fleet.tls import client_context
from tzml.owner.attestation import EvidenceError, read_measurements
from tzml.owner.keys import load_public
from tzml.owner.register import Register
from tzml.pipeline.client import Client
from tzml.pipeline.description import Invitation, Pipeline, read_keys, write_keys
from tzml.pipeline.ray_relay import RayRelay
from tzml.pipeline.relay import HttpReplica, Relay, RelayStage
from tzml.pipeline.release import EpochKeys
from tzml.pipeline.server import serve
from tzml.pipeline.verifier import Verifier

F = TypeVar("F", bound=Callable[..., Any])
_EXISTING = click.Path(exists=True, dir_okay=False, path_type=Path)

_pipeline_argument = click.argument("pipeline", type=_EXISTING)
_replicas_argument = click.argument("replicas", nargs=-1, required=True, metavar="STAGE=URL...")


def _connection_options(function: F) -> F:
    """The options of commands that talk to devices."""
    for option in (
        click.option("--timeout", type=RealNumber(0.1), default=30, show_default=True, metavar="SECONDS",
                     help="A device that has not answered by then is given up."),
        click.option("--ca", type=_EXISTING, help="The CA that signed the devices' certificates."),
        click.option("--certificate", type=_EXISTING,
                     help="Certificate and key, which devices ask for, in one PEM file."),
    ):  # fmt: skip
        function = option(function)
    return function


@click.group("pipeline")
def command() -> None:
    """Run one model on several attested devices, between which everything is sealed."""


@command.command("new")
@click.argument("bundles", nargs=-1, required=True, type=_EXISTING, metavar="BUNDLE...")
@click.option("-o", "--output", type=OutputFile(), required=True, help="The pipeline (.tzp).")
@click.option("--policy", default="sealed", show_default=True, callback=parse_policy, metavar="POLICY",
              help="The policy of the last stage's grant, as `tzml grant` takes it.")  # fmt: skip
def new(bundles: tuple[Path, ...], output: Path, policy: tuple[OutputPolicy, int]) -> None:
    """Describe the pipeline whose stages are the BUNDLEs, in this order."""
    check_output(output, bundles)
    pipeline = Pipeline.of(bundles, *policy)
    pipeline.write(output)
    click.echo(f"{output}: pipeline {pipeline.id.hex()} of {len(pipeline.stages)} stage(s)")


@command.command("epoch")
@_pipeline_argument
@owner_option
@click.option(
    "--keys", type=OutputFile(), help="A new file (.tzy) that only you may read. Default: beside PIPELINE."
)
@click.option("--invitation", type=OutputFile(), help="What clients get (.tzi). Default: beside PIPELINE.")
@click.option("--epoch", "number", type=click.IntRange(0, 2**64 - 2), help="Default: from the clock.")
@passphrase_option
def epoch(
    pipeline: Path, owner: str, keys: Path | None, invitation: Path | None, number: int | None,
    passphrase_file: Path | None,
) -> None:  # fmt: skip
    """Begin an epoch: make new keys, and what clients need to know of them.

    Devices have to be admitted again. Begin one every hour or day, and whenever a device is withdrawn.
    """
    keys, invitation = keys or pipeline.with_suffix(".tzy"), invitation or pipeline.with_suffix(".tzi")
    check_output(invitation, [pipeline])
    described = Pipeline.read(pipeline)
    made = EpochKeys.new(described.id, int(time.time()) if number is None else number, len(described.stages))
    with opened_owner(owner, passphrase_file) as signer:
        write_keys(made, keys)
        Invitation.of(described, made).write(invitation, signer)
    click.echo(f"{keys}: keys of epoch {made.epoch}, to be kept secret; {invitation}: for clients")


@command.command("admit")
@_pipeline_argument
@_replicas_argument
@owner_option
@click.option("--keys", type=_EXISTING, help="The epoch's keys (.tzy). Default: beside PIPELINE.")
@click.option("--image", type=click.Path(exists=True, path_type=Path), required=True,
              help="The image.json of the image that is on the devices, or its folder.")  # fmt: skip
@click.option("--register", type=click.Path(file_okay=False, path_type=Path), required=True,
              help="The folder in which `tzml device verify` lists devices.")  # fmt: skip
@click.option("--field", is_flag=True, help="Admit devices whose key was recorded in the field.")
@_connection_options
@passphrase_option
def admit(
    pipeline: Path, replicas: tuple[str, ...], owner: str, keys: Path | None, image: Path, register: Path,
    field: bool, timeout: float, ca: Path | None, certificate: Path | None, passphrase_file: Path | None,
) -> None:  # fmt: skip
    """Check the evidence of devices, and give them the keys of their stages.

    Each STAGE=URL is a model of `tzml-serve --stages`, as in 0=http://192.168.0.7:8000/v2/models/front. Its session
    is opened anew. A device that fails a check gets nothing; the exit code then says why, as that of
    `tzml device verify` does.
    """
    described = Pipeline.read(pipeline)
    made = read_keys(keys or pipeline.with_suffix(".tzy"), described)
    connected = _connect(described, replicas, timeout, ca, certificate)
    expected = read_measurements(image)
    for warning in expected.warnings:
        click.echo(f"tzml: warning: {warning}", err=True)
    with opened_owner(owner, passphrase_file) as signer:
        verifier = Verifier(described, made, signer, expected, Register(register), field)
        for number, replica in ((number, replica) for number, found in enumerate(connected) for replica in found):
            nonce = verifier.ask()
            session = read_evidence(replica.attest(nonce), nonce)
            try:
                release = verifier.release(number, session)
            except EvidenceError as error:
                click.echo(f"tzml: {replica.url}: {error}", err=True)
                click.get_current_context().exit(int(error.refusal))
            replica.join(release)
            click.echo(f"stage {number}: {replica.url}: session {session.session_id.hex()[:16]}")


@command.command("relay")
@_pipeline_argument
@_replicas_argument
@click.option("--listen", default="127.0.0.1:8080", show_default=True, metavar="ADDRESS:PORT",
              help="Where clients connect to.")  # fmt: skip
@click.option("--engine", type=click.Choice(["threads", "ray"]), default="threads", show_default=True,
              help="What asks the devices: threads of this process, or a Ray actor for each of them.")  # fmt: skip
@click.option("--ray-address", default="", metavar="ADDRESS",
              help="A Ray cluster, on whose hosts the actors are. Default: this host alone.")  # fmt: skip
@_connection_options
def relay(
    pipeline: Path,
    replicas: tuple[str, ...],
    listen: str,
    engine: str,
    ray_address: str,
    timeout: float,
    ca: Path | None,
    certificate: Path | None,
) -> None:
    """Carry records between clients and the devices of a pipeline, until a signal.

    Clients send them to /v2/pipelines/ID/record. The relay has no keys and sees nothing but sizes and times. A
    record that a device does not answer goes to another one of its stage.
    """
    described = Pipeline.read(pipeline)
    if ray_address and engine != "ray":
        raise TzmlError("--ray-address is given without --engine ray", "give both, or none")
    connected = _connect(described, replicas, timeout, ca, certificate)
    if engine == "ray":
        urls = [[replica.url for replica in stage] for stage in connected]
        RayRelay(str(pipeline), urls, listen, timeout, str(ca or ""), str(certificate or ""), ray_address).exec()
    carried = _relay(connected)
    serve(carried, described, listen, lambda address: click.echo(f"listening on {address}"))


@command.command("run")
@click.argument("invitation", type=_EXISTING)
@click.argument("address", metavar="URL")
@click.option("--owner", type=_EXISTING, required=True, help="The owner's public key, who signed the invitation.")
@click.option("--input", "inputs", type=_EXISTING, required=True,
              help="A .npy file, or a .npz file with an array for each input.")  # fmt: skip
@click.option("-o", "--output", type=OutputFile(), required=True, help="A .npy or .npz file.")
@_connection_options
def run(
    invitation: Path, address: str, owner: Path, inputs: Path, output: Path, timeout: float, ca: Path | None,
    certificate: Path | None,
) -> None:  # fmt: skip
    """Ask a pipeline through the relay at URL, which learns nothing of inputs and outputs."""
    from tzml.pipeline.server import ask

    check_output(output, [invitation, owner, inputs])
    client = Client(Invitation.read(invitation, load_public(owner)))
    arrays = load_arrays(inputs)
    if isinstance(arrays, np.ndarray):
        arrays = {client.invitation.inputs[0].name: arrays}
    record, pending = client.seal(arrays)
    answer = ask(address, client.invitation.pipeline, record, timeout, client_context(ca, certificate))
    save_arrays(output, client.open(pending, answer))
    click.echo(f"{output}: the answer of {client.invitation.stage_count} attested stage(s)")


def _relay(connected: Sequence[Sequence[HttpReplica]]) -> Relay:
    return Relay([RelayStage(replicas) for replicas in connected])


def _connect(
    pipeline: Pipeline, given: Sequence[str], timeout: float, ca: Path | None, certificate: Path | None
) -> list[list[HttpReplica]]:
    """The replicas of each stage. Raises TzmlError where a stage has none."""
    context = client_context(ca, certificate)
    found: list[list[HttpReplica]] = [[] for _ in pipeline.stages]
    for text in given:
        number, equals, url = text.partition("=")
        if not equals or not number.isdecimal() or int(number) >= len(found):
            raise TzmlError(
                f"{text} is not STAGE=URL with a stage from 0 to {len(found) - 1}",
                "give them as in 0=http://192.168.0.7:8000/v2/models/front",
            )
        found[int(number)].append(HttpReplica(url, timeout, context))
    missing = [str(number) for number, replicas in enumerate(found) if not replicas]
    if missing:
        raise TzmlError(f"stage {missing[0]} has no device", f"give {missing[0]}=URL")
    return found
