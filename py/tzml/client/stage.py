"""A session of this device as a stage of an attested pipeline: it takes and gives sealed records."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import Any

from tzml.client.declarations import ffi
from tzml.client.device import record_of
from tzml.client.library import library
from tzml.client.model import check
from tzml.device import SessionRecord
from tzml.errors import TzmlError


class DeviceStage:
    """A session in the TEE whose inputs come, and whose outputs go, in records; a context manager that closes it.

    `record` is what the session proves of its key, to be checked by the owner's verifier.
    """

    def __init__(self, session: Any, record: SessionRecord) -> None:
        self._session = session
        self._given_size = 0
        self.record = record

    def join(self, release: bytes) -> int:
        """Take a release (.tzr): how many bytes the records have that the stage takes. Raises RunError."""
        sizes: Any = ffi.new("struct tzml_record_sizes *")
        check(library().tzml_join(self._open_session(), release, len(release), sizes))
        self._given_size = sizes.given
        return int(sizes.taken)

    def run(self, record: bytes) -> bytes:
        """The record that the stage makes of this one. Raises RunError."""
        given = ffi.new("uint8_t[]", self._given_size)
        check(library().tzml_run_record(self._open_session(), record, len(record), given, self._given_size))
        return bytes(ffi.buffer(given))

    def _open_session(self) -> Any:
        if self._session is None:
            raise TzmlError("the stage is closed", "open it again")
        return self._session

    def close(self) -> None:
        """Wipe keys and model. A closed stage may be closed again."""
        if self._session is not None:
            library().tzml_close(self._session)
            self._session = None

    def __enter__(self) -> DeviceStage:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_stage(bundle: str | os.PathLike[str], nonce: bytes, grant: bytes | None = None) -> DeviceStage:
    """Open a bundle in the TEE as a stage, with a key of its own.

    Args:
        bundle: its path
        nonce: 32 random bytes of whoever will check the evidence
        grant: for a sealed bundle; without it, a grant that is appended to the bundle is taken

    Raises RunError.

    """
    session, told = ffi.new("struct tzml_session **"), ffi.new("struct tzml_evidence *")
    data = ffi.NULL if grant is None else ffi.from_buffer(grant)
    size = 0 if grant is None else len(grant)
    check(library().tzml_open_stage(os.fsencode(Path(bundle)), data, size, nonce, told, session))
    return DeviceStage(session[0], SessionRecord(*record_of(told, nonce)))
