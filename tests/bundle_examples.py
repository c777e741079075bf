"""The specification's example bundles: docs/bundle-examples, made by `python tests/bundle_examples.py`.

Each has one property, and the status that every reader must give for it. C and Python are tested
against the files; the files are tested against this.
"""

from __future__ import annotations

import hashlib
import json
import struct
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from tzml.bundle import (
    Argument,
    Bundle,
    Call,
    Chunk,
    Content,
    Direction,
    DType,
    Library,
    Memory,
    Port,
    Program,
    Region,
    Role,
    Target,
    Tensor,
    UpdateNoise,
    Worlds,
    container,
)
from tzml.owner.keys import OwnerKey

FOLDER = Path(__file__).parent.parent / "docs" / "bundle-examples"
HEADER, ROW = 320, 64

# tests/c/example_kernels.c: 0 multiplies 16 floats by 16 others, 1 adds up 16 floats, 2 adds 16 to 16 in place
KERNELS_DIGEST = hashlib.sha256(b"tzml example kernels 2").digest()
WEIGHTS = struct.pack("<16f", *(0.5 * i for i in range(16)))
ONES = struct.pack("<16f", *([1.0] * 16))
INPUT = struct.pack("<16f", *range(16))
ANSWER = sum(0.5 * i * i for i in range(16))

IMAGE = Tensor("image", DType.float32, (1, 4, 4), Direction.input)
SCORE = Tensor("score", DType.float32, (1,), Direction.output)


def arena(offset: int, size: int = 64) -> Argument:
    return Argument(Region.arena, offset, size)


def weights(offset: int = 0, size: int = 64, chunk: int = 0) -> Argument:
    return Argument(Region.weights, offset, size, chunk)


def state(offset: int = 0, size: int = 64) -> Argument:
    return Argument(Region.state, offset, size)


# a key for examples, which everybody knows
OWNER = OwnerKey(
    ec.derive_private_key(int.from_bytes(hashlib.sha256(b"tzml example owner").digest()), ec.SECP256R1())
)


def content(*data: bytes) -> tuple[Content, ...]:
    return tuple(Content((d,)) for d in data)


PROGRAM = Program(
    name="main",
    inputs=(Port(0, 0),),
    outputs=(Port(1, 128),),
    calls=(Call(0, (arena(0), weights(), arena(64))), Call(1, (arena(64), arena(128, 4)))),
    kernels_digest=KERNELS_DIGEST,
)
MEMORY = Memory(arena_size=192, weights_size=64, chunks=(Chunk(len(WEIGHTS), 0),))
BUNDLE = Bundle(
    target=Target.aarch64,
    tensors=(IMAGE, SCORE),
    programs=(PROGRAM,),
    memories=(MEMORY,),
    libraries=(Library(b"signed OP-TEE library", b"ELF"),),
    chunks=content(WEIGHTS),
    metadata=b'{"name": "example"}',
    notes=b"{}",
    model_id=uuid.UUID("6f1c3a52-6a57-4a35-9d3e-3b1c5f0e9a01"),
    model_version=3,
    code_memory=4096,
)


@dataclass(frozen=True)
class Example:
    """What a file shows.

    `readable`: wrong only for its kernel library, which Python does not have. `answer`: what the first entry point
    gives for INPUT, as a float32.
    """

    name: str
    status: str
    about: str
    data: bytes
    readable: bool = False
    answer: float | None = None


def seal(data: bytes) -> bytes:
    """Make all digests right again, as an attacker can in an unsigned bundle."""
    out = bytearray(data)
    (count,) = struct.unpack_from("<I", out, 16)
    for i in range(count):
        at = HEADER + i * ROW
        offset, size = struct.unpack_from("<QQ", out, at + 16)
        if offset + size <= len(out):
            out[at + 32 : at + 64] = hashlib.sha256(out[offset : offset + size]).digest()
    end = HEADER + count * ROW
    out[224:256] = hashlib.sha256(out[:224] + bytes(96) + out[HEADER:end]).digest()
    return bytes(out)


def patch(data: bytes, at: int, form: str, *values: int | bytes) -> bytes:
    out = bytearray(data)
    struct.pack_into("<" + form, out, at, *values)
    return bytes(out)


def section_offset(data: bytes, row: int) -> int:
    return int(struct.unpack_from("<Q", data, HEADER + row * ROW + 16)[0])


class Patcher:
    """Changes a bundle's bytes past what the writer lets through; `rows` are the first rows of each type."""

    interface, memory, plan, kernels_tee, kernels_ree, metadata, notes, chunk = range(8)

    def __init__(self, data: bytes) -> None:
        self.data = data

    def header(self, at: int, form: str, *values: int | bytes) -> bytes:
        return seal(patch(self.data, at, form, *values))

    def row(self, row: int, at: int, form: str, *values: int | bytes) -> bytes:
        return seal(patch(self.data, HEADER + row * ROW + at, form, *values))

    def section(self, row: int, at: int, form: str, *values: int | bytes) -> bytes:
        return seal(patch(self.data, section_offset(self.data, row) + at, form, *values))


def with_program(**changes: object) -> Bundle:
    return replace(BUNDLE, programs=(replace(PROGRAM, **changes),))  # type: ignore[arg-type]


def with_memory(**changes: object) -> Bundle:
    return replace(BUNDLE, memories=(replace(MEMORY, **changes),))  # type: ignore[arg-type]


class ExampleList(list[Example]):
    """Examples that are being made."""

    def add(
        self, name: str, status: str, about: str, data: bytes, readable: bool = False, answer: float | None = None
    ) -> None:
        self.append(Example(name, status, about, data, readable, answer))

    def works(self, name: str, about: str, bundle: Bundle | bytes, answer: float | None = ANSWER) -> None:
        data = bundle if isinstance(bundle, bytes) else bundle.encode()
        self.add(name, "SUCCESS", about, data, True, answer)


