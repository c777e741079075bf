"""What OP-TEE's core opens AES-GCM with (gcm_a64.S), under QEMU's user emulation, against `cryptography`."""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import ROOT
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from tzml.bench.programs import CROSS_LIBC, compile_c, run_emulated, source

from .conftest import LAYER

LOOP = LAYER / "recipes-security/optee-os/files/platform/gcm_a64.S"
BLOCK = 16
EIGHT = 8
MESSAGE = struct.Struct("<IIII32s16s16s")
KEY_SIZES = (16, 24, 32)


@dataclass(frozen=True)
class Sealed:
    """A message with one block of associated data, opened from its first counter (NIST SP 800-38D's J0)."""

    key: bytes
    first_counter: bytes
    associated: bytes
    plain: bytes
    first_call: int = 0
    in_place: bool = False

    @property
    def blocks(self) -> int:
        return len(self.plain) // BLOCK

    @property
    def counter_after(self) -> bytes:
        """After the blocks that the loop opens, eight at once: 32 bits, which do not carry."""
        last = int.from_bytes(self.first_counter[12:], "big") + 1 + self.blocks // EIGHT * EIGHT
        return self.first_counter[:12] + (last & 0xFFFFFFFF).to_bytes(4, "big")

    def seal(self) -> tuple[bytes, bytes]:
        """Ciphertext and tag."""
        cipher = Cipher(algorithms.AES(self.key), modes.GCM(self.nonce())).encryptor()
        cipher.authenticate_additional_data(self.associated)
        return cipher.update(self.plain) + cipher.finalize(), cipher.tag

    def nonce(self) -> bytes:
        """A nonce that begins with this counter.

        It is hashed unless it has 96 bits: counter = (nonce * H ^ length) * H.
        """
        if self.first_counter[12:] == b"\0\0\0\1":
            return self.first_counter[:12]
        hash_key = Cipher(algorithms.AES(self.key), modes.ECB()).encryptor().update(bytes(BLOCK))
        inverse = power(int.from_bytes(hash_key, "big"), 2**128 - 2)
        hashed = multiply(int.from_bytes(self.first_counter, "big"), inverse)
        return multiply(hashed ^ 8 * BLOCK, inverse).to_bytes(BLOCK, "big")


def multiply(a: int, b: int) -> int:
    """NIST SP 800-38D, section 6.3."""
    product = 0
    for bit in range(127, -1, -1):
        product ^= b if a >> bit & 1 else 0
        b = b >> 1 ^ (0xE1 << 120 if b & 1 else 0)
    return product


def power(base: int, exponent: int) -> int:
    result = 1 << 127
    while exponent:
        if exponent & 1:
            result = multiply(result, base)
        base = multiply(base, base)
        exponent >>= 1
    return result


def messages(seed: int) -> list[Sealed]:
    """All lengths to 80 blocks with all sizes of keys, each with another counter, way of calling and place."""
    rng = random.Random(seed)
    made = []
    for blocks in range(81):
        for key_size in KEY_SIZES:
            # a third is about to wrap; those that start with 1 have a nonce of 96 bits
            counter = rng.choice([1, 2**32 - 1 - rng.randrange(60), rng.getrandbits(32)])
            made.append(
                Sealed(
                    rng.randbytes(key_size),
                    rng.randbytes(12) + counter.to_bytes(4, "big"),
                    rng.randbytes(BLOCK),
                    rng.randbytes(BLOCK * blocks),
                    EIGHT * rng.randrange(blocks // EIGHT) if blocks >= EIGHT else 0,
                    rng.random() < 0.5,
                )
            )
    return made


def wrapping(message: Sealed) -> bool:
    return message.counter_after[12:] < message.first_counter[12:]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("gcm") / "open_gcm"
    code = [ROOT / "tests/c/open_gcm.c", LOOP]
    include = [f"-I{ROOT / 'tests/c/optee'}", f"-I{source('.')}"]
    compile_c("aarch64-linux-gnu-gcc", ["-march=armv8-a+crypto", *code, *include, "-o", path], path.parent)
    return path


def opened(program: Path, cases: list[Sealed]) -> tuple[list[tuple[bytes, bytes, bytes]], int]:
    """Plaintext, tag and counter of each; instructions of the first call of the loop."""
    given, answers = program.parent / "cases", program.parent / "answers"
    given.write_bytes(
        b"".join(
            MESSAGE.pack(
                len(case.key),
                case.blocks,
                case.first_call,
                case.in_place,
                case.key,
                case.first_counter,
                case.associated,
            )
            + case.seal()[0]
            for case in cases
        )
    )
    cost = run_emulated([program, given, answers], program.parent, CROSS_LIBC)
    data, found = answers.read_bytes(), []
    for case in cases:
        tag, counter, data = data[:BLOCK], data[BLOCK : 2 * BLOCK], data[2 * BLOCK :]
        found.append((data[: len(case.plain)], tag, counter))
        data = data[len(case.plain) :]
    assert not data
    assert cost.instructions
    return found, cost.instructions


def test_messages_of_all_lengths_open_as_they_were_sealed(program: Path) -> None:
    cases = messages(11)
    for key_size in KEY_SIZES:
        of_size = [case for case in cases if len(case.key) == key_size]
        assert sum(map(wrapping, of_size)) > 5, "the counter's 32 bits wrap in some"
        assert {case.in_place for case in of_size if case.first_call} == {False, True}
    found, _ = opened(program, cases)
    for case, (plain, tag, counter) in zip(cases, found, strict=True):
        about = f"{case.blocks} blocks, {8 * len(case.key)} bits, counter {case.first_counter[12:].hex()}"
        assert plain == case.plain, about
        assert tag == case.seal()[1], about
        if case.blocks >= EIGHT:
            assert counter == case.counter_after, about


@pytest.mark.parametrize(("key_size", "at_most"), [(16, 270), (24, 302), (32, 334)])
def test_eight_blocks_take_so_many_instructions(program: Path, key_size: int, at_most: int) -> None:
    """256 bits: 334 for 128 bytes, 2.61 a byte; 232 of them are the cipher's own rounds."""

    def instructions(blocks: int) -> int:
        case = Sealed(bytes(key_size), bytes(15) + b"\1", bytes(BLOCK), bytes(BLOCK * blocks))
        return opened(program, [case])[1]

    few, many = 8 * EIGHT, 64 * EIGHT
    assert (instructions(many) - instructions(few)) / ((many - few) // EIGHT) <= at_most
    # and what a call takes besides, for the powers of the hash key above all
    assert instructions(few) < few // EIGHT * at_most + 2000
