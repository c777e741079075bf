"""Carries records from stage to stage. It has no keys: what it can do wrong is to lose, repeat or mix up records.

A stage is several replicas, each of which runs one record at a time. A record that a replica does not answer goes
to another one: any session of the stage can open it.
"""

from __future__ import annotations

import http.client
import ssl
import threading
import time
import urllib.parse
from collections import Counter
from collections.abc import Sequence
from typing import Protocol

from tzml.errors import TzmlError
from tzml.http_client import KeptConnection, connect, error_of


class StageError(TzmlError):
    """What a stage answered; `again` if another replica, or a later try, may do better."""

    def __init__(self, what: str, remedy: str = "", again: bool = False) -> None:
        super().__init__(what, remedy)
        self.again = again


class Replica(Protocol):
    """A session that runs a stage, wherever it is."""

    def run(self, record: bytes) -> bytes:
        """The record that comes of this one. Raises StageError."""


class HttpReplica:
    """A stage of tzml-serve --stages, at http://HOST:PORT/v2/models/NAME, or https."""

    def __init__(self, url: str, timeout: float = 30, context: ssl.SSLContext | None = None) -> None:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or not parts.path.startswith("/v2/models/"):
            raise TzmlError(f"{url} is not a stage", "give http://HOST:PORT/v2/models/NAME")
        self.url, self._path = url, parts.path
        host, port, secure = parts.hostname, parts.port, parts.scheme == "https"
        self._connection = KeptConnection(lambda: connect(host, port, timeout, context, secure=secure))

    def attest(self, nonce: bytes) -> bytes:
        """The evidence (`struct tzml_evidence`) for a new session's new key. Raises StageError."""
        return self._post("stage", nonce)

    def join(self, release: bytes) -> None:
        """Hand over a release. Raises StageError."""
        self._post("release", release)

    def run(self, record: bytes) -> bytes:
        """The record that comes of this one. Raises StageError."""
        return self._post("record", record)

    def _post(self, what: str, body: bytes) -> bytes:
        try:
            status, _, answer = self._connection.exchange("POST", f"{self._path}/{what}", body)
        except (OSError, http.client.HTTPException) as error:
            raise StageError(f"{self.url} does not answer: {error}", again=True) from error
        if status == 200:
            return answer
        said = error_of(answer, f"HTTP status {status}")
        raise StageError(f"{self.url}: {said}", again=status in (502, 503, 504))


class _Seat:
    def __init__(self, replica: Replica) -> None:
        self.replica = replica
        self.busy = False
        self.rests_until = 0.0


class RelayStage:
    """The replicas of one stage.

    A record goes to each of them once before it comes to one again, at most `attempts` times, whichever are busy: a
    dead replica, which fails at once, uses up no record's attempts. A replica that failed rests for `rest` seconds.
    """

    def __init__(self, replicas: Sequence[Replica], attempts: int = 6, rest: float = 0.5) -> None:
        self._seats = [_Seat(replica) for replica in replicas]
        self._attempts, self._rest = attempts, rest
        self._changed = threading.Condition()

    def run(self, record: bytes) -> bytes:
        """Run a record on some replica, and on others if that fails. Raises StageError."""
        tried: Counter[_Seat] = Counter()
        while True:
            seat = self._take(tried)
            try:
                answer = seat.replica.run(record)
            except StageError as error:
                tried[seat] += 1
                self._give_back(seat, failed=True)
                if not error.again or all(tried[seat] >= self._attempts for seat in self._seats):
                    raise
            except BaseException:
                self._give_back(seat, failed=True)
                raise
            else:
                self._give_back(seat, failed=False)
                return answer

    def _take(self, tried: Counter[_Seat]) -> _Seat:
        """The one of those that were tried least that has waited longest, as soon as one of them is free."""
        with self._changed:
            while True:
                least = min(tried[seat] for seat in self._seats)
                free = [seat for seat in self._seats if tried[seat] == least and not seat.busy]
                rested = [seat for seat in free if seat.rests_until <= time.monotonic()]
                if rested:
                    rested[0].busy = True
                    return rested[0]
                wait = min((seat.rests_until for seat in free), default=None)
                self._changed.wait(None if wait is None else max(0.0, wait - time.monotonic()))

    def _give_back(self, seat: _Seat, *, failed: bool) -> None:
        with self._changed:
            seat.busy = False
            seat.rests_until = time.monotonic() + self._rest if failed else 0.0
            self._seats.remove(seat)
            self._seats.append(seat)
            self._changed.notify_all()  # not every record may go to this one


class Relay:
    """A pipeline's stages. `run` may be called by many threads at once: then all stages work at the same time."""

    def __init__(self, stages: Sequence[RelayStage]) -> None:
        self.stages = list(stages)

    def run(self, record: bytes) -> bytes:
        """From a client's record to the record with its answer. Raises StageError."""
        for stage in self.stages:
            record = stage.run(record)
        return record