class Examples(ExampleList):
    """Every example, in the order of docs/bundle.md."""

    def __init__(self) -> None:
        super().__init__()
        self.good = BUNDLE.encode()
        self.valid()
        self.container()
        self.signed()
        self.sections()
        self.interface()
        self.flow()
        self.memory()
        self.plan()
        self.secure_memory()
        self.calls()
        from bundle_bounds import Bounds  # which is made of what is here

        self.extend(Bounds())

    def valid(self) -> None:
        self.works("minimal", "one program, both libraries, metadata, one chunk", BUNDLE)
        second = (Call(0, (arena(0), weights(0, 64, 1), arena(64))), PROGRAM.calls[1])
        apart = (Chunk(64, 0), Chunk(100, 64))
        bundle = replace(
            BUNDLE,
            programs=(replace(PROGRAM, calls=second),),
            memories=(replace(MEMORY, weights_size=192, chunks=apart),),
            chunks=content(bytes(64), WEIGHTS + bytes(36)),
        )
        self.works("two-chunks", "the second chunk is used; sizes are not rounded", bundle)
        self.works("streamed", "two chunks share a place", streamed())
        none = replace(PROGRAM, calls=(Call(1, (arena(0), arena(128, 4))),))
        bundle = replace(
            BUNDLE, programs=(none,), memories=(replace(MEMORY, weights_size=0, chunks=()),), chunks=()
        )
        self.works("no-weights", "a model without weights", bundle, sum(range(16)))
        self.works("state", "a piece of state with initial content, which the program changes", stateful())
        self.works("state-of-zeros", "state without initial content", stateful(()), 0.0)
        self.works("output-in-state", "an output is a part of the state", output_in_state())
        self.works("partition", "two programs, joined by a tensor", partition())
        self.works("three-programs", "programs joined by two tensors", three_programs(), 3600.0)
        self.works("two-inputs", "a product of two inputs", product_of_inputs(), 1240.0)
        self.works("random-input", "an input that the caller does not give", random_input())
        self.works("two-entries", "two entry points, of which the first is run", two_entries())
        worlds = partition(Worlds.ree, Worlds.tee)
        self.add("no-program-for-both", "SUCCESS", "a program for each world", worlds.encode(), True)
        self.works(
            "long-name", "a name of 1024 bytes", replace(BUNDLE, tensors=(replace(IMAGE, name="n" * 1024), SCORE))
        )
        self.works("utf8-name", "a name with letters of two, three and four bytes",
                   replace(BUNDLE, tensors=(replace(IMAGE, name="über→🙂"), SCORE)))  # fmt: skip
        self.works("optional-section", "an optional section of an unknown type", unknown_section(0))
        self.works("no-metadata", "no metadata and no notes", replace(BUNDLE, metadata=b"", notes=b""))

    def container(self) -> None:
        good, at = self.good, Patcher(self.good)
        self.add("empty", "NOT_A_BUNDLE", "no bytes at all", b"")
        self.add("text", "NOT_A_BUNDLE", "another file", b"#!/bin/sh\necho this is not a bundle\n" * 20)
        self.add("truncated-header", "TRUNCATED", "ends within the header", good[:200])
        self.add("truncated-table", "TRUNCATED", "ends within the section table", good[: HEADER + 100])
        self.add("truncated-weights", "TRUNCATED", "the last byte is missing", good[:-1])
        self.add("format-1", "FORMAT_OLD", "format_version 1", at.header(8, "I", 1))
        self.add("format-3", "FORMAT_VERSION", "format_version 3", at.header(8, "I", 3))
        self.add("kernel-abi", "FORMAT_VERSION", "kernel_abi 2, whose libraries are refused", at.header(60, "I", 2))
        self.add(
            "header-size", "HEADER_MALFORMED", "header_size does not fit section_count", at.header(12, "I", 320)
        )
        self.add("section-count", "LIMIT", "section_count 2^32-1", patch(good, 16, "I", 0xFFFFFFFF))
        self.add("header-bit", "HEADER_DIGEST", "one bit of model_version flipped", patch(good, 48, "B", 2))
        self.add(
            "table-bit", "HEADER_DIGEST", "one bit of the section table flipped", patch(good, HEADER + 40, "B", 1)
        )
        self.add("required", "UNSUPPORTED", "a feature that readers must know", at.header(20, "I", 1 << 31))
        self.add("secure-memory-5-gib", "LIMIT", "secure_memory 5 GiB", at.header(64, "Q", 5 << 30))
        self.add("code-memory", "HEADER_MALFORMED", "more memory for code than in all", at.header(72, "Q", 1 << 30))
        self.add("reserved", "HEADER_MALFORMED", "a reserved byte is set", at.header(223, "B", 1))
        self.add("target", "WRONG_TARGET", "compiled for x86-64", at.header(56, "I", 2), True)

    def signed(self) -> None:
        owned = replace(BUNDLE.header(), owner=OWNER.public)
        good = container.encode(owned, BUNDLE.sections(), OWNER.sign)
        at = Patcher(good)
        self.works("signed", "a clear bundle that its owner signed", good)
        self.add("owner", "SIGNATURE", "an owner's key without a signature", at.header(256, "64s", bytes(64)))
        self.add("owner-not-on-the-curve", "SIGNATURE", "an owner's key that is no point", at.header(80, "B", 1))
        self.add("signature", "HEADER_MALFORMED", "a signature without an owner", at.header(80, "64s", bytes(64)))
        self.add(
            "signature-bit", "SIGNATURE", "one bit of the signature flipped", patch(good, 319, "B", good[319] ^ 1)
        )
        self.add("signed-version", "SIGNATURE", "another version, after the owner signed", at.header(48, "Q", 4))
        self.add("signed-weights", "SIGNATURE", "other weights, after the owner signed",
                 at.section(at.chunk, 0, "I", 7))  # fmt: skip
        another = OwnerKey(ec.derive_private_key(2, ec.SECP256R1()))
        stolen = container.encode(owned, BUNDLE.sections(), another.sign)
        self.add("signature-of-another", "SIGNATURE", "signed with a key that is not the owner's", stolen)
        sealed = (FOLDER / "sealed.tzm").read_bytes()
        self.add("sealed", "GRANT_ABSENT", "a sealed bundle, without a grant (tests/sealed_example.py)", sealed)
        trained = (FOLDER / "checkpoint.tzm").read_bytes()
        about = "a sealed bundle whose state is saved, without a grant (tests/checkpoint_example.py)"
        self.add("checkpoint", "GRANT_ABSENT", about, trained)
        private = (FOLDER / "federated.tzm").read_bytes()
        about = "a sealed bundle that federated rounds train, without a grant (tests/federated_example.py)"
        self.add("federated", "GRANT_ABSENT", about, private)
        for name, row, code, status, about in (
            ("sealed-interface", at.interface, 1, "SECTION_TABLE", "the interface is sealed"),
            ("unknown-protection", at.plan, 2, "PROTECTION", "a plan that is protected in a way nobody knows"),
        ):
            data = bytearray(at.row(row, 9, "B", code))
            data[256:320] = OWNER.sign(bytes(data[224:256]))
            self.add(name, status, about, bytes(data))

    def sections(self) -> None:
        good, at = self.good, Patcher(self.good)

        def add(name: str, about: str, data: bytes, status: str = "SECTION_TABLE") -> None:
            self.add(name, status, about, data)

        add("no-sections", "section_count 0", seal(patch(good, 12, "II", HEADER, 0)))
        add("first-not-interface", "the first section is a memory", at.row(0, 0, "I", 2))
        add("two-interfaces", "a second interface", at.row(1, 0, "II", 1, 1))
        add("section-type-0", "a section of type 0", at.row(0, 0, "I", 0))
        add("unknown-required", "a required section of an unknown type", unknown_section(1), "UNSUPPORTED")
        add("section-flags", "a flag that does not exist", at.row(at.chunk, 10, "B", 3))
        add("section-optional", "a plan that may be skipped", at.row(at.plan, 10, "B", 0))
        add("metadata-required", "metadata that may not be skipped", at.row(at.metadata, 10, "B", 1))
        add("section-reserved", "a reserved byte is set", at.row(at.plan, 15, "B", 1))
        add("section-protection", "a sealed plan that nobody signed", at.row(at.plan, 9, "B", 1))
        add("worlds-none", "a plan for no world", at.row(at.plan, 8, "B", 0))
        add("worlds-many", "a plan for a third world", at.row(at.plan, 8, "B", 7))
        add("interface-worlds", "an interface for one world", at.row(at.interface, 8, "B", 1))
        add("kernels-worlds", "one library for both worlds", at.row(at.kernels_tee, 8, "B", 3))
        add("kernels-order", "the normal world's library comes first",
            seal(patch(patch(good, HEADER + 3 * ROW + 8, "B", 2), HEADER + 4 * ROW + 8, "B", 1)))  # fmt: skip
        add("kernels-twice", "two libraries of one number for one world", at.row(at.kernels_ree, 8, "B", 1))
        add("kernels-gap", "a library's number is missing", at.row(at.kernels_ree, 4, "I", 2))
        add("plan-index", "the first plan has index 1", at.row(at.plan, 4, "I", 1))
        add("chunk-order", "the first chunk has index 1", at.row(at.chunk, 4, "I", 1))
        add("types-out-of-order", "notes before metadata", at.row(at.metadata, 0, "I", 6))
        add("overlap", "a section begins within the one before", at.row(1, 16, "Q", section_offset(good, 0)))
        add("gap", "a section begins later than it must",
            seal(patch(good, HEADER + 7 * ROW + 16, "Q", section_offset(good, 7) + 64) + bytes(64)))  # fmt: skip
        add("overflow", "offset + size is above 2^64", at.row(at.chunk, 16, "QQ", 2**64 - 64, 128))
        add("past-end", "the last section is longer than the file", at.row(at.chunk, 24, "Q", 65))
        add("nothing-in-it", "a section of no bytes", at.row(at.metadata, 24, "Q", 0))
        add("bundle-size", "the sections do not fill bundle_size", at.header(24, "Q", len(good) - 1))
        add("plan-bit", "one bit of the plan flipped",
            patch(good, section_offset(good, at.plan) + 40, "B", 0x55), "SECTION_DIGEST")  # fmt: skip
        add(
            "weights-bit", "one bit of the weights flipped", patch(good, len(good) - 1, "B", 0x55), "SECTION_DIGEST"
        )

    def interface(self) -> None:
        good, at = self.good, Patcher(self.good)
        start, program, tensor, port = section_offset(good, 0), 32, 64, 192
        strings = port + 8

        def add(name: str, about: str, offset: int, form: str, *values: int | bytes, status: str = "") -> None:
            self.add(name, status or "INTERFACE_MALFORMED", about, at.section(0, offset, form, *values))

        at_tensor = Patcher(patch(good, start + tensor + 48, "Q", 16))
        self.add("dtype-unknown-fits", "UNSUPPORTED", "a dtype that does not exist, of a byte a number",
                 at_tensor.section(0, tensor + 8, "I", max(DType) + 1))  # fmt: skip
        at_tensor = Patcher(patch(good, start + tensor + 48, "Q", 1))
        self.add("shape-overflow-of-1", "INTERFACE_MALFORMED", "a shape whose size is above 2^64, in a byte",
                 at_tensor.section(0, tensor + 16, "3I", *[0xFFFFFFFF] * 3))  # fmt: skip
        add("interface-magic", "not an interface", 0, "4s", b"FTNI")
        add("interface-size", "the interface's own size differs", 4, "I", 32)
        for place, name in enumerate(("programs", "tensors", "ports", "strings")):
            add(f"count-{name}", f"2^32-1 {name}", 8 + 4 * place, "I", 0xFFFFFFFF, status="LIMIT")
            (count,) = struct.unpack_from("<I", good, start + 8 + 4 * place)
            add(f"more-{name}", f"one of the {name} too many for the section", 8 + 4 * place, "I", count + 1)
        add("interface-reserved", "a reserved byte is set", 31, "B", 1)
        add("program-name-place", "a program's name is not the first string", program, "I", 1)
        add("program-name-empty", "a program without a name", program + 4, "I", 0)
        add("program-name-long", "a name of 1025 bytes", program + 4, "I", 1025, status="LIMIT")
        add("program-role", "a role that does not exist", program + 8, "I", 5, status="UNSUPPORTED")
        add("program-role-0", "role 0", program + 8, "I", 0, status="UNSUPPORTED")
        add("program-worlds-none", "a program for no world", program + 12, "I", 0)
        add("program-worlds-many", "a program for a third world", program + 12, "I", 4)
        add("program-entry", "the first entry point is 1", program + 16, "I", 1)
        add("program-inputs", "65 inputs", program + 20, "I", 65, status="LIMIT")
        add("program-outputs", "65 outputs", program + 24, "I", 65, status="LIMIT")
        add("program-no-input", "a program without inputs", program + 20, "II", 0, 2)
        add("program-no-output", "a program without outputs", program + 20, "II", 2, 0)
        add("program-ports", "a program with more ports than there are", program + 20, "I", 2)
        add("program-reserved", "a reserved byte is set", program + 31, "B", 1)
        add("tensor-name-long", "a name past the strings", tensor + 4, "I", 64)
        add("tensor-dtype", "dtype 99", tensor + 8, "I", 99, status="UNSUPPORTED")
        add("tensor-dtype-0", "dtype 0", tensor + 8, "I", 0, status="UNSUPPORTED")
        add("tensor-rank", "2^32-1 dimensions", tensor + 12, "I", 0xFFFFFFFF)
        add("tensor-rank-9", "9 dimensions", tensor + 12, "I", 9)
        add("tensor-unused", "a dimension that is not used is not 0", tensor + 44, "I", 1)
        add("tensor-size", "a size that is not the dimensions'", tensor + 48, "Q", 65)
        add("tensor-product", "dimensions whose product overflows", tensor + 16, "3I", *[0xFFFFFFFF] * 3)
        add("tensor-empty", "a dimension is 0", tensor + 16, "I", 0)
        large = patch(patch(good, start + tensor + 16, "3I", 1 << 30, 1, 2), start + tensor + 48, "Q", 8 << 30)
        self.add("tensor-8-gib", "INTERFACE_MALFORMED", "a tensor of more than 4 GiB", seal(large))
        add("tensor-flags", "input and output at once", tensor + 56, "I", 3)
        add("tensor-flags-5", "given by the caller and by the world", tensor + 56, "I", 5)
        add("tensor-flags-8", "flags that do not exist", tensor + 56, "I", 8)
        add("random-output", "an output that the world gives", tensor + 64 + 56, "I", 4)
        add("tensor-reserved", "a reserved byte is set", tensor + 63, "B", 1)
        add("port-number", "a port of a tensor that does not exist", port, "I", 2)
        add("string-end", "a name without a zero byte at its end", strings + 4, "B", ord("x"))
        add("string-zero", "a zero byte within a name", strings + 1, "B", 0)
        add("name-control", "a control character in a name", strings, "B", 0x1B)
        add("name-delete", "the character U+007F in a name", strings, "B", 0x7F)
        for name, about, raw in (
            ("name-c1", "the control character U+009B in a name", b"\xc2\x9b"),
            ("name-utf8-start", "a name that begins within a character", b"\x80m"),
            ("name-utf8-cut", "a character that is cut off", b"\xc3m"),
            ("name-utf8-long", "a character in more bytes than it needs", b"\xc1\xa1"),
            ("name-utf8-long-3", "the same with three bytes", b"\xe0\x81\xa1"),
            ("name-utf8-long-4", "the same with four bytes", b"\xf0\x81\x81\xa1"),
            ("name-utf8-surrogate", "half a surrogate pair", b"\xed\xa0\x80"),
            ("name-utf8-high", "a character above U+10FFFF", b"\xf4\x90\x80\x80"),
            ("name-utf8-byte", "a byte that UTF-8 does not have", b"\xff"),
        ):
            add(name, about, strings, f"{len(raw)}s", raw)

    def flow(self) -> None:
        """How programs and tensors fit together, past what the writer lets through."""
        parted = partition().encode()
        first, second, tensor = 32, 64, 96
        port = tensor + 3 * 64

        def add(name: str, about: str, offset: int, form: str, *values: int | bytes, data: bytes = parted) -> None:
            self.add(name, "INTERFACE_MALFORMED", about, Patcher(data).section(0, offset, form, *values))

        add("output-unflagged", "a tensor leaves the last program and is no output", tensor + 64 + 56, "I", 0)
        add("input-unflagged", "nothing gives a program's input", tensor + 56, "I", 0)
        add("input-from-program", "a program gives what the caller gives", tensor + 128 + 56, "I", 1)
        add("input-too-early", "a program takes what only it gives", port, "I", 2)
        add("output-too-late", "the second program takes only the caller's input", port + 8, "I", 0)
        add("output-twice", "two programs give one tensor", port + 12, "I", 2)
        add("two-roles", "the programs of one entry point have two roles", second + 8, "I", Role.evaluate)
        add("entries-apart", "a tensor passes between entry points", second + 16, "I", 1)
        add("entries-gap", "an entry point is missing", second + 16, "I", 2)
        twice = two_entries().encode()
        add("entries-order", "entry points in the wrong order", first + 16, "II", 1, 1, data=twice)
        add("port-twice", "a program takes a tensor twice", 64 + 3 * 64 + 4, "I", 0, data=two_inputs())
        names = port + 16
        add(
            "program-names",
            "two programs of one name",
            names,
            "12s",
            b"first\0first\0",
            data=renamed("first", "other"),
        )
        add(
            "tensor-names",
            "two tensors of one name",
            names + 12,
            "12s",
            b"image\0image\0",
            data=renamed("first", "other"),
        )
        unused = replace(BUNDLE, tensors=(IMAGE, SCORE, replace(IMAGE, name="unused")))
        self.add("tensor-unused-input", "INTERFACE_MALFORMED", "an input that no program takes", unchecked(unused))
        unused = replace(BUNDLE, tensors=(IMAGE, SCORE, replace(SCORE, name="unused")))
        self.add(
            "tensor-unused-output", "INTERFACE_MALFORMED", "an output that no program gives", unchecked(unused)
        )
        again = replace(PROGRAM, name="again", entry=1, inputs=(Port(1, 0),))
        self.add(
            "input-from-entry",
            "INTERFACE_MALFORMED",
            "a program takes what another entry point gives",
            unchecked(replace(BUNDLE, programs=(PROGRAM, again))),
        )
        # whose output would not be missed if its ports were not looked at any further
        again = replace(PROGRAM, name="again", entry=1, inputs=(Port(0, 0), Port(0, 0)))
        self.add(
            "port-twice-in-entry",
            "INTERFACE_MALFORMED",
            "the second entry point takes a tensor twice",
            unchecked(replace(BUNDLE, programs=(PROGRAM, again))),
        )
        fewer = Patcher(parted).section(1, 0, "4s", b"MEMO")
        self.add("plan-missing", "PLAN_MALFORMED", "two programs and one plan", without_plan(fewer))

    def memory(self) -> None:
        at = Patcher(self.good)
        chunk = 64

        def add(name: str, about: str, offset: int, form: str, *values: int | bytes, status: str = "") -> None:
            self.add(name, status or "PLAN_MALFORMED", about, at.section(at.memory, offset, form, *values))

        add("memory-magic", "not a memory section", 0, "4s", b"OMEM")
        add("memory-size", "the memory section's own size differs", 4, "I", 64)
        add("memory-first-chunk", "the first chunk is another", 8, "I", 1)
        add("memory-first-state", "the first piece of state is another", 16, "I", 1)
        add("count-chunks", "2^32-1 chunks", 12, "I", 0xFFFFFFFF, status="LIMIT")
        add("more-chunks", "one chunk too many for the section", 12, "I", 2)
        add("count-pieces", "2^32-1 pieces of state", 20, "I", 0xFFFFFFFF, status="LIMIT")
        add("more-pieces", "one piece of state too many for the section", 20, "I", 1)
        add("sums-without-noise", "sums, and no noise for them", 31, "B", 1)
        add("noise-without-sums", "noise, and no sums that it is for", 63, "B", 1)
        for place, name in enumerate(("arena", "weights", "state")):
            add(f"{name}-5-gib", f"{name} of 5 GiB", 32 + 8 * place, "Q", 5 << 30, status="LIMIT")
            add(f"{name}-unaligned", f"{name} of 100 bytes", 32 + 8 * place, "Q", 100)
        add("arena-none", "an arena of no bytes", 32, "Q", 0)
        add("chunk-size", "a chunk's size differs from the section's", chunk, "Q", 63)
        add("chunk-empty", "a chunk of no bytes", chunk, "Q", 0)
        add("chunk-huge", "a chunk of 2^64-1 bytes", chunk, "Q", 2**64 - 1)
        add("chunk-place", "a chunk past the memory for weights", chunk + 8, "Q", 64)
        add("chunk-overflow", "a chunk at 2^64-64", chunk + 8, "Q", 2**64 - 64)
        add("chunk-unaligned", "a chunk at 4", chunk + 8, "Q", 4)
        self.add("chunk-worlds", "PLAN_MALFORMED", "a chunk for fewer worlds than its memory",
                 at.row(at.chunk, 8, "B", 1))  # fmt: skip
        self.add(
            "plan-worlds", "PLAN_MALFORMED", "a plan for fewer worlds than its program", at.row(at.plan, 8, "B", 1)
        )
        self.add("memory-worlds", "PLAN_MALFORMED", "a program whose worlds have no memory in common",
                 at.row(at.memory, 8, "B", 1))  # fmt: skip
        two = stateful((0, 64))
        pieces = Patcher(two.encode())
        self.works("two-pieces", "two pieces of state", two)
        for name, about, offset in (
            ("piece-order", "pieces of state out of order", 0),
            ("piece-place", "a piece past the state", 128),
            ("piece-unaligned", "a piece at 68", 68),
        ):
            self.add(name, "PLAN_MALFORMED", about, pieces.section(1, 64 + 16 + 16 + 8, "Q", offset))
        self.add("piece-size", "PLAN_MALFORMED", "a piece's size differs from the section's",
                 pieces.section(1, 64 + 16 + 16, "Q", 63))  # fmt: skip
        private = Patcher(with_noise(UpdateNoise(64, 16, 1 << 24)).encode())
        self.works("noise", "noise of the largest deviation", with_noise(UpdateNoise(64, 16, 1 << 24)))
        for name, about, offset, form, value in (
            ("noise-deviation", "noise of a larger deviation", 60, "I", (1 << 24) + 1),
            ("noise-count", "a sum past the state", 56, "I", 17),
            ("noise-count-huge", "2^32-1 sums", 56, "I", 2**32 - 1),
            ("noise-none", "noise for no sum", 56, "I", 0),
            ("noise-place", "sums behind the state", 24, "Q", 128),
            ("noise-overflow", "sums at 2^64-64", 24, "Q", 2**64 - 64),
            ("noise-unaligned", "sums at 68", 24, "Q", 68),
            ("noise-first", "nothing before the sums", 24, "Q", 0),
        ):
            self.add(name, "PLAN_MALFORMED", about, private.section(1, offset, form, value))
        worlds = Patcher(partition(Worlds.ree, Worlds.tee).encode())
        self.add("memories-overlap", "PLAN_MALFORMED", "a world has two memories", worlds.row(1, 8, "B", 3))
        self.add("memories-first", "PLAN_MALFORMED", "the second memory begins at the first chunk again",
                 worlds.section(2, 8, "I", 0))  # fmt: skip

    def plan(self) -> None:
        good, at = self.good, Patcher(self.good)
        start, place = section_offset(good, at.plan), 64
        call = place + 2 * 16
        argument = call + 2 * 8

        def add(name: str, about: str, offset: int, form: str, *values: int | bytes, status: str = "") -> None:
            self.add(name, status or "PLAN_MALFORMED", about, at.section(at.plan, offset, form, *values))

        add("plan-magic", "not a plan", 0, "4s", b"NALP")
        add("plan-size", "the plan's own size differs", 4, "I", 64)
        add("plan-library", "library 16", 8, "I", 16, status="LIMIT")
        add("more-places", "a port too many", 12, "I", 3)
        for number, name in enumerate(("calls", "arguments")):
            add(f"count-{name}", f"2^32-1 {name}", 16 + 4 * number, "I", 0xFFFFFFFF, status="LIMIT")
            (count,) = struct.unpack_from("<I", good, start + 16 + 4 * number)
            add(f"more-{name}", f"one of the {name} too many for the plan", 16 + 4 * number, "I", count + 1)
        add("plan-reserved", "a reserved byte is set", 31, "B", 1)
        add("input-region", "an input in the weights", place, "I", 2)
        add("input-in-state", "an input in the state", place, "I", 3)
        add("place-reserved", "a reserved byte is set", place + 7, "B", 1)
        add("input-place", "an input past the arena", place + 8, "Q", 192)
        add("input-overflow", "an input at 2^64-64", place + 8, "Q", 2**64 - 64)
        add("input-unaligned", "an input at 4", place + 8, "Q", 4)
        add("output-place", "an output past the arena", place + 16 + 8, "Q", 192)
        add("output-no-state", "an output in the state, of which there is none", place + 16, "I", 3)
        pair = Patcher(two_inputs())
        self.add(
            "inputs-overlap", "PLAN_MALFORMED", "two inputs in one place", pair.section(2, place + 16 + 8, "Q", 0)
        )
        add("call-arguments", "a call with 65 arguments", call + 4, "I", 65)
        add("calls-too-many", "the calls take more arguments than there are", call + 4, "I", 4)
        add("calls-too-few", "the calls leave an argument over", call + 4, "I", 2)
        add("argument-region", "region 4", argument, "I", 4)
        add("argument-region-0", "region 0", argument, "I", 0)
        add("argument-state", "state, of which there is none", argument, "I", 3)
        add("argument-chunk", "a chunk that is not there", argument + 24 + 4, "I", 1)
        add("argument-chunk-arena", "a chunk of the arena", argument + 4, "I", 1)
        add("argument-place", "ends past the arena", argument + 8, "Q", 192)
        add("argument-overflow", "at 2^64-64", argument + 8, "Q", 2**64 - 64)
        add("argument-unaligned", "at 4", argument + 8, "Q", 4)
        add("argument-empty", "no bytes", argument + 16, "Q", 0)
        add("argument-past-chunk", "ends past the chunk", argument + 24 + 16, "Q", 65)
        in_state = Patcher(stateful().encode())
        self.add("state-past-end", "PLAN_MALFORMED", "ends past the state",
                 in_state.section(2, argument + 8, "Q", 128))  # fmt: skip
        self.add("state-chunk", "PLAN_MALFORMED", "a chunk of the state", in_state.section(2, argument + 4, "I", 1))

        self.works(
            "two-chunks-a-call", "one call takes two chunks, which lie apart", two_chunks_a_call(), 4 * ANSWER
        )
        meeting = Patcher(two_chunks_a_call().encode()).section(1, 64 + 16 + 8, "Q", 0)
        self.add("chunks-meet", "PLAN_MALFORMED", "one call takes two chunks that share a place", meeting)

    def secure_memory(self) -> None:
        at = Patcher(self.good)
        short = BUNDLE.secure_memory - 4096
        self.add(
            "secure-memory", "SECURE_MEMORY", "takes a page more than secure_memory says", at.header(64, "Q", short)
        )
        short = BUNDLE.mapped_memory - 1
        self.add("mapped-memory", "SECURE_MEMORY", "code_memory leaves too little for the rest",
                 at.header(72, "Q", BUNDLE.secure_memory - short))  # fmt: skip
        large = replace(BUNDLE, libraries=(Library(bytes(20000), b"ELF"),))
        self.works("large-library", "a library larger than all that runs", large)
        at = Patcher(large.encode())
        self.add("library-memory", "SECURE_MEMORY", "no room for the library",
                 at.header(64, "Q", large.secure_memory - 4096))  # fmt: skip

    def calls(self) -> None:
        at = Patcher(self.good)
        call = 64 + 2 * 16

        def add(name: str, about: str, data: Bundle | bytes, status: str = "KERNEL_MISMATCH") -> None:
            self.add(name, status, about, data if isinstance(data, bytes) else data.encode(), True)

        def calls(*calls: Call) -> Bundle:
            return with_program(calls=calls)

        last = PROGRAM.calls[1]
        add("kernel-missing", "kernel 3 of a library of 3", at.section(at.plan, call, "I", 3), "KERNEL_MISSING")
        add("kernel-huge", "kernel 2^32-1", at.section(at.plan, call, "I", 0xFFFFFFFF), "KERNEL_MISSING")
        add("kernel-arity", "an argument too few", calls(Call(0, (arena(0), arena(64))), last))
        add("kernel-size", "an argument too large", calls(Call(0, (arena(0), weights(), arena(64, 128))), last))
        add(
            "kernel-writes-weights",
            "weights would be written",
            calls(Call(0, (arena(0), arena(64), weights())), last),
        )
        add("kernel-aliases", "the output lies on the input", calls(Call(0, (arena(0), weights(), arena(0))), last))
        add("kernel-reads-unwritten", "a call reads what nothing wrote",
            calls(Call(0, (arena(64), weights(), arena(0))), Call(1, (arena(0), arena(128, 4)))))  # fmt: skip
        add("kernel-reads-too-early", "a call reads what a later one writes", calls(last, PROGRAM.calls[0]))
        add("kernel-reads-too-much", "a call reads past what was written",
            calls(Call(1, (arena(0), arena(64, 4))), Call(0, (arena(0), arena(64), arena(128)))))  # fmt: skip
        add("kernel-updates-unwritten", "a kernel changes in place what nothing wrote",
            calls(Call(2, (arena(64), arena(0))), last))  # fmt: skip
        self.works("kernel-updates-arena", "a kernel changes in place what was written",
                   calls(PROGRAM.calls[0], Call(2, (arena(64), weights())), last),
                   ANSWER + sum(0.5 * i for i in range(16)))  # fmt: skip
        long = replace(SCORE, shape=(2,))
        add(
            "output-unwritten",
            "half of the output is what was there before",
            replace(BUNDLE, tensors=(IMAGE, long)),
        )
        before = Tensor("before", DType.float32, (1,), Direction.output)
        both = with_program(outputs=(*PROGRAM.outputs, Port(2, 192)))
        both = replace(both, tensors=(IMAGE, SCORE, before), memories=(replace(MEMORY, arena_size=256),))
        add("output-never-written", "no call writes the second output", both)
        again = Tensor("image again", DType.float32, (1, 4, 4), Direction.output)
        same = replace(with_program(outputs=(*PROGRAM.outputs, Port(2, 0))), tensors=(IMAGE, SCORE, again))
        self.works("output-is-input", "the second output is the input", same)
        add("kernels-digest", "the plan was made for another library",
            with_program(kernels_digest=bytes(32)), "KERNELS_CHANGED")  # fmt: skip
        add("library-missing", "no library has the plan's number", with_program(library=1), "KERNELS_ABSENT")
        only = replace(BUNDLE, libraries=(Library(b"", b"ELF"),))
        add("no-library-for-the-tee", "there is no signed library", only, "KERNELS_ABSENT")
        ree = partition(Worlds.ree, Worlds.ree)
        add("no-program-for-the-tee", "no program may run in the TEE", ree, "KERNELS_ABSENT")


