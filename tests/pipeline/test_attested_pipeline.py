"""An attested pipeline as its owner, clients and carriers of records see it. Stages are the TA's own code."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from bundle_examples import ANSWER, BUNDLE, INPUT, OWNER
from cryptography.hazmat.primitives.asymmetric import ec
from pipeline_example import signed, stage

from tzml.bundle import BundleError, OutputPolicy
from tzml.errors import TzmlError
from tzml.owner.attestation import EvidenceError, Refusal
from tzml.owner.grant import Terms, make_grant
from tzml.owner.keys import OwnerKey, coordinates
from tzml.owner.seal import seal
from tzml.pipeline.client import Client, Pending
from tzml.pipeline.description import Invitation, Pipeline, read_keys, write_keys
from tzml.pipeline.record import HEADER_SIZE, open_record, read_record
from tzml.pipeline.relay import Relay, RelayStage
from tzml.pipeline.release import EpochKeys
from tzml.pipeline.verifier import Verifier

from .stage_device import IMAGE, TA, RefusedError, StageDevice, attested, fresh, register

IMAGE_INPUT = {"image": np.frombuffer(INPUT, np.float32).reshape(1, 4, 4)}
PRIVATE = "11" * 32
DEVICE = coordinates(ec.derive_private_key(int(PRIVATE, 16), ec.SECP256R1()).public_key())


@dataclass
class Studio:
    """The owner's side: bundles, the pipeline, the verifier of its epoch; and devices."""

    bundles: list[bytes]
    grants: list[bytes]
    pipeline: Pipeline
    verifier: Verifier
    start: Callable[[], StageDevice]

    def next_epoch(self) -> None:
        keys = EpochKeys.new(self.pipeline.id, self.verifier.keys.epoch + 1, len(self.pipeline.stages))
        self.verifier = replace(self.verifier, keys=keys)

    def admit(self, device: StageDevice, number: int, *, opened: bool = False) -> bytes:
        """Let a device in as a stage: the release."""
        nonce = self.verifier.ask()
        release = self.verifier.release(number, attested(device.begin(nonce), nonce))
        if not opened:
            device.open(self.bundles[number], self.grants[number])
        device.join(release)
        return release

    def stage(self, number: int) -> StageDevice:
        device = self.start()
        self.admit(device, number)
        return device

    def client(self) -> Client:
        return Client(Invitation.of(self.pipeline, self.verifier.keys))


@pytest.fixture
def start(c_tests: Path) -> Iterator[Callable[[], StageDevice]]:
    devices: list[StageDevice] = []

    def start() -> StageDevice:
        devices.append(StageDevice(c_tests / "stage_device", PRIVATE))
        return devices[-1]

    yield start
    for device in devices:
        device.close()


def make_studio(
    folder: Path, start: Callable[[], StageDevice], bundles: list[bytes], grants: list[bytes]
) -> Studio:
    paths = [folder / f"{number}.tzm" for number in range(len(bundles))]
    for path, data in zip(paths, bundles, strict=True):
        path.write_bytes(data)
    pipeline = Pipeline.of(paths)
    keys = EpochKeys.new(pipeline.id, 1, len(bundles))
    verifier = Verifier(pipeline, keys, OWNER, IMAGE, register(folder / "devices"))
    return Studio(bundles, grants, pipeline, verifier, start)


@pytest.fixture
def studio(tmp_path: Path, start: Callable[[], StageDevice]) -> Studio:
    """Two stages, signed and clear."""
    return make_studio(tmp_path, start, [signed(stage(number)) for number in range(2)], [b"", b""])


def test_two_stages_give_the_bits_of_the_unsplit_model(studio: Studio) -> None:
    whole = studio.start()
    whole.open(signed(BUNDLE))
    client = studio.client()
    relay = Relay([RelayStage([studio.stage(number)]) for number in range(2)])
    numbers = np.random.default_rng(0)
    for _ in range(20):
        inputs = {"image": numbers.standard_normal((1, 4, 4), np.float32)}
        record, pending = client.seal(inputs)
        answer = client.open(pending, relay.run(record))
        assert answer["score"].tobytes() == whole.ask("C", inputs["image"].tobytes())


