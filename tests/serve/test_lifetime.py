"""Start, a full queue, time-outs, stop, and who may get in."""

from __future__ import annotations

import contextlib
import http.client
import json
import signal
import socket
import ssl
import struct
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .server import Server, image, program


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 15
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """As long as this file is there, kernels wait."""
    path = tmp_path / "gate"
    path.touch()
    return path


class Asking:
    """Requests in threads of their own, and their statuses."""

    def __init__(self, server: Server, count: int) -> None:
        self.statuses: list[int] = []
        self.threads = [threading.Thread(target=self._ask, args=(server,)) for _ in range(count)]
        for thread in self.threads:
            thread.start()

    def _ask(self, server: Server) -> None:
        self.statuses.append(server.infer("plain", [image()])[0])

    def join(self) -> list[int]:
        for thread in self.threads:
            thread.join(20)
        return self.statuses


def queued(server: Server) -> float:
    return server.metric('tzml_serve_queue_length{model="plain"}')


def run_one(server: Server) -> Asking:
    """A request that has left the queue, and waits at the gate."""
    asking = Asking(server, 1)
    wait_until(lambda: server.metric("tzml_serve_request_bytes") > 0 and not queued(server))
    return asking


def test_a_full_queue_says_when_to_come_again_and_the_others_are_answered(models: Path, gate: Path) -> None:
    with Server("--queue", "3", models / "plain.tzm", TZML_TEST_GATE=str(gate)) as server:
        running = run_one(server)
        waiting = Asking(server, 3)
        wait_until(lambda: queued(server) == 3)
        status, headers, _ = server.ask_raw("/v2/models/plain/infer", b"{}")
        assert (status, headers["retry-after"]) == (503, "1")
        assert server.ask("/v2/health/ready")[0] == 200
        gate.unlink()
        assert running.join() + waiting.join() == [200] * 4
        assert server.metric('tzml_serve_refused_total{model="plain"}') == 1


def test_a_model_that_does_not_return_is_not_ready_and_nobody_waits_for_ever(models: Path, gate: Path) -> None:
    arguments = ("--timeout", "1", "--queue", "2", models / "plain.tzm")
    with Server(*arguments, TZML_TEST_GATE=str(gate)) as server:
        assert Asking(server, 2).join() == [504, 504]
        assert server.ask("/v2/health/ready")[0] == 503
        assert server.ask("/v2/health/live")[0] == 200
        gate.unlink()
        wait_until(lambda: server.ask("/v2/models/plain/ready")[0] == 200)
        assert server.infer("plain", [image()])[0] == 200


def test_a_short_run_needs_no_other_thread(models: Path) -> None:
    with Server(models / "plain.tzm") as server:
        body, count = json.dumps({"inputs": [image()]}).encode(), 200
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)

        def ask() -> None:
            connection.request("POST", "/v2/models/plain/infer", body)
            answer = connection.getresponse()
            assert (answer.status, json.loads(answer.read())["outputs"][0]["data"]) == (200, [60])

        ask()  # how long it takes is known from here on
        before = server.switches("plain")
        for _ in range(count):
            ask()
        connection.close()
        # on a busy machine, a run may have to wait for a processor: the next one is handed over then
        assert server.switches("plain") - before < count / 2
        assert server.metric('tzml_serve_inferences_total{model="plain"}') == count + 1