def streamed() -> Bundle:
    """The input times ones, times the weights: the chunks take turns in 64 bytes."""
    turns = (Call(0, (arena(0), weights(), arena(64))), Call(0, (arena(64), weights(0, 64, 1), arena(128))))
    return replace(
        BUNDLE,
        programs=(replace(PROGRAM, outputs=(Port(1, 192),), calls=(*turns, Call(1, (arena(128), arena(192, 4))))),),
        memories=(replace(MEMORY, arena_size=256, chunks=(Chunk(64, 0), Chunk(64, 0))),),
        chunks=content(ONES, WEIGHTS),
    )


def stateful(pieces: Sequence[int] = (0,)) -> Bundle:
    """The input times the first part of the state, to which the weights are added afterwards."""
    calls = (
        Call(0, (arena(0), state(), arena(64))),
        Call(1, (arena(64), arena(128, 4))),
        Call(2, (state(), weights())),
    )
    memory = replace(MEMORY, state_size=128, pieces=tuple(Chunk(64, at) for at in pieces))
    return replace(
        BUNDLE,
        programs=(replace(PROGRAM, calls=calls),),
        memories=(memory,),
        pieces=content(*[WEIGHTS, ONES][: len(pieces)]),
    )


def with_noise(noise: UpdateNoise) -> Bundle:
    """A program that infers: the device adds no noise for it."""
    bundle = stateful()
    return replace(bundle, memories=(replace(bundle.memory, noise=noise),))