def test_one_device_answers_sealed_requests_as_a_pipeline_of_one_stage(
    tmp_path: Path, start: Callable[[], StageDevice]
) -> None:
    studio = make_studio(tmp_path, start, [signed(BUNDLE)], [b""])
    client, device = studio.client(), studio.stage(0)
    record, pending = client.seal(IMAGE_INPUT)
    assert client.open(pending, device.run(record))["score"].tolist() == [ANSWER]


def test_sealed_stages_give_outputs_in_records_only(tmp_path: Path, start: Callable[[], StageDevice]) -> None:
    bundles, grants = [], []
    for number in range(2):
        path = tmp_path / f"sealed-{number}.tzm"
        key = seal(stage(number), OWNER, path)
        bundles.append(path.read_bytes())
        grants.append(make_grant(key, OWNER, [DEVICE], Terms(OutputPolicy.sealed, budget=3, serial=1)))
    studio = make_studio(tmp_path, start, bundles, grants)
    client, devices = studio.client(), [studio.stage(number) for number in range(2)]
    for device, size in zip(devices, (64, 64), strict=True):
        with pytest.raises(RefusedError, match="OUTPUT_POLICY"):
            device.ask("C", bytes(size))
    relay = Relay([RelayStage([device]) for device in devices])
    for _ in range(3):  # what was refused cost no run
        record, pending = client.seal(IMAGE_INPUT)
        assert client.open(pending, relay.run(record))["score"].tolist() == [ANSWER]
    with pytest.raises(RefusedError, match="BUDGET"):
        relay.run(client.seal(IMAGE_INPUT)[0])
    for _ in range(3):  # what was answered costs no run
        assert client.open(pending, relay.run(record))["score"].tolist() == [ANSWER]
    with pytest.raises(RefusedError, match="BUDGET"):
        relay.run(record)


def test_what_a_relay_sees_tells_nothing_of_inputs_activations_or_answers(studio: Studio) -> None:
    canary = np.frombuffer(b"canary bird " * 5 + b"cage", np.float32).reshape(1, 4, 4)
    seen = []
    client = studio.client()
    record, pending = client.seal({"image": canary})
    for number in range(2):
        seen.append(record)
        record = studio.stage(number).run(record)
    seen.append(record)
    answer = client.open(pending, record)["score"].tobytes()
    terms = (canary.ravel() * np.float32(0.5) * np.arange(16, dtype=np.float32)).tobytes()
    # all other equal pieces of 4 bytes are chance: some in 10^8
    for data in seen:
        pieces = {data[HEADER_SIZE + i : HEADER_SIZE + i + 4] for i in range(len(data) - HEADER_SIZE - 3)}
        for secret in (canary.tobytes(), terms, answer, pending.answer_secret):
            assert not pieces & {secret[i : i + 4] for i in range(0, len(secret), 4)} - {bytes(4)}


class Relays:
    """All that a hostile carrier of records has, and what it makes of it."""

    def __init__(self, records: list[bytes], seed: int) -> None:
        self.records = records
        self.random = random.Random(seed)

    def changed(self, genuine: bytes) -> bytes:
        """A record that was never made by a stage or a client."""
        while True:
            data = self.random.choice((self.flip, self.flip, self.cut, self.splice, self.field))(bytearray(genuine))
            if data not in self.records and data != genuine:
                return data

    def flip(self, data: bytearray) -> bytes:
        for _ in range(self.random.choice((1, 1, 2, 8))):
            data[self.random.randrange(len(data))] ^= 1 << self.random.randrange(8)
        return bytes(data)

    def cut(self, data: bytearray) -> bytes:
        at, size = self.random.randrange(len(data)), self.random.randrange(1, 20)
        return bytes(data[:at] + self.random.choice((b"", self.random.randbytes(size))) + data[at + size :])

    def splice(self, data: bytearray) -> bytes:
        """A part of another record at the same place."""
        other = self.random.choice(self.records)
        at = self.random.choice((16, 40, 48, 64, 96, 112, 177, HEADER_SIZE, len(data) - 16))
        end = self.random.choice((48, 64, 96, 104, 225, HEADER_SIZE, len(data)))
        return bytes(data[:at]) + other[at:end] + bytes(data[max(at, end) :])

    def field(self, data: bytearray) -> bytes:
        at, size = self.random.choice(
            ((16, 16), (32, 8), (40, 4), (48, 16), (64, 32), (96, 8), (104, 8), (112, 113))
        )
        data[at : at + size] = self.random.choice((bytes(size), b"\xff" * size, self.random.randbytes(size)))
        return bytes(data)