def test_a_run_that_takes_longer_than_the_one_before_stops_nobody(
    models: Path, digits_for_host: Path, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    arguments = ("--timeout", "2", models / "plain.tzm", digits_for_host)
    with Server(*arguments, TZML_TEST_GATE=str(gate)) as server:
        for _ in range(3):  # who moves the bytes runs the next one itself
            assert server.infer("plain", [image()])[0] == 200
        gate.touch()
        running = Asking(server, 1)
        wait_until(lambda: server.metric("tzml_serve_request_bytes") > 0)
        assert server.ask("/v2/models/digits/ready")[0] == 200
        assert server.infer("digits", [{"name": "image", "datatype": "FP32", "shape": [1, 1, 28, 28],
                                        "data": [0.0] * 784}])[0] == 200  # fmt: skip
        assert running.statuses == []
        assert running.join() == [504]
        assert server.ask("/v2/models/plain/ready")[0] == 503
        gate.unlink()
        wait_until(lambda: server.ask("/v2/health/ready")[0] == 200)
        for _ in range(3):
            assert server.infer("plain", [image(2.0)])[1]["outputs"][0]["data"] == [120]


def test_a_client_that_goes_while_its_request_is_run_harms_nobody(models: Path, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    with Server(models / "plain.tzm", TZML_TEST_GATE=str(gate)) as server:
        body = json.dumps({"inputs": [image()]}).encode()
        for _ in range(10):
            assert server.infer("plain", [image()])[0] == 200
            gate.touch()
            with server.connect() as connection:
                connection.sendall(b"POST /v2/models/plain/infer HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
                                   % len(body) + body)  # fmt: skip
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # reset
            time.sleep(0.02)
            gate.unlink()
        wait_until(lambda: server.metric("tzml_serve_request_bytes") == 0)
        assert server.infer("plain", [image()])[1]["outputs"][0]["data"] == [60]


def test_a_client_that_has_gone_costs_no_inference(models: Path, gate: Path) -> None:
    with Server(models / "plain.tzm", TZML_TEST_GATE=str(gate)) as server:
        running = run_one(server)
        with server.connect() as client:
            body = json.dumps({"inputs": [image()]}).encode()
            head = f"POST /v2/models/plain/infer HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
            client.sendall(head.encode() + body)
            wait_until(lambda: queued(server) == 1)
        gate.unlink()
        assert running.join() == [200]
        wait_until(lambda: server.metric('tzml_serve_abandoned_total{model="plain"}') == 1)
        assert server.metric('tzml_serve_inferences_total{model="plain"}') == 1


def test_it_stops_after_the_requests_that_are_here(models: Path, gate: Path) -> None:
    with Server(models / "plain.tzm", TZML_TEST_GATE=str(gate)) as server:
        running, waiting = run_one(server), Asking(server, 2)
        wait_until(lambda: queued(server) == 2)
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: refuses(server))
        gate.unlink()
        assert running.join() + waiting.join() == [200] * 3
        assert server.process.wait(20) == 0


def refuses(server: Server) -> bool:
    try:
        server.connect().close()
    except OSError:
        return True
    return False


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ((), 2, "give a BUNDLE"),
        (("no.tzm",), 1, "model no: cannot be opened: the bundle cannot be read: no.tzm"),
        (("plain.tzm", "plain=x.tzm"), 2, "two models are called plain"),
        (("a b.tzm",), 2, "letters, digits"),
        (("--queue", "0", "plain.tzm"), 2, "--queue takes a number from 1"),
        (("--grant", "x=y", "plain.tzm"), 2, "there is no model x"),
        (("--listen", "localhost", "plain.tzm"), 2, "not a numeric address"),
        (("--listen", "0.0.0.0", "plain.tzm"), 2, "the network gets in only with TLS and clients' certificates"),
        (("--listen", "::", "plain.tzm"), 2, "the network gets in only with TLS"),
        (("-l", "0.0.0.0", "--tls-cert", "x", "--tls-key", "x", "plain.tzm"), 2, "the network gets in only with"),
        (("--tls-cert", "x", "plain.tzm"), 2, "TLS takes --tls-cert and --tls-key"),
        (("--tls-cert", "x", "--tls-key", "x", "plain.tzm"), 1, "cannot read x"),
    ],
)
def test_a_wrong_start_ends_with_a_line(models: Path, arguments: tuple[str, ...], code: int, message: str) -> None:
    done = subprocess.run(
        [program(), "-w", "ree", *arguments], cwd=models, capture_output=True, text=True, timeout=20, check=False
    )
    assert done.returncode == code
    assert message in done.stderr


def test_a_port_that_is_taken_is_an_error(models: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        done = subprocess.run(
            [program(), "-w", "ree", "-p", str(other.getsockname()[1]), models / "plain.tzm"],
            capture_output=True, text=True, timeout=20, check=False,
        )  # fmt: skip
    assert done.returncode == 1
    assert "cannot listen on 127.0.0.1" in done.stderr
    assert "in use" in done.stderr


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CA, certificates of a server and a client, and a client of another CA."""
    folder = tmp_path_factory.mktemp("certificates")

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    new = ("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2")
    for ca in ("ca", "foreign"):
        openssl(*new, "-subj", f"/CN={ca}", "-keyout", f"{ca}.key", "-out", f"{ca}.pem")
    for name, ca in (("server", "ca"), ("client", "ca"), ("stranger", "foreign")):
        openssl(*new, "-CA", f"{ca}.pem", "-CAkey", f"{ca}.key", "-subj", f"/CN={name}",
                "-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=CA:FALSE",
                "-keyout", f"{name}.key", "-out", f"{name}.pem")  # fmt: skip
    return folder


def get(server: Server, folder: Path, client: str) -> bytes:
    """What a client with these certificates is answered; nothing if it is not let in."""
    context = ssl.create_default_context(cafile=folder / "ca.pem")
    if client:
        context.load_cert_chain(folder / f"{client}.pem", folder / f"{client}.key")
    try:
        with context.wrap_socket(server.connect(), server_hostname="127.0.0.1") as connection:
            connection.sendall(b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            return connection.recv(4096)
    except (ssl.SSLError, ConnectionError):
        return b""


def test_over_tls_only_clients_of_the_ca_get_in(models: Path, certificates: Path) -> None:
    tls = ("--tls-cert", certificates / "server.pem", "--tls-key", certificates / "server.key")
    arguments: tuple[Any, ...] = ("-l", "0.0.0.0", *tls, "--client-ca", certificates / "ca.pem")
    with Server(*arguments, models / "plain.tzm") as server:
        assert server.secure
        assert get(server, certificates, "client").startswith(b"HTTP/1.1 200 ")
        assert get(server, certificates, "stranger") == b""
        assert get(server, certificates, "") == b""
        with server.connect() as clear, contextlib.suppress(ConnectionError):
            clear.sendall(b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\n\r\n")
            assert not clear.recv(100).startswith(b"HTTP")
        assert get(server, certificates, "client").startswith(b"HTTP/1.1 200 ")
