"""`tzml grant`."""

from __future__ import annotations

import re
from pathlib import Path

import click

from tzml.bundle import OutputPolicy
from tzml.bundle.format import KEY_SIZE
from tzml.cli.options import OutputFile, passphrase_option
from tzml.cli.owner import devices_option, key_argument, opened_owner, owner_option
from tzml.device import read_device
from tzml.files import check_output, write_file
from tzml.owner.grant import NO_RIGHTS, UNLIMITED, Rights, Terms, make_grant, new_serial, programs_of
from tzml.owner.keys import load_public
from tzml.owner.known import doubts
from tzml.owner.register import Register
from tzml.owner.seal import ContentKey
from tzml.printable import printable


def parse_policy(_: click.Context, __: click.Parameter, value: str) -> tuple[OutputPolicy, int]:
    match = re.fullmatch(r"(full|top-1|ranks|sealed)|(top)-([1-9]\d*)|(rounded)-(\d{1,2})", value)
    if not match or (match[4] and int(match[5]) > 23):
        raise click.BadParameter(
            f"{value!r} is not full, top-1, top-K (as in top-5), ranks, sealed, or rounded-BITS "
            "(0 to 23, as in rounded-7)"
        )
    if match[2]:
        return OutputPolicy.top_k, int(match[3])
    if match[4]:
        return OutputPolicy.rounded, int(match[5])
    return OutputPolicy[match[1].replace("-", "_")], 0


@click.command("grant")
@key_argument
@owner_option
@devices_option("A device's record (.tzd).")
@click.option("-o", "--output", type=OutputFile(), help="Default: KEY with the suffix .tzg.")
@click.option(
    "--policy",
    default="full",
    show_default=True,
    callback=parse_policy,
    metavar="POLICY",
    help="What devices give of the outputs: full, top-1, top-K, ranks, rounded-BITS; sealed: only in records.",
)
@click.option(
    "--budget",
    type=click.IntRange(0, UNLIMITED - 1),
    metavar="RUNS",
    help="How many runs each device may make. 0 revokes earlier grants. Default: any number.",
)
@click.option(
    "--program",
    "programs",
    multiple=True,
    metavar="NAME",
    help="A program that the devices may run, as `tzml inspect` lists it; one that trains also gets the right to. "
    "May be given several times. Default: those that infer.",
)
@click.option(
    "--train",
    is_flag=True,
    help="Let the devices run all programs, and so train the model, which changes it in their sessions.",
)
@click.option(
    "--save-state",
    is_flag=True,
    help="Let each device keep what it has trained in checkpoints that it alone opens, and go on from them.",
)
@click.option(
    "--export-state",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="KEY",
    help="Let the devices export what they have trained, encrypted for this P-256 public key (PEM).",
)
@click.option(
    "--federate",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="KEY",
    help="Let the devices train a private model for the holder of this P-256 key (PEM): they take global models "
    "from it, and export to it what they have trained (docs/federated.md).",
)
@click.option(
    "--noised-updates",
    type=click.IntRange(0, UNLIMITED - 1),
    default=0,
    metavar="N",
    help="How many updates of a private model (`tzml compile --noise`) each device may make in all, under this "
    "grant and all others.",
)
@click.option("--lowest-ta-version", type=click.IntRange(0), default=0, help="Refuse older TAs.")
@click.option(
    "--serial",
    type=click.IntRange(0, 2**64 - 1),
    help="A device refuses serials lower than one it has seen. Default: from the clock.",
)
@click.option(
    "--register",
    type=click.Path(file_okay=False, path_type=Path),
    help="The folder in which `tzml device verify` lists devices.",
)
@passphrase_option
def command(
    key: Path,
    owner: str,
    devices: tuple[Path, ...],
    output: Path | None,
    policy: tuple[OutputPolicy, int],
    budget: int | None,
    programs: tuple[str, ...],
    train: bool,
    save_state: bool,
    export_state: Path | None,
    federate: Path | None,
    noised_updates: int,
    lowest_ta_version: int,
    serial: int | None,
    register: Path | None,
    passphrase_file: Path | None,
) -> None:
    """Let devices open the sealed bundle whose content key is in the file KEY (.tzk).

    A later grant replaces an earlier one on every device that sees it. A device that never sees it goes on with
    what it has: there is no clock in the secure world that the device's holder cannot stop.
    """
    path = output or key.with_suffix(".tzg")
    check_output(path, [key, *devices])
    if programs and train:
        raise click.UsageError("--train allows all programs: give either --program or --train")
    content_key = ContentKey.read(key)
    allowed, rights = programs_of(content_key, programs, train=train)
    if export_state and federate:
        raise click.UsageError("--federate is for the export key, too: leave out --export-state")
    if (save_state or export_state or federate) and not rights & Rights.train:
        raise click.UsageError(
            "--save-state, --export-state and --federate are for what is trained: give --train too"
        )
    exports = export_state or federate
    terms = Terms(
        policy=policy[0],
        argument=policy[1],
        budget=UNLIMITED if budget is None else budget,
        lowest_ta_version=lowest_ta_version,
        noised_updates=noised_updates,
        serial=new_serial() if serial is None else serial,
        programs=allowed,
        rights=(
            rights
            | (Rights.save_state if save_state else NO_RIGHTS)
            | (Rights.export_state if exports else NO_RIGHTS)
            | (Rights.federate if federate else NO_RIGHTS)
        ),
        export_key=load_public(exports) if exports else bytes(KEY_SIZE),
    )
    if noised_updates and not rights & Rights.train:
        raise click.UsageError("--noised-updates are of a training: give --train too")
    records = [read_device(device) for device in devices]
    with opened_owner(owner, passphrase_file) as signer:
        for device, record in zip(devices, records, strict=True):
            if signer.public not in record.owners:
                click.echo(f"tzml: warning: {device}: the device was not enrolled for this owner", err=True)
            warning = doubts(record, Register(register) if register else None)
            if warning:
                click.echo(f"tzml: warning: {device}: {warning}", err=True)
        data = make_grant(content_key, signer, [record.public_key for record in records], terms)
    write_file(path, data)
    runs = "any number of runs" if budget is None else f"{budget:,} runs"
    names = [program.name for number, program in enumerate(content_key.programs) if allowed >> number & 1]
    click.echo(
        f"{path}: for {len(records)} device(s); {policy[0].name.replace('_', '-')} outputs, {runs} of "
        f"{printable(', '.join(names)) if names else 'all programs'}; serial {terms.serial}"
    )
