"""Replicas behind HAProxy, as `tzml fleet haproxy` configures it: devices die and freeze, no request is lost."""

from __future__ import annotations

import http.client
import json
import random
import signal
import socket
import socketserver
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import ClassVar

import pytest
from conftest import tzml

from tzml.errors import TzmlError
from tzml.fleet import Balancer, Device, check, configuration
from tzml.fleet.haproxy import program as haproxy
from tzml_lab.processes import free_port

from .server import Server, image

TIMEOUT = 1.0
CLIENTS = 6


def start_haproxy(config: Path, stack: ExitStack) -> None:
    balancer = subprocess.Popen([str(haproxy()), "-db", "-f", config], stderr=subprocess.DEVNULL)
    stack.callback(balancer.wait)
    stack.callback(balancer.kill)


class Fleet:
    """Servers on ports of their own behind HAProxy."""

    def __init__(self, models: Path, folder: Path, stack: ExitStack, timeout: float = TIMEOUT) -> None:
        self.bundle, self.stack = models / "plain.tzm", stack
        self.ports = [free_port() for _ in range(3)]
        self.port = free_port()
        self.servers = [self.start(port) for port in self.ports]
        config = folder / "haproxy.cfg"
        devices = [f"d{number}=127.0.0.1:{port}" for number, port in enumerate(self.ports)]
        done = tzml(
            "fleet",
            "haproxy",
            *devices,
            "--listen",
            f"127.0.0.1:{self.port}",
            "--timeout",
            str(timeout),
            "-o",
            config,
        )
        assert (done.returncode, done.stderr) == (0, "")
        start_haproxy(config, stack)
        deadline = time.monotonic() + 10
        while self.ask("GET", "/v2/health/ready")[0] != 200:
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def start(self, port: int) -> Server:
        server = Server("--port", str(port), self.bundle)
        self.stack.callback(server.process.wait)
        self.stack.callback(server.process.kill)
        return server

    def ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except OSError:
            return 0, b""
        finally:
            connection.close()


@pytest.fixture
def fleet(models: Path, tmp_path: Path) -> Iterator[Fleet]:
    with ExitStack() as stack:
        yield Fleet(models, tmp_path, stack)


class Load:
    """Clients that ask the fleet, each for another answer, until they are told to end or have `most` answers."""

    def __init__(self, fleet: Fleet, most: int = 0) -> None:
        self.fleet, self.most = fleet, most
        self.over = threading.Event()
        self.answers: Counter[str] = Counter()
        self.seconds: list[float] = []
        self.threads = [threading.Thread(target=self.client, args=(number,)) for number in range(CLIENTS)]
        for thread in self.threads:
            thread.start()

    def client(self, number: int) -> None:
        count = 0
        while not self.over.is_set():
            value = float(number * 1000 + count % 1000)
            body = json.dumps({"inputs": [image(value)]}).encode()
            start = time.monotonic()
            status, said = self.fleet.ask("POST", "/v2/models/plain/infer", body)
            self.seconds.append(time.monotonic() - start)
            right = status == 200 and json.loads(said)["outputs"][0]["data"] == [60 * value]
            self.answers["right" if right else f"{status} {said[:200]!r}"] += 1
            count += 1
            if self.most and len(self.seconds) >= self.most:
                self.over.set()
            time.sleep(0.04)  # the machine has other work

    def end(self) -> None:
        self.over.set()
        for thread in self.threads:
            thread.join(40)
        print(f"{dict(self.answers)}, the slowest after {max(self.seconds):.2f} s")
        assert set(self.answers) == {"right"}


def test_no_request_is_lost_and_none_answered_wrongly_while_devices_die_and_freeze(fleet: Fleet) -> None:
    load = Load(fleet)
    for victim in (0, 1):
        time.sleep(0.5)
        fleet.servers[victim].process.kill()
        fleet.servers[victim].process.wait()
        time.sleep(0.5)
        fleet.servers[victim] = fleet.start(fleet.ports[victim])
    time.sleep(1.2)  # until HAProxy sees it
    fleet.servers[2].process.send_signal(signal.SIGSTOP)
    time.sleep(2)
    fleet.servers[2].process.send_signal(signal.SIGCONT)
    time.sleep(0.5)
    load.end()
    assert load.answers["right"] > 100


@pytest.mark.full
def test_of_10000_requests_none_is_lost_while_devices_are_killed_frozen_and_rebooted(
    models: Path, tmp_path: Path
) -> None:
    """The goal: 0 lost, 0 wrong, the slowest within twice the time that a device has for an answer."""
    timeout = 3.0  # so that a busy host is not taken for a frozen device
    chance, faults = random.Random(15), Counter[str]()
    with ExitStack() as stack:
        fleet = Fleet(models, tmp_path, stack, timeout)
        load = Load(fleet, 10_000)
        while not load.over.wait(chance.uniform(1.2, 2.5)):  # HAProxy has seen the last one again
            victim = chance.randrange(len(fleet.servers))
            process = fleet.servers[victim].process
            fault = ("killed", "frozen", "rebooted")[faults.total() % 3]
            faults[fault] += 1
            if fault == "frozen":
                process.send_signal(signal.SIGSTOP)
                load.over.wait(chance.uniform(0.2, 1.5) * timeout)
                process.send_signal(signal.SIGCONT)
                continue
            process.send_signal(signal.SIGKILL if fault == "killed" else signal.SIGTERM)
            process.wait(30)
            load.over.wait(chance.uniform(0.1, 2))
            fleet.servers[victim] = fleet.start(fleet.ports[victim])
        load.end()
    print(f"{dict(faults)}, median {sorted(load.seconds)[len(load.seconds) // 2] * 1000:.1f} ms")
    assert load.answers["right"] >= 10_000
    assert min(faults.values()) >= 5
    assert max(load.seconds) <= 2 * timeout