def output_in_state() -> Bundle:
    calls = (PROGRAM.calls[0], Call(1, (arena(64), state(64, 4))))
    program = replace(PROGRAM, calls=calls, outputs=(Port(1, 64, Region.state),))
    return replace(BUNDLE, programs=(program,), memories=(replace(MEMORY, state_size=128),))


def partition(first: Worlds = PROGRAM.worlds, second: Worlds = PROGRAM.worlds) -> Bundle:
    """The product in one program, and the sum in another."""
    product = Tensor("product", DType.float32, (1, 4, 4))
    programs = (
        replace(PROGRAM, name="first", outputs=(Port(2, 64),), calls=PROGRAM.calls[:1], worlds=first),
        replace(PROGRAM, name="second", inputs=(Port(2, 64),), calls=PROGRAM.calls[1:], worlds=second),
    )
    if first == second:
        return replace(
            BUNDLE, tensors=(IMAGE, SCORE, product), programs=programs, memories=(replace(MEMORY, worlds=first),)
        )
    memories = (
        replace(MEMORY, worlds=first),
        Memory(arena_size=192, weights_size=64, chunks=(Chunk(64, 0),), worlds=second),
    )
    return replace(
        BUNDLE, tensors=(IMAGE, SCORE, product), programs=programs, memories=memories, chunks=content(WEIGHTS, ONES)
    )


