"""`tzml pipeline` from bundles to an answer, over HTTP; the devices answer as tzml-serve --stages does."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from bundle_examples import ANSWER, INPUT, OWNER
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pipeline_example import signed, stage

from tzml.cli import tzml
from tzml.device import _EVIDENCE, SessionRecord, read_evidence
from tzml.errors import TzmlError
from tzml.owner.attestation import Refusal
from tzml.owner.keys import public_pem
from tzml.pipeline.description import Pipeline
from tzml.pipeline.relay import HttpReplica, Relay, RelayStage, StageError
from tzml.pipeline.server import RelayServer, ask

from .stage_device import CORE, TA, RefusedError, StageDevice, attested, register


def pack(session: SessionRecord) -> bytes:
    """`struct tzml_evidence`."""
    evidence = session.evidence
    assert evidence
    reports = (part for report in (evidence.ta, evidence.core) for part in (report.hash, report.signature))
    owners, size = b"".join(session.owners), len(evidence.modulus)
    return _EVIDENCE.pack(
        b"\x04" + session.public_key, len(session.owners), size, owners, evidence.modulus, *reports
    )


class Handler(BaseHTTPRequestHandler):
    """The paths of tzml-serve --stages, in front of a device."""

    server: DeviceServer
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with self.server.lock:
            status, answer = self.answer(body)
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def answer(self, body: bytes) -> tuple[int, bytes]:
        device = self.server.device
        try:
            match self.path.rsplit("/", 1)[1]:
                case "stage":
                    evidence = pack(attested(device.begin(body), body, ta=self.server.ta))
                    device.open(self.server.bundle)
                    return 200, evidence
                case "release":
                    device.join(body)
                    return 200, b"{}"
                case _:
                    return 200, device.run(body)
        except RefusedError as error:
            status = 503 if error.status in ("DEAD", "NOT_RELEASED") else 400
            return status, json.dumps({"error": f"refused ({error.status})"}).encode()

    def log_message(self, format: str, *args: object) -> None:
        pass


class DeviceServer(ThreadingHTTPServer):
    """A device with a stage, behind HTTP."""

    daemon_threads = True

    def __init__(self, device: StageDevice, bundle: bytes) -> None:
        self.device, self.bundle, self.ta, self.lock = device, bundle, TA, threading.Lock()
        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v2/models/stage"


class Desk:
    """The owner's folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        key = OWNER._key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        (folder / "owner.pem").write_bytes(key)
        (folder / "owner.pub.pem").write_bytes(public_pem(OWNER.public))
        about = {
            "measurements": {"ta": TA.hex(), "core": CORE.hex()},
            "huk": "hardware",
            "entropy": "x",
            "release": True,
        }
        (folder / "image.json").write_text(json.dumps(about))
        register(folder / "devices")
        for number in range(2):
            (folder / f"{number}.tzm").write_bytes(signed(stage(number)))
        np.save(folder / "x.npy", np.frombuffer(INPUT, np.float32).reshape(1, 4, 4))

    def run(self, *command: str) -> Result:
        return CliRunner().invoke(tzml, ["pipeline", *command], catch_exceptions=False)

    def do(self, *command: str) -> str:
        result = self.run(*command)
        assert result.exit_code == 0, result.output
        return result.output

    def admit(self, *replicas: str) -> Result:
        return self.run("admit", "p.tzp", *replicas, "--owner", "owner.pem", "--image", "image.json",
                        "--register", "devices")  # fmt: skip


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.chdir(tmp_path)
    desk = Desk(tmp_path)
    desk.do("new", "0.tzm", "1.tzm", "-o", "p.tzp")
    desk.do("epoch", "p.tzp", "--owner", "owner.pem")
    return desk


@pytest.fixture
def devices(c_tests: Path) -> Iterator[list[DeviceServer]]:
    found = [DeviceServer(StageDevice(c_tests / "stage_device"), signed(stage(number))) for number in range(2)]
    yield found
    for server in found:
        server.shutdown()
        server.server_close()
        server.device.close()


