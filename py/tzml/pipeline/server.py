"""A relay over HTTP: clients send records to it, and get the records with the answers."""

from __future__ import annotations

import http.client
import json
import signal
import ssl
import threading
import urllib.parse
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tzml.bundle import BundleError
from tzml.errors import TzmlError
from tzml.http_client import connect, error_of
from tzml.pipeline.description import Pipeline
from tzml.pipeline.record import HEADER_SIZE, TAG_SIZE, read_record
from tzml.pipeline.relay import Relay, StageError

_CLIENT_TIMEOUT = 30  # seconds


def serve(relay: Relay, pipeline: Pipeline, listen: str, ready: Callable[[str], None] = lambda _: None) -> None:
    """Serve at ADDRESS:PORT until SIGTERM or SIGINT; `ready` is told the address. Raises TzmlError."""
    host, _, port = listen.rpartition(":")
    if not host or not port.isdecimal():
        raise TzmlError(f"{listen} is not ADDRESS:PORT", "give it as in 127.0.0.1:8080")
    try:
        server = RelayServer((host.strip("[]"), int(port)), relay, pipeline)
    except (OSError, OverflowError) as error:
        raise TzmlError(f"cannot listen on {listen}: {error}", "give another --listen") from error
    with server:
        stop = threading.Thread(target=server.shutdown)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.start())
        address, bound = server.server_address[:2]
        ready(f"http://{address!s}:{bound}")
        server.serve_forever()


class RelayServer(ThreadingHTTPServer):
    """One thread a connection: a record that waits for a device stops no other."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], relay: Relay, pipeline: Pipeline) -> None:
        self.relay = relay
        self.path = path_of(pipeline.id)
        inputs = sum(spec.size for spec in pipeline.stages[0].inputs)
        self.record_size = HEADER_SIZE + inputs + TAG_SIZE  # of clients' records: nothing larger is read
        super().__init__(address, _Handler)


class _Handler(BaseHTTPRequestHandler):
    server: RelayServer
    protocol_version = "HTTP/1.1"
    timeout = _CLIENT_TIMEOUT

    def do_POST(self) -> None:
        try:
            size = int(self.headers.get("Content-Length", ""))
        except ValueError:
            size = -1
        if self.path != self.server.path:
            self._refuse(404, "there is no such pipeline here")
        elif size < 0:
            self._refuse(411, "a record comes with its Content-Length")
        elif size != self.server.record_size:
            self._refuse(
                400,
                f"a record for this pipeline has {self.server.record_size} bytes, not {size} (RECORD_MALFORMED)",
            )
        else:
            self._run(self.rfile.read(size))

    def _run(self, record: bytes) -> None:
        try:
            read_record(record)
            answer = self.server.relay.run(record)
        except BundleError as error:
            self._refuse(400, str(error))
        except StageError as error:
            self._refuse(503 if error.again else 502, str(error))
        else:
            self._answer(200, "application/octet-stream", answer)

    def _refuse(self, status: int, what: str) -> None:
        self.close_connection = True  # of a body that was not read
        self._answer(status, "application/json", json.dumps({"error": what}).encode())

    def _answer(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing of each request."""


def path_of(pipeline: bytes) -> str:
    """Where clients send their records to."""
    return f"/v2/pipelines/{pipeline.hex()}/record"


def ask(
    address: str, pipeline: bytes, record: bytes, timeout: float = 30, context: ssl.SSLContext | None = None
) -> bytes:
    """Send a record to the relay at http://HOST:PORT, or https: the record with the answer. Raises TzmlError."""
    parts = urllib.parse.urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise TzmlError(f"{address} is not a relay", "give http://HOST:PORT")
    connection = connect(parts.hostname, parts.port, timeout, context, secure=parts.scheme == "https")
    try:
        connection.request("POST", path_of(pipeline), record)
        response = connection.getresponse()
        answer = response.read()
    except (OSError, http.client.HTTPException) as error:
        raise TzmlError(f"{address} does not answer: {error}", "start `tzml pipeline relay` there") from error
    finally:
        connection.close()
    if response.status != 200:
        raise TzmlError(f"{address}: {error_of(answer, f'HTTP status {response.status}')}")
    return answer