def two_entries() -> Bundle:
    """The model, and an entry point that adds up the input."""
    calls = (Call(1, (arena(0), arena(128, 4))),)
    total = replace(PROGRAM, name="total", role=Role.evaluate, entry=1, calls=calls)
    return replace(BUNDLE, programs=(PROGRAM, total))


def two_inputs() -> bytes:
    """A program that takes two inputs."""
    other = Tensor("other", DType.uint8, (64,), Direction.input)
    calls = (Call(0, (arena(0), arena(64), arena(192))), Call(1, (arena(192), arena(128, 4))))
    program = replace(PROGRAM, inputs=(Port(0, 0), Port(1, 64)), outputs=(Port(2, 128),), calls=calls)
    memory = replace(MEMORY, arena_size=256)
    return replace(BUNDLE, tensors=(IMAGE, other, SCORE), programs=(program,), memories=(memory,)).encode()


def two_chunks_a_call() -> Bundle:
    calls = (Call(0, (weights(), weights(0, 64, 1), arena(64))), PROGRAM.calls[1])
    memory = replace(MEMORY, chunks=(Chunk(64, 0), Chunk(100, 64)), weights_size=192)
    return replace(
        BUNDLE,
        programs=(replace(PROGRAM, calls=calls),),
        memories=(memory,),
        chunks=content(WEIGHTS, struct.pack("<16f", *(4.0 * i for i in range(16))) + bytes(36)),
    )