@pytest.fixture
def relayed(desk: Desk) -> Iterator[Callable[[list[DeviceServer]], str]]:
    """Starts a relay: its address."""
    started: list[RelayServer] = []

    def relayed(devices: list[DeviceServer]) -> str:
        relay = Relay([RelayStage([HttpReplica(server.url, 10)], attempts=2, rest=0.01) for server in devices])
        started.append(RelayServer(("127.0.0.1", 0), relay, Pipeline.read(desk.folder / "p.tzp")))
        threading.Thread(target=started[-1].serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{started[-1].server_address[1]}"

    yield relayed
    for server in started:
        server.shutdown()
        server.server_close()


def test_from_bundles_to_an_answer(
    desk: Desk, devices: list[DeviceServer], relayed: Callable[[list[DeviceServer]], str]
) -> None:
    admitted = desk.admit(*(f"{i}={server.url}" for i, server in enumerate(devices)))
    assert admitted.exit_code == 0
    assert admitted.output.count("session ") == 2
    assert "warning" not in admitted.output
    address = relayed(devices)
    desk.do("run", "p.tzi", address, "--owner", "owner.pub.pem", "--input", "x.npy", "-o", "answer.npy")
    assert np.load("answer.npy").tolist() == [ANSWER]
    devices[1].device.kill()
    result = CliRunner().invoke(
        tzml, ["pipeline", "run", "p.tzi", address, "--owner", "owner.pub.pem", "--input", "x.npy", "-o", "a.npy"]
    )
    assert isinstance(result.exception, TzmlError)
    assert "DEAD" in str(result.exception)
    assert not Path("a.npy").exists()


def test_a_device_that_measures_something_else_is_named_and_gets_nothing(
    desk: Desk, devices: list[DeviceServer]
) -> None:
    devices[0].ta = bytes(32)
    refused = desk.admit(*(f"{i}={server.url}" for i, server in enumerate(devices)))
    assert refused.exit_code == Refusal.TA
    assert f"tzml: {devices[0].url}: the device runs another TA than the image has" in refused.output
    assert "session " not in refused.output  # nor was any device after it let in
    with pytest.raises(StageError, match="NOT_RELEASED"):
        HttpReplica(devices[0].url).run(bytes(400))


def test_what_is_wrong_with_a_command_is_said(desk: Desk, devices: list[DeviceServer]) -> None:
    url = devices[0].url
    for replicas, says in (
        ((f"0={url}",), "stage 1 has no device"),
        ((f"2={url}",), "not STAGE=URL with a stage from 0 to 1"),
        ((url,), "not STAGE=URL"),
        (("0=ftp://there/v2/models/x",), "is not a stage"),
        (("0=http://127.0.0.1:1/v2/models/x", f"1={url}"), "does not answer"),
    ):
        with pytest.raises(TzmlError, match=says):
            desk.admit(*replicas)
    again = desk.run
    with pytest.raises(TzmlError, match=r"p\.tzy exists"):
        again("epoch", "p.tzp", "--owner", "owner.pem")
    (desk.folder / "p.tzy").unlink()
    assert "epoch 9" in desk.do("epoch", "p.tzp", "--owner", "owner.pem", "--epoch", "9")
    with pytest.raises(TzmlError, match="does not answer"):
        again("run", "p.tzi", "http://127.0.0.1:1", "--owner", "owner.pub.pem", "--input", "x.npy", "-o", "a.npy")
    with pytest.raises(TzmlError, match="is not a pipeline"):
        again("relay", "image.json", f"0={url}")
    stranger = ec.generate_private_key(ec.SECP256R1()).public_key()
    Path("s.pem").write_bytes(
        stranger.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    with pytest.raises(TzmlError, match="SIGNATURE"):
        again("run", "p.tzi", "http://127.0.0.1:1", "--owner", "s.pem", "--input", "x.npy", "-o", "a.npy")


def test_a_relay_answers_bad_clients_and_goes_on(
    desk: Desk, devices: list[DeviceServer], relayed: Callable[[list[DeviceServer]], str]
) -> None:
    address = relayed(devices)
    pipeline = Pipeline.read(desk.folder / "p.tzp").id
    port = int(address.rsplit(":", 1)[1])

    def raw(request: bytes) -> bytes:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            connection.sendall(request)
            return b"".join(iter(lambda: connection.recv(1000), b""))  # to its end: all of these close it

    path = f"/v2/pipelines/{pipeline.hex()}/record"
    assert b" 404 " in raw(b"POST /v2/pipelines/0/record HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n")
    assert b" 411 " in raw(f"POST {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    for size in (3, 336 + 1, 99999999999):
        assert b"has 336 bytes, not " in raw(
            f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n".encode()
        )
    assert b"not a record of format 2" in raw(
        f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 336\r\n\r\n".encode() + bytes(336)
    )
    assert b" 501 " in raw(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    with pytest.raises(TzmlError, match="RECORD_MALFORMED"):
        ask(address, pipeline, b"no record")
    with pytest.raises(TzmlError, match="no such pipeline"):
        ask(address, bytes(16), b"no record")
    desk.admit(*(f"{i}={server.url}" for i, server in enumerate(devices)))
    desk.do("run", "p.tzi", address, "--owner", "owner.pub.pem", "--input", "x.npy", "-o", "answer.npy")


def test_evidence_is_read_as_a_device_writes_it() -> None:
    session = attested(OWNER.public, bytes(range(32)))
    assert read_evidence(pack(session), session.nonce) == session
    with pytest.raises(TzmlError, match="2192 bytes, not 5"):
        read_evidence(b"short", bytes(32))
    with pytest.raises(TzmlError, match="out of range"):
        read_evidence(bytes(2192), bytes(32))
