"""HTTP to tzml-serve and to what stands before it: connections, and what an error says."""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Callable, Mapping


def connect(
    host: str, port: int | None, timeout: float, context: ssl.SSLContext | None, *, secure: bool
) -> http.client.HTTPConnection:
    """A connection that is opened by its first request; with TLS if it is to be secure."""
    if secure:
        return http.client.HTTPSConnection(host, port, timeout=timeout, context=context)
    return http.client.HTTPConnection(host, port, timeout=timeout)


class KeptConnection:
    """A connection that stays open from one request to the next. One thread at a time uses it."""

    def __init__(self, connect: Callable[[], http.client.HTTPConnection]) -> None:
        self._connect = connect
        self._connection: http.client.HTTPConnection | None = None

    def exchange(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        """Status, headers and body of the answer. Raises OSError, http.client.HTTPException.

        If the other side has closed the connection meanwhile, it is opened again.
        """
        for attempt in (0, 1):
            kept, self._connection = self._connection, None
            connection = kept or self._connect()
            try:
                connection.request(method, path, body, dict(headers or {}))
                response = connection.getresponse()
                answer = response.read()
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                if kept and not attempt and not isinstance(error, TimeoutError):
                    continue
                raise
            if not response.will_close:
                self._connection = connection
            return response.status, response.headers, answer
        raise AssertionError


def error_of(answer: bytes, otherwise: str) -> str:
    """What an answer of the Open Inference Protocol that is an error says."""
    try:
        return str(json.loads(answer)["error"])
    except (ValueError, KeyError, TypeError):
        return otherwise