def attack(studio: Studio, count: int) -> None:
    """Let a relay change, mix and repeat records, and put them to stages across reboots and epochs."""
    client, old = studio.client(), []
    devices = [studio.stage(number) for number in range(2)]
    relays = Relays([], count)
    to_stage: tuple[list[bytes], list[bytes]] = ([], [])  # the records of this epoch that each can open
    awaited: dict[bytes, Pending] = {}
    seals: set[tuple[bytes, int]] = set()
    refused = accepted = reboots = 0

    def run(edge: int, data: bytes) -> bytes:
        given = devices[edge].run(data)
        made = read_record(given)
        assert (made.sender, made.counter) not in seals
        seals.add((made.sender, made.counter))
        return given

    for number in range(count):
        turn, left = divmod(number, count // 8)
        if turn and not left:
            # a new epoch, after which what was recorded is of no use, or a device begins again within one
            rebooted = turn // 2 % 2 if turn % 4 else None
            if rebooted is not None:
                devices[rebooted].kill()
                devices[rebooted] = studio.start()
                reboots += 1
            if turn % 2 == 0:
                studio.next_epoch()
                client, old = studio.client(), list(relays.records)
                for kept in (relays.records, *to_stage, awaited):
                    kept.clear()
            for index, device in enumerate(devices):
                if turn % 2 and index != rebooted:
                    continue
                device.begin(fresh())
                for record in (relays.records or old)[:2]:
                    with pytest.raises(RefusedError):  # no session has keys before its release
                        device.run(record)
                studio.admit(device, index)
        if number % 50 == 0 or not relays.records:
            record, pending = client.seal(IMAGE_INPUT)
            between = run(0, record)
            answer = run(1, between)
            assert client.open(pending, answer)["score"].tolist() == [ANSWER]
            relays.records += (record, between, answer)
            to_stage[0].append(record)
            to_stage[1].append(between)
            awaited[pending.request] = pending
        edge = relays.random.randrange(2)
        genuine = relays.random.choice(to_stage[edge])
        data = relays.changed(genuine) if number % 8 else relays.random.choice(relays.records + old)
        if data in to_stage[edge]:  # it comes again: the same answer, sealed anew
            answer = run(edge, data)
            if not edge:
                answer = run(1, answer)
            pending = awaited[read_record(data).request]
            assert client.open(pending, answer)["score"].tolist() == [ANSWER]
            accepted += 1
            continue
        with pytest.raises(RefusedError) as caught:
            devices[edge].run(data)
        assert caught.value.status in (
            "RECORD_MALFORMED", "RECORD_OTHER", "RECORD_EPOCH", "RECORD_TAG", "UNSUPPORTED",
        )  # fmt: skip
        refused += 1
    assert refused + accepted == count
    assert refused > 0.85 * count
    assert accepted > 0.01 * count
    assert reboots == 6
    print(f"{refused} refused, {accepted} repeated, {len(seals)} records sealed, {reboots} reboots")


def test_nothing_that_a_relay_changes_mixes_or_keeps_is_taken(studio: Studio) -> None:
    attack(studio, 2_000)


@pytest.mark.full
def test_nothing_of_100000_records_that_a_relay_changes_mixes_or_keeps_is_taken(studio: Studio) -> None:
    attack(studio, 100_000)


def test_a_client_takes_no_answer_but_its_own(studio: Studio) -> None:
    client, other = studio.client(), studio.client()
    devices = [studio.stage(number) for number in range(2)]
    record, pending = client.seal(IMAGE_INPUT)
    between = devices[0].run(record)
    answer = devices[1].run(between)
    for wrong in (record, between, answer[:-1] + bytes([answer[-1] ^ 1])):
        with pytest.raises(BundleError, match="RECORD"):
            client.open(pending, wrong)
    for pender, who in ((client.seal(IMAGE_INPUT)[1], client), (other.seal(IMAGE_INPUT)[1], other)):
        with pytest.raises(BundleError, match="RECORD_TAG"):
            who.open(pender, answer)
    assert client.open(pending, answer)["score"].tolist() == [ANSWER]


def test_a_release_is_for_one_session_that_was_attested(studio: Studio) -> None:
    device, another = studio.start(), studio.start()
    release = studio.admit(device, 0)
    another.begin(fresh())
    another.open(studio.bundles[0])
    with pytest.raises(RefusedError, match="RELEASE_OTHER"):
        another.join(release)
    with pytest.raises(RefusedError, match="RELEASE_OLD"):  # or its counter would begin again
        device.join(release)
    nonce = studio.verifier.ask()
    studio.verifier.release(1, attested(another.begin(nonce), nonce))
    another.open(studio.bundles[0])
    again = studio.verifier.ask()
    for_other_bundle = studio.verifier.release(1, attested(another.begin(again), again))
    another.open(studio.bundles[0])
    with pytest.raises(RefusedError, match="RELEASE_OTHER"):
        another.join(for_other_bundle)


def test_who_does_not_measure_what_the_image_does_gets_no_byte(studio: Studio) -> None:
    device = studio.start()

    def refusal(**wrong: object) -> Refusal:
        nonce = studio.verifier.ask()
        with pytest.raises(EvidenceError) as caught:
            studio.verifier.release(0, attested(device.begin(nonce), nonce, **wrong))  # type: ignore[arg-type]
        return caught.value.refusal

    stranger = OwnerKey(ec.derive_private_key(12, ec.SECP256R1()))
    assert refusal(ta=bytes(32)) == Refusal.TA
    assert refusal(core=bytes(32)) == Refusal.CORE
    assert refusal(key=2) == Refusal.KEY
    assert refusal(owners=(stranger.public,)) == Refusal.OWNER
    nonce = studio.verifier.ask()
    session = attested(device.begin(nonce), nonce)
    assert session.evidence
    for wrong in (
        replace(session, public_key=device.begin(nonce)),  # whoever has the evidence has not its key
        replace(session, evidence=replace(session.evidence, ta=session.evidence.core)),
    ):
        with pytest.raises(EvidenceError):
            studio.verifier.release(0, wrong)
    studio.verifier.release(0, session)
    with pytest.raises(EvidenceError) as caught:  # a nonce is good for one answer
        studio.verifier.release(0, session)
    assert caught.value.refusal == Refusal.NONCE
    assert session.evidence.ta.hash == TA


def test_a_device_key_is_no_session_key(studio: Studio) -> None:
    """The evidence of `tzml device attest` has another label: nobody gets keys with it."""
    from tzml.device import DeviceRecord, SessionRecord

    nonce = studio.verifier.ask()
    session = attested(studio.start().begin(nonce), nonce)
    device = DeviceRecord(session.public_key, nonce, session.owners, None)
    assert device.ta_nonce != SessionRecord(session.public_key, nonce, session.owners, None).ta_nonce


def test_a_stage_that_dies_loses_no_request(studio: Studio) -> None:
    first = [studio.stage(0) for _ in range(3)]
    second = [studio.stage(1) for _ in range(2)]
    relay = Relay([RelayStage(first, rest=0.05), RelayStage(second, rest=0.05)])
    client, lock, answers = studio.client(), threading.Lock(), []

    def ask() -> None:
        for _ in range(25):
            with lock:
                record, pending = client.seal(IMAGE_INPUT)
            answer = relay.run(record)
            answers.append(client.open(pending, answer)["score"].item())

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    first[0].kill()
    second[1].kill()
    first[2].kill()
    for thread in threads:
        thread.join(60)
    assert answers == [ANSWER] * 100


def test_files_are_read_as_they_were_written_and_clients_believe_the_owner_only(
    studio: Studio, tmp_path: Path
) -> None:
    pipeline, keys = studio.pipeline, studio.verifier.keys
    pipeline.write(tmp_path / "p.tzp")
    assert Pipeline.read(tmp_path / "p.tzp") == pipeline
    write_keys(keys, tmp_path / "p.tzy")
    assert (tmp_path / "p.tzy").stat().st_mode & 0o777 == 0o600
    assert read_keys(tmp_path / "p.tzy", pipeline) == keys
    with pytest.raises(TzmlError, match="of another pipeline"):
        read_keys(tmp_path / "p.tzy", replace(pipeline, id=bytes(16)))
    invitation = Invitation.of(pipeline, keys)
    invitation.write(tmp_path / "p.tzi", OWNER)
    assert Invitation.read(tmp_path / "p.tzi", OWNER.public) == invitation
    text = (tmp_path / "p.tzi").read_text()
    stranger = OwnerKey(ec.derive_private_key(12, ec.SECP256R1()))
    with pytest.raises(BundleError, match="SIGNATURE"):
        Invitation.read(tmp_path / "p.tzi", stranger.public)
    (tmp_path / "p.tzi").write_text(text.replace(keys.client_public.hex(), stranger.public.hex()))
    with pytest.raises(BundleError, match="SIGNATURE"):
        Invitation.read(tmp_path / "p.tzi", OWNER.public)
    readers: dict[str, Callable[[Path], object]] = {
        "p.tzp": Pipeline.read,
        "p.tzy": lambda path: read_keys(path, pipeline),
        "p.tzi": lambda path: Invitation.read(path, OWNER.public),
    }
    for name, reader in readers.items():
        (tmp_path / "broken").write_text((tmp_path / name).read_text().replace('"format"', '"form"'))
        with pytest.raises(TzmlError, match="broken is not"):
            reader(tmp_path / "broken")


def test_bundles_that_do_not_follow_each_other_are_no_pipeline(tmp_path: Path) -> None:
    for number in range(2):
        (tmp_path / f"{number}.tzm").write_bytes(signed(stage(number)))
    with pytest.raises(TzmlError, match=r"0\.tzm takes image float32\[1, 4, 4\], but 1\.tzm gives score"):
        Pipeline.of([tmp_path / "1.tzm", tmp_path / "0.tzm"])
    with pytest.raises(TzmlError, match="1 to 64 stages, not 0"):
        Pipeline.of([])


@pytest.mark.parametrize(
    ("inputs", "says"),
    [
        ({}, "no array was given for the input image"),
        ({"imag": np.zeros(1)}, "no input imag"),
        ({"image": np.zeros((1, 4, 4))}, r"is float32\[1, 4, 4\], not float64"),
        ({"image": np.zeros((4, 4), np.float32)}, r"not float32\[4, 4\]"),
    ],
)
def test_inputs_that_do_not_fit_are_named(studio: Studio, inputs: dict[str, np.ndarray], says: str) -> None:
    with pytest.raises(TzmlError, match=says):
        studio.client().seal(inputs)


def test_records_tell_their_carrier_what_docs_say_and_no_more(studio: Studio) -> None:
    client = studio.client()
    record, _ = client.seal(IMAGE_INPUT)
    header = read_record(record)
    assert (header.pipeline, header.epoch, header.edge) == (studio.pipeline.id, 1, 0)
    with pytest.raises(BundleError, match="RECORD_TAG"):
        open_record(record, bytes(32))
