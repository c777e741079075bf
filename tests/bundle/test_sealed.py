"""What a device takes of sealed bundles and grants, as an attacker with all files tries it; by the TA's own code.

The device is tests/c/load_bundle.c, with OpenSSL for OP-TEE's cryptography.
"""

from __future__ import annotations

import hashlib
import secrets
import struct
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bundle_examples import ANSWER, BUNDLE, HEADER, MEMORY, PROGRAM, ROW, content, partition, stateful
from bundle_examples import seal as with_digests
from cryptography.hazmat.primitives.asymmetric import ec

from tzml.bundle import (
    Bundle,
    BundleError,
    Chunk,
    DType,
    OutputPolicy,
    Port,
    Region,
    Role,
    SectionType,
    Tensor,
    Worlds,
    container,
    decode,
    read_section,
)
from tzml.bundle.format import align
from tzml.bundle.protection import AesGcm
from tzml.owner.grant import Terms, make_grant, read_grant
from tzml.owner.keys import OwnerKey, coordinates
from tzml.owner.seal import ContentKey, for_tee, seal

OWNER, OTHER = (OwnerKey(ec.derive_private_key(number, ec.SECP256R1())) for number in (11, 12))
DEVICES = [ec.derive_private_key(number, ec.SECP256R1()) for number in (21, 22)]
PUBLIC = [coordinates(device.public_key()) for device in DEVICES]
TERMS = Terms(serial=5)

Array = np.ndarray[tuple[int, ...], np.dtype[Any]]


@dataclass(frozen=True)
class Sealed:
    """A sealed bundle with the key that grants carry."""

    path: Path
    key: ContentKey

    def grant(self, owner: OwnerKey = OWNER, device: int = 0, **terms: Any) -> bytes:
        return make_grant(self.key, owner, [PUBLIC[device]], replace(TERMS, **terms))


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Sealed]:
    folder = tmp_path_factory.mktemp("sealed")
    count = iter(range(100))

    def make(bundle: Bundle = BUNDLE, owner: OwnerKey = OWNER) -> Sealed:
        path = folder / f"{next(count)}.tzm"
        return Sealed(path, seal(bundle, owner, path))

    return make


@pytest.fixture(scope="module")
def sealed(make: Callable[..., Sealed]) -> Sealed:
    return make()


