"""Grants: what lets a device open a sealed bundle, and how far. docs/bundle.md, "Grant (.tzg)"."""

from __future__ import annotations

import enum
import hashlib
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass

from tzml.bundle import BundleError, OutputPolicy, Role
from tzml.bundle.container import GRANT_MAGIC
from tzml.bundle.format import FORMAT_VERSION, KEY_SIZE
from tzml.bundle.protection import verify_owner
from tzml.errors import TzmlError, known_names
from tzml.owner.keys import Signer
from tzml.owner.seal import ContentKey
from tzml.owner.wrapping import ROW, wrap

UNLIMITED = 2**64 - 1
MAX_RECIPIENTS = 1024
_LABEL = b"tzml grant 2"
_HEADER = struct.Struct("<8s4I32s16s64sQIIQIIQ64sQ72s")


class Rights(enum.IntFlag):
    """What may be done with a model besides running it."""

    save_state = 1
    export_state = 2
    measure = 4
    train = 8
    federate = 16


NO_RIGHTS = Rights(0)
ALL_PROGRAMS = 0xFFFF
TRAINING = (Role.accumulate, Role.update)


@dataclass(frozen=True)
class Terms:
    """What a grant allows.

    `argument` is k of top_k, or the bits of the mantissa that stay of rounded; `budget` the runs that are allowed;
    `programs` has a bit for each program; `serial` goes up with each grant for a model; `noised_updates` are those
    of a private model that a device may make in all its life.
    """

    policy: OutputPolicy = OutputPolicy.full
    argument: int = 0
    budget: int = UNLIMITED
    programs: int = 1
    rights: Rights = NO_RIGHTS
    lowest_ta_version: int = 0
    export_key: bytes = bytes(KEY_SIZE)
    serial: int = 0
    noised_updates: int = 0


def new_serial() -> int:
    """A serial above those of earlier grants: milliseconds since 1970, so that the owner keeps no count."""
    return time.time_ns() // 1_000_000


def programs_of(key: ContentKey, names: Sequence[str] = (), *, train: bool = False) -> tuple[int, Rights]:
    """The bits of the programs that a grant allows, and the right that these need.

    Args:
        key: of the sealed bundle
        names: of programs; what follows them or comes before them in the same entry point is allowed with them.
            Without any, those that infer, or with `train` all
        train: without names, let the devices train the model

    Raises TzmlError for a name that the bundle has not, or if the key does not know the bundle's programs.

    """
    if not key.programs:  # a key of an earlier version
        if names:
            raise TzmlError("the content key does not name the bundle's programs", "seal the model again")
        return ALL_PROGRAMS, Rights.train if train else NO_RIGHTS
    entries = {program.name: program.entry for program in key.programs}
    for name in names:
        if name not in entries:
            raise TzmlError(f"the model has no program {name!r}", known_names(name, list(entries)))
    named = {entries[name] for name in names}
    allowed = [
        number
        for number, program in enumerate(key.programs)
        if (program.entry in named if names else train or program.role is Role.infer)
    ]
    if not allowed:
        raise TzmlError(
            "the model has no program that infers", "name those to be run with --program, or give --train"
        )
    trains = any(key.programs[number].role in TRAINING for number in allowed)
    return sum(1 << number for number in allowed), Rights.train if trains else NO_RIGHTS


def make_grant(key: ContentKey, owner: Signer, devices: Sequence[bytes], terms: Terms) -> bytes:
    """The bytes of a grant (.tzg).

    Args:
        key: of the sealed bundle
        owner: whose key the bundle was signed with
        devices: their P-256 public keys, X and Y, 64 bytes each
        terms: what the grant allows

    Raises TzmlError for no device, too many, or a key that is no point of P-256.

    """
    recipients = wrap(key.secret, devices, _LABEL + key.bundle_digest + owner.public)
    if not 1 <= len(recipients) <= MAX_RECIPIENTS:
        raise TzmlError(f"a grant is for 1 to {MAX_RECIPIENTS} devices, not {len(recipients)}")
    size = _HEADER.size + len(recipients) * ROW.size + KEY_SIZE
    data = _HEADER.pack(
        GRANT_MAGIC, FORMAT_VERSION, size, len(recipients), 0, key.bundle_digest, key.model_id, owner.public,
        terms.serial, terms.policy, terms.argument, terms.budget, terms.programs, terms.rights,
        terms.lowest_ta_version, terms.export_key, terms.noised_updates, b"",
    )  # fmt: skip
    data += b"".join(recipients)
    return data + owner.sign(hashlib.sha256(data).digest())


@dataclass(frozen=True)
class Grant:
    """A grant that was read: whose it is, what it allows, and the ids of the devices' keys."""

    bundle_digest: bytes
    model_id: bytes
    owner: bytes
    terms: Terms
    key_ids: tuple[bytes, ...]


def read_grant(data: bytes) -> Grant:
    """Read a grant as a device checks it. Raises BundleError (GRANT_MALFORMED, SIGNATURE, UNSUPPORTED)."""

    def check(condition: bool, what: str) -> None:
        if not condition:
            raise BundleError("GRANT_MALFORMED", what, "get the grant from the owner again")

    check(len(data) >= _HEADER.size + ROW.size + KEY_SIZE, f"a grant of {len(data)} bytes")
    (
        magic, version, size, count, required, digest, model_id, owner, serial, policy, argument, budget, programs,
        rights, lowest, export_key, noised_updates, reserved,
    ) = _HEADER.unpack_from(data)  # fmt: skip
    check(magic == GRANT_MAGIC and version == FORMAT_VERSION, "the file is not a grant of format 2")
    check(1 <= count <= MAX_RECIPIENTS, f"{count} recipients")
    expected = _HEADER.size + count * ROW.size + KEY_SIZE
    check(size == expected == len(data), f"{len(data)} bytes, not {expected}")
    verify_owner(owner, hashlib.sha256(data[:-KEY_SIZE]).digest(), data[-KEY_SIZE:])
    if required:
        what = "the grant requires what this version does not know"
        raise BundleError("UNSUPPORTED", what, "read it with the version of tzml that wrote it")
    check(not any(reserved), "reserved bytes are not zero")
    check(policy in OutputPolicy._value2member_map_, f"output policy {policy}")
    limits = {OutputPolicy.top_k: (1, 2**32 - 1), OutputPolicy.rounded: (0, 23)}
    low, high = limits.get(OutputPolicy(policy), (0, 0))
    check(low <= argument <= high, f"{argument} for the output policy {OutputPolicy(policy).name}")
    check(0 < programs < 1 << 16 and rights <= sum(Rights), f"programs {programs:#x}, rights {rights:#x}")
    leaves = rights & (Rights.export_state | Rights.federate)
    check(not leaves or any(export_key), "state may be exported, and there is no key for it")
    rows = [ROW.unpack_from(data, _HEADER.size + i * ROW.size) for i in range(count)]
    ids = [row[0] for row in rows]
    check(ids == sorted(set(ids)) and not any(any(row[3]) for row in rows), "the recipients are out of order")
    terms = Terms(
        OutputPolicy(policy), argument, budget, programs, Rights(rights), lowest, export_key, serial, noised_updates
    )
    return Grant(digest, model_id, owner, terms, tuple(ids))