def state_streamed() -> Bundle:
    """Adds the weights to the state, then sums the input times ones times the state; another program only reads it.

    The chunks take turns.
    """
    total = Call(1, (arena(128), arena(192, 4)))
    update = (
        Call(2, (state(), weights())),
        Call(0, (arena(0), weights(0, 64, 1), arena(64))),
        Call(0, (arena(64), state(), arena(128))),
    )
    look = (Call(0, (arena(0), state(), arena(64))), Call(0, (arena(64), weights(), arena(128))))
    first = replace(PROGRAM, role=Role.update, outputs=(Port(1, 192),), calls=(*update, total))
    second = replace(first, name="look", role=Role.evaluate, entry=1, calls=(*look, total))
    memory = Memory(256, 64, 64, (Chunk(64, 0), Chunk(64, 0)), (Chunk(64, 0),))
    return replace(
        BUNDLE,
        programs=(first, second),
        memories=(memory,),
        chunks=content(WEIGHTS, ONES),
        pieces=content(WEIGHTS),
    )


def three_programs() -> Bundle:
    """The product, its product with the weights once more, and the sum: each in a program."""
    product, twice = (Tensor(name, DType.float32, (1, 4, 4)) for name in ("product", "twice"))
    programs = (
        replace(PROGRAM, name="first", outputs=(Port(2, 64),), calls=PROGRAM.calls[:1]),
        replace(PROGRAM, name="second", inputs=(Port(2, 0),), outputs=(Port(3, 64),), calls=PROGRAM.calls[:1]),
        replace(PROGRAM, name="third", inputs=(Port(3, 64),), calls=PROGRAM.calls[1:]),
    )
    return replace(BUNDLE, tensors=(IMAGE, SCORE, product, twice), programs=programs)


