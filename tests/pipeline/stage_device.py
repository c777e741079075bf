"""Devices for tests of pipelines: the TA's own code in a process (tests/c/stage_device.c)."""

from __future__ import annotations

import contextlib
import hashlib
import secrets
import struct
import subprocess
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import IO

from bundle_examples import OWNER
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from tzml.device import Evidence, Report, SessionRecord
from tzml.owner.attestation import Measurements
from tzml.owner.register import Recorded, Register
from tzml.pipeline.relay import StageError

TA, CORE = (hashlib.sha256(name).digest() for name in (b"TA", b"core"))
IMAGE = Measurements(TA, CORE, "hardware", "device-tree-seed")
PSS = padding.PSS(padding.MGF1(hashes.SHA256()), 32)


@cache
def optee_key(number: int = 1) -> rsa.RSAPrivateKey:
    """The attestation key of an OP-TEE; smaller than a device's, to save time."""
    return rsa.generate_private_key(65537, 2048)


def attested(
    public: bytes, nonce: bytes, ta: bytes = TA, core: bytes = CORE, key: int = 1, owners: tuple[bytes, ...] = ()
) -> SessionRecord:
    """What an OP-TEE with these measurements says of a session's key."""
    record = SessionRecord(public, nonce, owners or (OWNER.public,), None)
    rsa_key = optee_key(key)

    def report(bound: bytes, measured: bytes) -> Report:
        return Report(measured, rsa_key.sign(bound + measured, PSS, hashes.SHA256()))

    modulus = rsa_key.public_key().public_numbers().n.to_bytes(256, "big")
    evidence = Evidence(modulus, report(record.ta_nonce, ta), report(record.core_nonce, core))
    return replace(record, evidence=evidence)


def register(folder: Path) -> Register:
    """A register that has the key of the OP-TEE number 1."""
    known = Register(folder)
    evidence = attested(OWNER.public, bytes(32)).evidence
    assert evidence
    known.record_key(evidence, Recorded.factory)
    return known


class RefusedError(StageError):
    """What the stage's code answered; `status` is its name in runtime/include/tzml/status.h."""

    def __init__(self, status: str, again: bool = False) -> None:
        super().__init__(status, again=again)
        self.status = status


class StageDevice:
    """A device with a session of its own. Killed, it answers nothing more."""

    def __init__(self, program: Path, private: str = "11" * 32) -> None:
        self._process = subprocess.Popen([program, private], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(self, command: str, data: bytes = b"") -> bytes:
        """What a command gives (tests/c/stage_device.c). Raises RefusedError."""
        into, out = self._process.stdin, self._process.stdout
        assert into
        assert out
        try:
            into.write(command.encode() + struct.pack("<I", len(data)) + data)
            into.flush()
            (size,) = struct.unpack("<I", _exactly(out, 4))
            status, _, answer = _exactly(out, size).partition(b"\0")
        except OSError as error:
            raise RefusedError("DEAD", again=True) from error
        if status != b"SUCCESS":
            raise RefusedError(status.decode())
        return answer

    def begin(self, nonce: bytes) -> bytes:
        """A new session's public key."""
        return self.ask("B", nonce)

    def open(self, bundle: bytes, grant: bytes = b"") -> None:
        self.ask("O", bundle)
        if grant:
            self.ask("G", grant)
        self.ask("L")

    def join(self, release: bytes) -> tuple[int, int]:
        """The sizes of the records that the stage takes and gives."""
        taken, given = struct.unpack("<QQ", self.ask("J", release))
        return taken, given

    def run(self, record: bytes) -> bytes:
        return self.ask("R", record)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """End it; what it had to give back, it has given back."""
        assert self._process.stdin
        with contextlib.suppress(BrokenPipeError):  # of one that was killed
            self._process.stdin.close()
        code = self._process.wait(30)
        assert code in (0, -9), code


def _exactly(stream: IO[bytes], size: int) -> bytes:
    data = stream.read(size)
    if len(data) < size:
        raise OSError("the device is gone")
    return data


def fresh() -> bytes:
    return secrets.token_bytes(32)
