"""A bad request gets an error that says what is wrong, and a bad client stops no other."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import struct
import time
from pathlib import Path
from typing import Any

import pytest

from .server import Server, image

INFER = "/v2/models/plain/infer"


def changed(**fields: Any) -> dict[str, Any]:
    """A request whose input has other fields; None removes one."""
    return {"inputs": [{k: v for k, v in {**image(), **fields}.items() if v is not None}]}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b"[]", "the request is not an object"),
        (b"7", "not valid JSON"),
        (b'{"inputs":[]}', "input image is missing"),
        (b'{"inputs":{}}', "inputs is not an array"),
        (b'{"inputs":[7]}', "an input is not an object"),
        (b'{"inputs":[]} {}', "something follows the JSON"),
        (b'{"inputs":[],"inputs":[]}', "inputs twice"),
        (b'{"x":1e,"inputs":[]}', "not valid JSON"),
        (b'{"x":' + b"[" * 40 + b"]" * 40 + b"}", "nested more than 16 deep"),
        (b'{"id":"\xff"}', "not valid JSON"),
        (changed(name="other"), "the model has no input other"),
        (changed(name=None), "an input has no name"),
        (changed(shape=None), "input image has no shape"),
        (changed(datatype=None), "input image has no datatype"),
        (changed(data=None), "input image has no data"),
        (changed(datatype="FP64"), "has the datatype FP64, but the model takes FP32"),
        (changed(shape=[1, 16]), "has the shape [1,16], but the model takes [N,4,4]"),
        (changed(shape=[0, 4, 4]), "has the shape [0,4,4], but the model takes [N,4,4]"),
        (changed(shape=[-1, 4, 4]), "a dimension is not a number"),
        (changed(shape=[1] * 9), "more than 8 dimensions"),
        (changed(data=[1.0] * 15), "has 1 elements less than its shape says"),
        (changed(data=[1.0] * 17), "has more elements than its shape says"),
        (changed(data=[[[1.0] * 16]]), "not nested as its shape is"),
        (changed(data=[[[1.0] * 4] * 3 + [1.0]]), "not nested as its shape is"),
        (changed(data=["1"] * 16), "element 0 of input image is not of FP32"),
        (changed(data=[1.0, 1e39] + [1.0] * 14), "element 1 of input image is not of FP32"),
        (changed(data=[1.0] * 15 + [[1.0]]), "element 15 of input image is not of FP32"),
        (changed(parameters={"binary_data_size": 64}), "both data and binary_data_size"),
        (changed(data=None, parameters={"binary_data_size": 64}), "0 bytes follow the JSON"),
        (changed(parameters={"shared_memory_region": "x"}), "shared memory is not supported"),
        ({"inputs": [image(), image()]}, "input image is given twice"),
        ({**changed(), "outputs": [{"name": "other"}]}, "the model has no output other"),
        ({**changed(), "outputs": [{"name": "score"}] * 2}, "output score is asked for twice"),
        (
            {**changed(), "outputs": [{"name": "score", "parameters": {"classification": 2}}]},
            "classification is not supported",
        ),
        ({**changed(), "parameters": {"sequence_id": 5}}, "keeps no state"),
        ({**changed(), "parameters": {"binary_data_output": 1}}, "binary_data_output is not true or false"),
        ({**changed(), "id": "x" * 300}, "id is longer than 256 bytes"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_what_is_wrong_is_said(server: Server, body: Any, message: str) -> None:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    status, answer = server.ask(INFER, data)
    assert status == 400
    assert message in answer["error"]


@pytest.mark.parametrize(
    ("path", "method", "headers", "status"),
    [
        ("/", "GET", {}, 404),
        ("/v2/models/other", "GET", {}, 404),
        ("/v2/models/plain/versions/1/infer", "POST", {}, 404),
        ("/v2/models/plain/infer", "GET", {}, 405),
        ("/v2/health/ready", "POST", {}, 405),
        (INFER, "POST", {"Content-Encoding": "gzip"}, 415),
        (INFER, "POST", {"Inference-Header-Content-Length": "-1"}, 400),
        (INFER, "POST", {"Inference-Header-Content-Length": "999"}, 400),
    ],
)
def test_a_wrong_path_method_or_header_has_its_status(
    server: Server, path: str, method: str, headers: dict[str, str], status: int
) -> None:
    found, answer = server.ask(path, b"x" if method == "POST" else None, headers, method)
    assert found == status
    assert answer["error"]


@pytest.mark.parametrize("what", ["stage", "release", "record"])
def test_a_model_that_is_no_stage_takes_no_records(server: Server, what: str) -> None:
    status, answer = server.ask(f"/v2/models/plain/{what}", b"x" * 512)
    assert status == 404
    assert "no stage of a pipeline (tzml-serve --stages)" in answer["error"]
    assert server.infer("plain", [image()])[0] == 200


def test_too_many_samples_and_too_large_bodies_are_refused_before_they_are_kept(server: Server) -> None:
    status, answer = server.infer("plain", [image(samples=9)])
    assert status == 413
    assert "send at most 8" in answer["error"]
    status, answer = server.ask(INFER, b" " * 3_000_000)
    assert status == 413
    assert "3000000 bytes" in answer["error"]
    head = f"POST {INFER} HTTP/1.1\r\nHost: x\r\nContent-Length: {1 << 40}\r\n\r\n"
    with server.connect() as client:
        client.sendall(head.encode())
        assert client.recv(4096).startswith(b"HTTP/1.1 413 ")
    with server.connect() as client:
        client.sendall(f"POST {INFER} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        for _ in range(20):
            client.sendall(b"10000\r\n" + bytes(65536) + b"\r\n")
        client.sendall(b"0\r\n\r\n")
        assert client.recv(4096).startswith(b"HTTP/1.1 413 ")
    assert server.metric("tzml_serve_request_bytes") == 0


def test_clients_that_are_silent_make_room_for_others(models: Path) -> None:
    with Server("--timeout", "60", "--connections", "32", models / "plain.tzm") as server:
        halves = [server.connect() for _ in range(60)]  # twice as many as there is room for
        for number, client in enumerate(halves):
            try:
                if number % 3:
                    client.sendall(f"POST {INFER} HTTP/1.1\r\nHost: x\r\n".encode())
                if number % 3 == 2:
                    client.sendall(b"Content-Length: 100\r\n\r\n{")
            except OSError:
                pass  # it has made room for others
        assert server.infer("plain", [image()])[0] == 200
        assert server.metric("tzml_serve_connections_evicted_total") >= 30
        for client in halves:
            client.close()


def test_a_client_that_is_slow_is_closed(models: Path) -> None:
    with Server("--timeout", "1", models / "plain.tzm") as server:
        deadline = time.monotonic() + 10
        trickle = server.connect()
        closed = False
        while not closed and time.monotonic() < deadline:
            try:
                trickle.sendall(b"G")  # a byte of a request's line now and then
                time.sleep(0.2)
                trickle.setblocking(False)
                closed = trickle.recv(1) == b""
            except BlockingIOError:
                trickle.setblocking(True)
            except OSError:
                closed = True
        assert closed
        trickle.close()


def test_clients_that_reset_their_connection_are_forgotten(server: Server) -> None:
    body = json.dumps({"inputs": [image()]})
    for _ in range(20):
        client = server.connect()
        client.sendall(f"POST {INFER} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
    assert server.infer("plain", [image()])[0] == 200


def exchange(server: Server, data: bytes, *, end: bool = False) -> bytes:
    """What the server says to these bytes, until it closes or is silent for a second."""
    said = b""
    with server.connect() as client, contextlib.suppress(OSError):
        client.settimeout(1)
        client.sendall(data)
        if end:
            client.shutdown(socket.SHUT_WR)
        while piece := client.recv(65536):
            said += piece
    return said


BODY = json.dumps({"inputs": [image()]}).encode()
POST = f"POST {INFER} HTTP/1.1\r\nHost: x\r\n".encode()


@pytest.mark.parametrize(
    "data",
    [
        b"\r\n\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64),  # TLS
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /v2 HTTP/9.9\r\nHost: x\r\n\r\n",
        b"GET /v2 HTTP/1.1\r\nHost x\r\n\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /v2 HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
        b"GET /v2 HTTP/1.1\r\n" + b"X: y\r\n" * 20_000 + b"\r\n",
        b"GET /v2/models/" + b"a" * 1000 + b"/infer HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /v2/models/../../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /v2/models/%2e%2e%2f%00 HTTP/1.1\r\nHost: x\r\n\r\n",
        POST + b"Content-Length: -1\r\n\r\n" + BODY,
        POST + b"Content-Length: 1e3\r\n\r\n" + BODY,
        POST + b"Content-Length: 99999999999999999999999\r\n\r\n" + BODY,
        POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n" + BODY,
        POST + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n" + BODY,
        POST + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
        POST + b"Inference-Header-Content-Length: 9223372036854775807\r\nContent-Length: 4\r\n\r\nabcd",
    ],
    ids=lambda data: repr(data[-24:]),
)
def test_what_is_no_request_is_refused_and_stops_no_other(server: Server, data: bytes) -> None:
    said = exchange(server, data, end=True)
    assert not said or re.match(rb"HTTP/1\.[01] (4..|505) ", said), said[:200]
    assert server.infer("plain", [image()])[0] == 200


def test_a_client_that_closes_its_half_after_the_request_is_answered_or_closed(server: Server) -> None:
    for _ in range(20):
        said = exchange(server, POST + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY, end=True)
        assert not said or said.startswith(b"HTTP/1.1 200 ")
    assert server.infer("plain", [image()])[0] == 200


def test_a_client_that_reads_no_answer_is_closed_and_stops_no_other(models: Path) -> None:
    with Server("--timeout", "1", models / "plain.tzm") as server:
        deaf = socket.socket()
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.connect(("127.0.0.1", server.port))
        deaf.settimeout(0.2)
        deadline = time.monotonic() + 20
        closed = False
        while not closed:
            assert time.monotonic() < deadline
            try:
                deaf.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 100)
            except TimeoutError:
                assert server.infer("plain", [image()])[0] == 200
            except OSError:
                closed = True
        deaf.close()


def test_a_client_that_went_without_a_word_is_closed_after_its_answer(models: Path) -> None:
    """As when its network ends: nothing comes any more, and nobody closes."""
    with Server("--timeout", "1", models / "plain.tzm") as server, server.connect() as client:
        client.sendall(POST + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY)
        assert client.recv(65536).startswith(b"HTTP/1.1 200 ")
        client.settimeout(10)
        assert client.recv(1) == b""
        assert server.infer("plain", [image()])[0] == 200