def random_input() -> Bundle:
    """The model, with an input that the world fills, and that is multiplied with the weights for nobody."""
    noise = replace(IMAGE, name="noise", direction=Direction.random)
    calls = (Call(0, (weights(), arena(192), arena(256))), *PROGRAM.calls)
    program = replace(PROGRAM, inputs=(Port(0, 0), Port(2, 192)), calls=calls)
    memory = replace(MEMORY, arena_size=320)
    return replace(BUNDLE, tensors=(IMAGE, SCORE, noise), programs=(program,), memories=(memory,))


def product_of_inputs() -> Bundle:
    """The sum of the products of two inputs."""
    calls = (Call(0, (arena(0), arena(64), arena(128))), Call(1, (arena(128), arena(192, 4))))
    program = replace(PROGRAM, inputs=(Port(0, 0), Port(2, 64)), outputs=(Port(1, 192),), calls=calls)
    memory = replace(MEMORY, arena_size=256, weights_size=0, chunks=())
    tensors = (IMAGE, SCORE, replace(IMAGE, name="other"))
    return replace(BUNDLE, tensors=tensors, programs=(program,), memories=(memory,), chunks=())


def two_libraries() -> Bundle:
    """The model, and two entry points of another library that add up the input."""
    calls = (Call(1, (arena(0), arena(128, 4))),)
    more = (
        replace(PROGRAM, name=name, entry=entry, library=1, calls=calls)
        for entry, name in enumerate(("total", "again"), 1)
    )
    libraries = (Library(b"signed OP-TEE library", b"ELF"), Library(b"another signed library", b"another ELF"))
    return replace(BUNDLE, programs=(PROGRAM, *more), libraries=libraries)