class Dying(socketserver.StreamRequestHandler):
    """A device that is ready, and dies at each request but the third."""

    seen: ClassVar[list[str]] = []

    def handle(self) -> None:
        said = [line.decode().strip() for line in iter(self.rfile.readline, b"\r\n") if line]
        if said[0].startswith("POST"):
            self.seen.extend(line for line in said if line.lower().startswith("x-request-id:"))
        if not said[0].startswith("POST") or len(self.seen) == 3:
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")


def test_a_request_keeps_its_id_when_it_is_sent_again(tmp_path: Path) -> None:
    port, config = free_port(), tmp_path / "haproxy.cfg"
    with ExitStack() as stack:
        devices = []
        for number in range(3):
            server = stack.enter_context(socketserver.ThreadingTCPServer(("127.0.0.1", 0), Dying))
            threading.Thread(target=server.serve_forever).start()
            stack.callback(server.shutdown)
            devices.append(Device(f"d{number}", "127.0.0.1", server.server_address[1]))
        config.write_text(configuration(devices, Balancer(f"127.0.0.1:{port}", TIMEOUT)))
        start_haproxy(config, stack)
        deadline = time.monotonic() + 10
        while True:
            try:
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
                connection.request("POST", "/v2/models/x/infer", b"{}")
                break
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.05)
        assert connection.getresponse().status == 200
        connection.close()
    assert len(Dying.seen) == 3
    assert len(set(Dying.seen)) == 1
    assert len(Dying.seen[0]) > 40


def test_a_sequence_is_refused_because_its_state_is_on_one_device(fleet: Fleet) -> None:
    body = json.dumps({"inputs": [image()], "parameters": {"sequence_id": 7}}).encode()
    status, answer = fleet.ask("POST", "/v2/models/plain/infer", body)
    assert status == 400
    assert "models with state" in json.loads(answer)["error"]


def test_a_request_that_could_not_be_sent_again_is_refused(fleet: Fleet) -> None:
    body = json.dumps({"inputs": [image()]}).encode()
    assert fleet.ask("POST", "/v2/models/plain/infer", body.ljust(65536))[0] == 200
    status, answer = fleet.ask("POST", "/v2/models/plain/infer", body.ljust(65537))
    assert status == 413
    assert "more than 65536 bytes" in json.loads(answer)["error"]


@pytest.mark.parametrize(
    "lines",
    [b"POST /v2/models/plain/infer HTTP/1.1\r\nContent-Length: 2\r\nContent-Length: 3", b"GET /v2\0 HTTP/1.1"],
    ids=["two lengths", "a zero byte"],
)
def test_what_a_device_could_read_in_another_way_is_refused(fleet: Fleet, lines: bytes) -> None:
    with socket.create_connection(("127.0.0.1", fleet.port), 10) as client:
        client.sendall(lines + b"\r\nHost: x\r\n\r\n{} ")
        assert client.recv(4096).startswith(b"HTTP/1.1 400 ")


def test_without_a_device_the_fleet_is_not_ready(fleet: Fleet) -> None:
    for server in fleet.servers:
        server.process.kill()
    deadline = time.monotonic() + 10
    while fleet.ask("GET", "/v2/health/ready")[0] != 503:
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.parametrize(
    ("devices", "balancer", "message"),
    [
        (["x"], Balancer(), "x is not a device"),
        (["a=b:99999"], Balancer(), "is not a device"),
        (["a=127.0.0.1:1", "a=127.0.0.1:2"], Balancer(), "two devices are called a"),
        (["a=10.0.0.1:1"], Balancer(), "lets nobody in over the network without TLS"),
        (["a=127.0.0.1:1"], Balancer(ca=Path("ca.pem")), "both --ca and --certificate"),
        (["127.0.0.1:1"], Balancer(listen="127.0.0.1:x"), "HAProxy refuses the configuration"),
    ],
)
def test_what_is_wrong_is_said(devices: list[str], balancer: Balancer, message: str) -> None:
    with pytest.raises(TzmlError, match=message):
        check(configuration([Device.parse(device) for device in devices], balancer))


def test_over_tls_haproxy_checks_the_device_and_shows_its_certificate(tmp_path: Path) -> None:
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
         "-subj", "/CN=x", "-keyout", "key.pem", "-out", "ca.pem"],
        cwd=tmp_path, check=True, capture_output=True,
    )  # fmt: skip
    (tmp_path / "both.pem").write_text((tmp_path / "key.pem").read_text() + (tmp_path / "ca.pem").read_text())
    devices = [Device.parse("a=10.0.0.1:8000"), Device.parse("[fe80::1]:8000")]
    text = configuration(devices, Balancer(ca=tmp_path / "ca.pem", certificate=tmp_path / "both.pem"))
    assert check(text)
    assert "    server a 10.0.0.1:8000\n    server fe80--1-8000 [fe80::1]:8000\n" in text
    assert f"ssl verify required ca-file {tmp_path}/ca.pem" in text