class Device:
    """Opens and runs one bundle after another, and remembers what the TA remembers."""

    def __init__(self, program: Path, folder: Path, number: int = 0, *, release: bool = False) -> None:
        self.program, self.folder = program, folder
        self.options = ["--sealed-only"] if release else []
        self.key = f"{DEVICES[number].private_numbers().private_value:064x}"

    def open(self, *steps: tuple[bytes | Path, bytes | None] | tuple[bytes | Path, bytes | None, int]) -> list[str]:
        """The status and the answer's bytes of each step: a bundle, a grant, and how often it is run."""
        return [f"{status} {answer}" for status, _, answer in self._run(steps)]

    def status(self, bundle: bytes | Path, grant: bytes | None, runs: int = 1) -> str:
        ((status, _, _),) = self._run([(bundle, grant, runs)])
        return status

    def answer(self, bundle: bytes | Path, grant: bytes | None) -> bytes:
        ((status, _, answer),) = self._run([(bundle, grant)])
        assert status == "SUCCESS"
        return bytes.fromhex(answer)

    def _run(self, steps: object) -> list[list[str]]:
        arguments = []
        for number, (bundle, grant, *runs) in enumerate(steps):  # type: ignore[arg-type, var-annotated]
            paths = []
            for kind, data in (("tzm", bundle), ("tzg", grant or b"")):
                path = data if isinstance(data, Path) else self.folder / f"{number}.{kind}"
                if isinstance(data, bytes):
                    path.write_bytes(data)
                paths.append(str(path) if data else "")
            arguments.append(",".join([*paths, *map(str, runs)]))
        command: list[str | Path] = [
            self.program,
            "61",
            str(1 << 32),
            *self.options,
            "--device",
            self.key,
            *arguments,
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return [line.split() for line in done.stdout.splitlines()]


@pytest.fixture
def device(c_tests: Path, tmp_path: Path) -> Device:
    return Device(c_tests / "load_bundle", tmp_path)


def test_a_granted_device_computes_what_the_clear_bundle_computes(device: Device, sealed: Sealed) -> None:
    answer = device.answer(sealed.path, sealed.grant())
    assert answer == device.answer(BUNDLE.encode(), None) == struct.pack("<f", ANSWER)


def test_nothing_that_is_sealed_is_in_the_file(sealed: Sealed) -> None:
    data = sealed.path.read_bytes()
    for section in BUNDLE.sections():
        if section.type not in (SectionType.interface, SectionType.metadata) and len(section.content) > 8:
            assert section.content.tobytes() not in data
    assert b"example" not in data  # the model's name
    assert read_section(sealed.path, SectionType.metadata) == b""


def test_its_owner_reads_all_of_it(sealed: Sealed) -> None:
    opened = decode(sealed.path.read_bytes(), sealed.key.secret)
    assert opened.chunks == BUNDLE.chunks
    assert opened.model_id == BUNDLE.model_id
    assert b'"name": "example"' in opened.notes


def test_sealing_again_takes_another_key_and_shares_no_ciphertext(make: Callable[..., Sealed]) -> None:
    one, two = make(), make()
    assert one.key.secret != two.key.secret
    first, second = one.path.read_bytes(), two.path.read_bytes()
    for row in container.read_table(first).rows:
        if row.protection and row.size > 16:
            assert first[row.offset : row.offset + 16] != second[row.offset : row.offset + 16]


def test_another_device_is_refused(c_tests: Path, tmp_path: Path, sealed: Sealed) -> None:
    assert Device(c_tests / "load_bundle", tmp_path, 1).status(sealed.path, sealed.grant()) == "GRANT_DEVICE"


def test_one_grant_is_for_many_devices(c_tests: Path, tmp_path: Path, sealed: Sealed) -> None:
    others = [coordinates(ec.derive_private_key(n, ec.SECP256R1()).public_key()) for n in range(50, 90)]
    grant = make_grant(sealed.key, OWNER, [*others, *PUBLIC], TERMS)
    for number in range(2):
        assert Device(c_tests / "load_bundle", tmp_path, number).status(sealed.path, grant) == "SUCCESS"


def test_every_changed_byte_of_a_grant_is_noticed(device: Device, sealed: Sealed) -> None:
    grant = sealed.grant()
    flipped = [grant[:at] + bytes([grant[at] ^ 1]) + grant[at + 1 :] for at in range(len(grant))]
    statuses = device.open(*((sealed.path, data) for data in flipped))
    assert {status.split()[0] for status in statuses} <= {"GRANT_MALFORMED", "GRANT_OTHER", "SIGNATURE"}
    for data in flipped:
        with pytest.raises(BundleError):
            read_grant(data)


@pytest.mark.parametrize("size", [0, 1, 319, 320, 543, 544 - 1, 544 + 160])
def test_a_grant_of_another_size_is_refused(device: Device, sealed: Sealed, size: int) -> None:
    grant = (sealed.grant() + bytes(200))[:size]
    assert device.status(sealed.path, grant) == ("GRANT_ABSENT" if not size else "GRANT_MALFORMED")


def test_every_changed_bit_of_a_sealed_section_is_noticed(device: Device, sealed: Sealed) -> None:
    data, steps = sealed.path.read_bytes(), []
    for row in container.read_table(data).rows:
        if row.protection and row.type != SectionType.notes:  # which nobody needs for running
            for at in (row.offset, row.offset + row.size - 1):
                steps.append((data[:at] + bytes([data[at] ^ 128]) + data[at + 1 :], sealed.grant()))
    assert len(steps) >= 8
    assert {status.split()[0] for status in device.open(*steps)} == {"SECTION_DIGEST"}


def test_the_table_cannot_be_changed_even_with_right_digests(device: Device, sealed: Sealed) -> None:
    data = sealed.path.read_bytes()
    steps = []
    for row in container.read_table(data).rows:
        clear = bytearray(data)
        clear[HEADER + row.number * ROW + 9] = 0  # as if the section were clear
        steps.append((with_digests(bytes(clear)), sealed.grant()))
    steps.append((with_digests(data[:48] + struct.pack("<Q", 99) + data[56:]), sealed.grant()))
    assert {status.split()[0] for status in device.open(*steps)} == {"SIGNATURE"}


def test_sections_of_another_sealing_do_not_fit(device: Device, make: Callable[..., Sealed]) -> None:
    one, two = make(), make()
    first, second = one.path.read_bytes(), two.path.read_bytes()
    row = next(row for row in container.read_table(first).rows if row.type == SectionType.weights)
    place = slice(row.offset, row.offset + row.size)
    mixed = first[: place.start] + second[place] + first[place.stop :]
    assert device.status(mixed, one.grant()) == "SECTION_DIGEST"


def test_a_grant_opens_only_the_bundle_it_was_made_for(device: Device, make: Callable[..., Sealed]) -> None:
    one, two = make(), make()
    assert device.status(one.path, two.grant()) == "GRANT_OTHER"
    stolen = make(owner=OTHER)
    assert device.status(stolen.path, one.grant()) == "GRANT_OTHER"
    # an owner who takes another's content key into a grant of its own
    lent = Sealed(stolen.path, replace(stolen.key, secret=one.key.secret))
    assert device.status(stolen.path, lent.grant(owner=OTHER)) == "SECTION_DIGEST"
    assert device.status(one.path, one.grant(owner=OTHER)) == "GRANT_OTHER"


def test_a_later_grant_replaces_an_earlier_one_for_good(device: Device, sealed: Sealed) -> None:
    old, new, revoked = sealed.grant(), sealed.grant(serial=6), sealed.grant(serial=7, budget=0)
    steps = [(sealed.path, grant) for grant in (old, old, new, old, new, revoked, new)]
    statuses = [status.split()[0] for status in device.open(*steps)]
    assert statuses == ["SUCCESS", "SUCCESS", "SUCCESS", "GRANT_OLD", "SUCCESS", "BUDGET", "GRANT_OLD"]


def test_an_older_version_of_a_model_is_refused(device: Device, make: Callable[..., Sealed]) -> None:
    old, new = (make(replace(BUNDLE, model_version=version)) for version in (3, 4))
    statuses = device.open((old.path, old.grant()), (new.path, new.grant()), (old.path, old.grant()))
    assert [status.split()[0] for status in statuses] == ["SUCCESS", "SUCCESS", "MODEL_OLD"]


def test_a_budget_is_reserved_ahead_and_never_exceeded(device: Device, sealed: Sealed) -> None:
    grant = sealed.grant(budget=100)
    statuses = device.open((sealed.path, grant, 64), (sealed.path, grant, 36), (sealed.path, grant, 1))
    assert [status.split()[0] for status in statuses] == ["SUCCESS", "SUCCESS", "BUDGET"]
    assert device.status(sealed.path, grant, 101) == "BUDGET"
    # a run of a new session takes a block of 64 with it
    statuses = device.open((sealed.path, grant, 1), (sealed.path, grant, 36), (sealed.path, grant, 1))
    assert [status.split()[0] for status in statuses] == ["SUCCESS", "SUCCESS", "BUDGET"]


@pytest.mark.parametrize(
    ("terms", "status"),
    [
        ({"rights": 13}, "SUCCESS"),
        ({"rights": 31, "export_key": OTHER.public}, "SUCCESS"),
        ({"rights": 32, "export_key": OTHER.public}, "GRANT_MALFORMED"),
        ({"rights": 2}, "GRANT_MALFORMED"),
        ({"lowest_ta_version": 3}, "SUCCESS"),
        ({"programs": 2}, "GRANT_PROGRAM"),
        ({"programs": 1 << 15}, "GRANT_PROGRAM"),
        ({"lowest_ta_version": 4}, "TA_OLD"),
        ({"lowest_ta_version": 4, "rights": 16}, "GRANT_MALFORMED"),
        ({"policy": OutputPolicy.top_k, "argument": 2}, "OUTPUT_POLICY"),
        ({"programs": 0}, "GRANT_MALFORMED"),
        ({"programs": 1 << 16}, "GRANT_MALFORMED"),
        ({"rights": 16}, "GRANT_MALFORMED"),
        ({"policy": OutputPolicy.sealed}, "OUTPUT_POLICY"),
        ({"policy": 6}, "GRANT_MALFORMED"),
        ({"policy": OutputPolicy.top_k, "argument": 0}, "GRANT_MALFORMED"),
        ({"policy": OutputPolicy.top_1, "argument": 1}, "GRANT_MALFORMED"),
        ({"policy": OutputPolicy.rounded, "argument": 24}, "GRANT_MALFORMED"),
    ],
)
def test_what_a_grant_does_not_allow_is_refused(
    device: Device, sealed: Sealed, terms: dict[str, Any], status: str
) -> None:
    assert device.status(sealed.path, sealed.grant(**terms)) == status


@pytest.mark.parametrize(
    ("role", "rights", "status"),
    [
        (Role.accumulate, 5, "GRANT_PROGRAM"),
        (Role.accumulate, 8, "SUCCESS"),
        (Role.update, 5, "GRANT_PROGRAM"),
        (Role.update, 8, "SUCCESS"),
        (Role.evaluate, 0, "SUCCESS"),
    ],
)
def test_training_takes_a_right_of_its_own(
    device: Device, make: Callable[..., Sealed], role: Role, rights: int, status: str
) -> None:
    model = make(replace(BUNDLE, programs=(replace(PROGRAM, role=role),)))
    assert device.status(model.path, model.grant(rights=rights)) == status


RECIPIENTS, RECIPIENT = 320, 160  # where they begin, and how long one is


def signed(data: bytes, owner: OwnerKey = OWNER) -> bytes:
    """A grant's bytes with the owner's signature made again."""
    return data[:-64] + owner.sign(hashlib.sha256(data[:-64]).digest())


def changed(grant: bytes, at: int, new: bytes) -> bytes:
    return signed(grant[:at] + new + grant[at + len(new) :])


def with_recipients(grant: bytes, *recipients: bytes) -> bytes:
    data = grant[:RECIPIENTS] + b"".join(recipients) + bytes(64)
    return signed(data[:12] + struct.pack("<II", len(data), len(recipients)) + data[20:])


def statuses_of(device: Device, sealed: Sealed, *grants: bytes) -> list[str]:
    return [status.split()[0] for status in device.open(*((sealed.path, grant) for grant in grants))]


def refusal(grant: bytes) -> str:
    """What Python's reader says."""
    with pytest.raises(BundleError) as caught:
        read_grant(grant)
    return caught.value.status


def test_fields_that_this_version_does_not_know_are_refused(device: Device, sealed: Sealed) -> None:
    grant = sealed.grant(lowest_ta_version=4)  # too new as well, which is looked at later
    wrong = [changed(grant, at, b"\1") for at in (20, 248, 319, 0, 8, RECIPIENTS + 145, RECIPIENTS + 159)]
    expected = ["UNSUPPORTED", *["GRANT_MALFORMED"] * 6]
    assert statuses_of(device, sealed, *wrong) == expected
    assert [refusal(data) for data in wrong] == expected


def test_recipients_are_in_order_and_there_is_one_at_least(device: Device, sealed: Sealed) -> None:
    other = coordinates(ec.derive_private_key(50, ec.SECP256R1()).public_key())
    grant = make_grant(sealed.key, OWNER, [PUBLIC[0], other], TERMS)
    one, two = (grant[RECIPIENTS + i * RECIPIENT :][:RECIPIENT] for i in range(2))
    # ids that differ in their last byte
    near, nearer = (one[:31] + bytes([number]) + one[32:] for number in (1, 2))
    assert statuses_of(device, sealed, with_recipients(grant, near, nearer)) == ["GRANT_DEVICE"]
    own = next(row for row in (one, two) if row[:32] == hashlib.sha256(b"\4" + PUBLIC[0]).digest())
    almost = own[:31] + bytes([own[31] ^ 1]) + own[32:]
    assert statuses_of(device, sealed, with_recipients(grant, almost)) == ["GRANT_DEVICE"]
    wrong = [
        with_recipients(grant, *rows) for rows in ((two, one), (one, one, two), (own, own), (nearer, near), ())
    ]
    wrong.append(with_recipients(grant)[:-64] + bytes(RECIPIENT + 64))  # of the size of one
    assert set(statuses_of(device, sealed, *wrong, signed(wrong[-1]))) == {"GRANT_MALFORMED"}
    assert {refusal(data) for data in wrong} == {"GRANT_MALFORMED"}
    assert statuses_of(device, sealed, with_recipients(grant, one, two)) == ["SUCCESS"]


def test_a_grant_is_for_1024_devices_at_most(device: Device, sealed: Sealed) -> None:
    grant = sealed.grant()
    own = grant[RECIPIENTS:][:RECIPIENT]
    others = [struct.pack(">I", i) + bytes(28) + own[32:] for i in range(1, 1025)]
    full = with_recipients(grant, *sorted([own, *others[1:]]))
    over = with_recipients(grant, *sorted([own, *others]))
    assert statuses_of(device, sealed, full, over) == ["SUCCESS", "GRANT_MALFORMED"]
    assert len(read_grant(full).key_ids) == 1024
    assert refusal(over) == "GRANT_MALFORMED"


def test_a_key_that_does_not_open_was_granted_wrongly(device: Device, sealed: Sealed) -> None:
    grant = sealed.grant()
    forms = [changed(grant, RECIPIENTS + 32, form) for form in (b"\0", b"\2", b"\3")]  # of a point; DHKEM has 4
    wrapped, tag = (changed(grant, at, bytes([grant[at] ^ 1])) for at in (RECIPIENTS + 97, RECIPIENTS + 144))
    assert set(statuses_of(device, sealed, *forms, wrapped, tag)) == {"GRANT_MALFORMED"}


def patched(data: bytes, at: int, new: bytes) -> bytes:
    """A bundle with other bytes in its header or table, which its owner signed."""
    out = bytearray(data)
    out[at : at + len(new)] = new
    (size,) = struct.unpack_from("<I", out, 12)
    out[224:256] = hashlib.sha256(out[:224] + bytes(96) + out[HEADER:size]).digest()
    out[256:320] = OWNER.sign(bytes(out[224:256]))
    return bytes(out)


def granted(sealed: Sealed, bundle: bytes, **terms: Any) -> tuple[bytes, bytes]:
    """A bundle that was patched, with a grant for it."""
    key = replace(sealed.key, bundle_digest=bundle[224:256])
    return bundle, make_grant(key, OWNER, [PUBLIC[0]], replace(TERMS, **terms))


def test_a_tag_has_zeros_behind_it(device: Device, sealed: Sealed) -> None:
    data = sealed.path.read_bytes()
    row = next(row for row in container.read_table(data).rows if row.type == SectionType.weights)
    for byte in (16, 31):
        wrong = patched(data, HEADER + row.number * ROW + 32 + byte, b"\1")
        assert device.status(*granted(sealed, wrong)) == "SECTION_DIGEST"
        with pytest.raises(BundleError) as caught:
            decode(wrong, sealed.key.secret)
        assert caught.value.status == "SECTION_DIGEST"


def test_what_was_seen_sealed_is_not_taken_clear(device: Device, make: Callable[..., Sealed]) -> None:
    sealed, clear = make(), BUNDLE.encode()
    steps = device.open((clear, None), (sealed.path, sealed.grant()), (clear, None), (sealed.path, sealed.grant()))
    assert [status.split()[0] for status in steps] == ["SUCCESS", "SUCCESS", "DOWNGRADE", "SUCCESS"]


def test_a_section_that_is_sealed_for_the_other_world_does_not_count(device: Device, sealed: Sealed) -> None:
    """A clear bundle stays one, whatever it says of sections that this world does not read."""
    data = patched(partition(Worlds.tee, Worlds.ree).encode(), 80, OWNER.public)
    rows = [row.number for row in container.read_table(data).rows if row.worlds == Worlds.ree]
    for number in rows:
        data = patched(data, HEADER + number * ROW + 9, b"\1")
    steps = device.open((data, None), (sealed.path, sealed.grant()), (data, None))
    assert rows
    assert [status.split()[0] for status in steps] == ["SUCCESS", "SUCCESS", "DOWNGRADE"]


STATEFUL = stateful()
COMPUTED = {section.type for section in STATEFUL.sections() if Worlds.tee in section.worlds} - {
    SectionType.interface,
    SectionType.metadata,
    SectionType.notes,
}
"""Kinds of sections that the secure world computes with."""
assert len(COMPUTED) == 5


def sealed_but_for(clear: SectionType | None, path: Path, bundle: Bundle = BUNDLE) -> Sealed:
    """A bundle that OTHER, whom no device knows, has signed: all that the TEE computes with is sealed but one kind.

    With `clear` None, nothing of that is sealed, and only the notes are.
    """
    parts, secret = for_tee(bundle), secrets.token_bytes(32)
    computed = (section for section in parts.sections() if section.worlds == Worlds.tee)
    kinds = {section.type for section in computed} - {clear} if clear else {SectionType.notes}
    sections = [
        replace(section, protection=AesGcm(secret)) if section.type in kinds else section
        for section in parts.sections()
    ]
    with path.open("w+b") as file:
        digest = container.write(file, replace(parts.header(), owner=OTHER.public), sections, OTHER.sign)
    return Sealed(path, ContentKey(digest, bundle.model_id.bytes, secret))


def test_one_sealed_section_makes_no_sealed_bundle(device: Device, sealed: Sealed, tmp_path: Path) -> None:
    """Anybody can seal notes, which the TA does not read, and sign with a new key."""
    path = sealed_but_for(None, tmp_path / "notes.tzm").path
    steps = device.open((path, None), (sealed.path, sealed.grant()), (path, None))
    assert [status.split()[0] for status in steps] == ["SUCCESS", "SUCCESS", "DOWNGRADE"]


def test_each_kind_of_section_that_is_computed_with_has_to_be_sealed(
    device: Device, make: Callable[..., Sealed], tmp_path: Path
) -> None:
    """A device that has seen the model sealed refuses it with any of them clear, before it asks for a grant."""
    known = make(STATEFUL)
    for kind in COMPUTED:
        path = sealed_but_for(kind, tmp_path / "one.tzm", STATEFUL).path
        assert device.open((known.path, known.grant()), (path, None))[-1].split()[0] == "DOWNGRADE", kind


def test_a_release_runs_nothing_of_which_a_part_is_clear(
    c_tests: Path, tmp_path: Path, make: Callable[..., Sealed]
) -> None:
    release = Device(c_tests / "load_bundle", tmp_path, release=True)
    complete = make(STATEFUL)
    assert release.answer(complete.path, complete.grant()) == struct.pack("<f", ANSWER)
    for kind in COMPUTED:
        one = sealed_but_for(kind, tmp_path / "one.tzm", STATEFUL)
        assert release.status(one.path, one.grant(OTHER)) == "UNSEALED", kind
    for clear in (STATEFUL.encode(), patched(STATEFUL.encode(), 80, OWNER.public)):
        assert release.status(clear, None) == "UNSEALED"
    assert release.status(sealed_but_for(None, tmp_path / "notes.tzm").path, None) == "UNSEALED"
    notes = sealed_but_for(SectionType.notes, tmp_path / "but-notes.tzm", STATEFUL)
    assert release.status(notes.path, notes.grant(OTHER)) == "SUCCESS"  # nothing is computed with them


def test_a_release_leaves_the_normal_worlds_part_to_the_normal_world(
    c_tests: Path, tmp_path: Path, make: Callable[..., Sealed]
) -> None:
    model = make(partition(Worlds.tee, Worlds.ree))
    release = Device(c_tests / "load_bundle", tmp_path, release=True)
    assert release.status(model.path, model.grant()) == "SUCCESS"


def test_each_program_is_allowed_by_its_own_bit(device: Device, make: Callable[..., Sealed]) -> None:
    model = make(partition())
    statuses = [device.status(model.path, model.grant(programs=bits)) for bits in (1, 2, 3)]
    assert statuses == ["GRANT_PROGRAM", "GRANT_PROGRAM", "SUCCESS"]


def test_the_last_of_sixteen_programs_obeys_the_policy_too(device: Device, make: Callable[..., Sealed]) -> None:
    other = Tensor("last", DType.int32, BUNDLE.tensors[1].shape, BUNDLE.tensors[1].direction)
    programs = [replace(PROGRAM, name=f"p{entry}", entry=entry) for entry in range(16)]
    programs[15] = replace(programs[15], outputs=(Port(2, 128),))
    model = make(replace(BUNDLE, tensors=(*BUNDLE.tensors, other), programs=tuple(programs)))
    rounded = model.grant(policy=OutputPolicy.rounded, argument=4)
    assert device.status(model.path, rounded) == "OUTPUT_POLICY"
    assert device.status(model.path, model.grant()) == "SUCCESS"


def that_answers(values: Array) -> Bundle:
    """A model that answers with its state, which has these numbers."""
    output = Tensor("score", DType[values.dtype.name], values.shape, BUNDLE.tensors[1].direction)
    program = replace(PROGRAM, outputs=(Port(1, 0, Region.state),), calls=PROGRAM.calls[:1])
    memory = replace(MEMORY, state_size=align(values.nbytes), pieces=(Chunk(values.nbytes, 0),))
    return replace(
        BUNDLE,
        tensors=(BUNDLE.tensors[0], output),
        programs=(program,),
        memories=(memory,),
        pieces=content(values.tobytes()),
    )


NUMBERS = {
    "float32": [0.5, -1.0, np.inf, np.nan, -np.inf, 0.0, -0.0, 3.0, 3.0, -np.nan, 1e-45, -1e-45],
    "float16": [0.5, -1.0, np.inf, np.nan, -np.inf, 0.0, -0.0, 3.0, 3.0, 6e-8],
    "int8": [0, -128, 127, 5, 5, -1],
    "uint8": [0, 128, 255, 5, 5, 254],
    "int16": [0, -(2**15), 2**15 - 1, 5, 5, -1],
    "int32": [0, -(2**31), 2**31 - 1, 5, 5, -1],
    "int64": [0, -(2**63), 2**63 - 1, 5, 5, -1],
    "bool": [False, True, False, True],
    "uint16": [0, 2**15, 2**16 - 1, 5, 5, 256],
    "uint32": [0, 2**31, 2**32 - 1, 5, 5, 2**16],
    "uint64": [0, 2**63, 2**64 - 1, 5, 5, 2**63 - 1],
    "float64": [1.0, np.nan, -np.inf, -0.0, 0.0, np.inf, -5e-324, 1 + 2**-52],
}


def ranked(row: Array) -> list[int]:
    """Indices, largest first; the first of equal ones first; NaN last. By Python's sort."""
    return sorted(
        range(len(row)), key=lambda i: (bool(row[i] != row[i]), -row[i].item() if row[i] == row[i] else 0)
    )


@pytest.mark.parametrize("dtype", NUMBERS)
def test_indices_are_those_of_the_largest_numbers(device: Device, make: Callable[..., Sealed], dtype: str) -> None:
    values = np.array([NUMBERS[dtype]], dtype)
    expected = ranked(values[0])
    model = make(that_answers(values))

    def answer(policy: OutputPolicy, argument: int = 0) -> list[int]:
        given = device.answer(model.path, model.grant(policy=policy, argument=argument))
        return [int(index) for index in np.frombuffer(given, np.int32)]

    assert answer(OutputPolicy.ranks) == expected
    assert answer(OutputPolicy.top_1) == expected[:1]
    assert answer(OutputPolicy.top_k, 3) == expected[:3]
    assert device.answer(model.path, model.grant()) == values.tobytes()


def test_indices_count_along_the_last_dimension(device: Device, make: Callable[..., Sealed]) -> None:
    values = np.array([[1, 3, 2], [9, 7, 8]], np.float32)
    model = make(that_answers(values))
    answer = device.answer(model.path, model.grant(policy=OutputPolicy.top_k, argument=2))
    assert np.frombuffer(answer, np.int32).tolist() == [1, 2, 0, 2]


@pytest.mark.parametrize("bits", [0, 1, 7, 22, 23])
def test_numbers_are_rounded_half_to_even(device: Device, make: Callable[..., Sealed], bits: int) -> None:
    numbers = [1.0, 1.5, 1.25, 1.75, -2.625, 3.4e38, 1e-45, 0.1, np.inf, -np.inf, np.pi, 0.0, -0.0]
    values = np.array([numbers], np.float32)
    model = make(that_answers(values))
    grant = model.grant(policy=OutputPolicy.rounded, argument=bits)
    answer = np.frombuffer(device.answer(model.path, grant), np.float32)
    mantissa, exponent = np.frexp(values[0].astype(np.float64))
    with np.errstate(over="ignore", invalid="ignore"):
        expected = np.ldexp(np.rint(np.ldexp(mantissa, bits + 1)), exponent - bits - 1).astype(np.float32)
    normal = (np.abs(values[0]) > 1e-37) | (values[0] == 0)  # the smallest numbers have fewer bits of their own
    np.testing.assert_array_equal(answer[normal], expected[normal])


def test_a_nan_that_is_rounded_carries_nothing_out(device: Device, make: Callable[..., Sealed]) -> None:
    values = np.array([[0x7FC01234, 0xFFABCDEF]], np.uint32).view(np.float32)
    model = make(that_answers(values))
    answer = device.answer(model.path, model.grant(policy=OutputPolicy.rounded, argument=23))
    assert np.frombuffer(answer, np.uint32).tolist() == [0x7FC00000] * 2


@pytest.mark.parametrize("dtype", ["int32", "uint32", "float16", "float64"])
def test_nothing_but_float32_is_rounded(device: Device, make: Callable[..., Sealed], dtype: str) -> None:
    model = make(that_answers(np.array([[1, 2]], dtype)))
    assert device.status(model.path, model.grant(policy=OutputPolicy.rounded, argument=4)) == "OUTPUT_POLICY"


def test_a_policy_is_refused_where_the_normal_world_computes_the_answer(
    device: Device, make: Callable[..., Sealed]
) -> None:
    model = make(partition(Worlds.tee, Worlds.ree))
    assert device.status(model.path, model.grant(policy=OutputPolicy.top_1)) == "OUTPUT_POLICY"
    assert device.status(model.path, model.grant()) == "SUCCESS"