def renamed(program: str, tensor: str) -> bytes:
    """Two programs and three tensors with names of five letters."""
    bundle = partition()
    programs = (replace(bundle.programs[0], name=program), replace(bundle.programs[1], name="again"))
    tensors = (bundle.tensors[0], replace(bundle.tensors[1], name=tensor), bundle.tensors[2])
    return replace(bundle, programs=programs, tensors=tensors).encode()


def unknown_section(flags: int) -> bytes:
    """The bundle with a section of type 9 at its end."""
    data = BUNDLE.encode()
    (count, size) = struct.unpack_from("<I4xQ", data, 16)
    header, table, body = data[:HEADER], data[HEADER : HEADER + count * ROW], data[HEADER + count * ROW :]
    # the section table grows by a row of 64 bytes, which moves all sections by 64
    rows = bytearray(table)
    for i in range(count):
        (offset,) = struct.unpack_from("<Q", rows, i * ROW + 16)
        struct.pack_into("<Q", rows, i * ROW + 16, offset + ROW)
    start = -(-(size + ROW) // 64) * 64
    rows += struct.pack("<IIBBB5xQQ32x", 9, 0, 3, 0, flags, start, 5)
    body += bytes(start - size - ROW) + b"later"
    header = patch(patch(header, 12, "II", HEADER + (count + 1) * ROW, count + 1), 24, "Q", start + 5)
    return seal(header + bytes(rows) + body)


def unchecked(bundle: Bundle) -> bytes:
    """The bundle's bytes without the writer's checks."""
    from unittest.mock import patch as mocked

    from tzml.bundle import container

    with mocked("tzml.bundle.interface.decode_interface"):
        return container.encode(bundle.header(), bundle.sections())


def without_plan(data: bytes) -> bytes:
    """The bundle with its second plan turned into a third kernel library, which nobody reads."""
    row = HEADER + 3 * ROW  # interface, memory, plan, plan
    for number, (index, worlds) in enumerate(((0, 1), (1, 1), (1, 2))):
        data = patch(data, row + number * ROW, "IIB", 4, index, worlds)
    return seal(data)


def main(folder: Path = FOLDER) -> None:
    """Write every example and index.json."""
    folder.mkdir(exist_ok=True)
    found = Examples()
    for example in found:
        (folder / f"{example.name}.tzm").write_bytes(example.data)
    index = {
        e.name: {"status": e.status, "about": e.about} | ({"answer": e.answer} if e.answer is not None else {})
        for e in found
    }
    (folder / "index.json").write_text(json.dumps(index, indent=1) + "\n")


if __name__ == "__main__":
    main()
