"""The specification's example bundles: docs/bundle-examples, made by `python tests/bundle_examples.py`.

Each has one property, and the status that every reader must give for it. C and Python are tested
against the files; the files are tested against this.
"""

from __future__ import annotations

import hashlib
import json
import struct
import uuid
from dataclasses import dataclass, replace
from pathlib import Path

from tzml.bundle import Argument, Bundle, Call, Chunk, DType, Plan, Region, Target, Tensor

FOLDER = Path(__file__).parent.parent / "docs" / "bundle-examples"
HEADER, ENTRY = 256, 96

# tests/c/example_kernels.c: 0 multiplies 16 floats by 16 others, 1 adds up 16 floats
KERNELS_DIGEST = hashlib.sha256(b"tzml example kernels 1").digest()
WEIGHTS = struct.pack("<16f", *(0.5 * i for i in range(16)))
ONES = struct.pack("<16f", *([1.0] * 16))
INPUT = struct.pack("<16f", *range(16))
OUTPUT = struct.pack("<f", sum(0.5 * i * i for i in range(16)))


def arena(offset: int, size: int = 64) -> Argument:
    return Argument(Region.arena, offset, size)


def weights(offset: int = 0, size: int = 64, chunk: int = 0) -> Argument:
    return Argument(Region.weights, offset, size, chunk)


PLAN = Plan(
    kernels_digest=KERNELS_DIGEST,
    arena_size=192,
    inputs=(Tensor("image", DType.float32, (1, 4, 4), 0),),
    outputs=(Tensor("score", DType.float32, (1,), 128),),
    weights_size=64,
    chunks=(Chunk(len(WEIGHTS), 0),),
    calls=(Call(0, (arena(0), weights(), arena(64))), Call(1, (arena(64), arena(128, 4)))),
)
BUNDLE = Bundle(
    target=Target.aarch64,
    plan=PLAN,
    model_id=uuid.UUID("6f1c3a52-6a57-4a35-9d3e-3b1c5f0e9a01"),
    model_version=3,
    chunks=(WEIGHTS,),
    kernels_tee=b"signed OP-TEE library",
    kernels_ree=b"ELF",
    metadata=b'{"name": "example"}',
    code_memory=4096,
)


@dataclass(frozen=True)
class Example:
    """What a file shows. `readable`: wrong only for its kernel library, which Python does not have."""

    name: str
    status: str
    about: str
    data: bytes
    readable: bool = False


def seal(data: bytes) -> bytes:
    """Make all digests right again, as an attacker can in a clear bundle."""
    out = bytearray(data)
    (count,) = struct.unpack_from("<I", out, 16)
    for i in range(count):
        at = HEADER + i * ENTRY
        offset, size = struct.unpack_from("<QQ", out, at + 8)
        if offset + size <= len(out):
            out[at + 64 : at + 96] = hashlib.sha256(out[offset : offset + size]).digest()
    out[224:256] = bytes(32)
    end = HEADER + count * ENTRY
    out[224:256] = hashlib.sha256(out[:end]).digest()
    return bytes(out)


def patch(data: bytes, at: int, form: str, *values: int | bytes) -> bytes:
    out = bytearray(data)
    struct.pack_into("<" + form, out, at, *values)
    return bytes(out)


def plan_offset(data: bytes) -> int:
    return int(struct.unpack_from("<Q", data, HEADER + 8)[0])


def raw_plan(data: bytes, at: int, form: str, *values: int | bytes) -> bytes:
    """Patch the plan's bytes, past what the writer would let through."""
    return seal(patch(data, plan_offset(data) + at, form, *values))


def with_plan(**changes: object) -> bytes:
    return replace(BUNDLE, plan=replace(PLAN, **changes)).encode()  # type: ignore[arg-type]


def examples() -> list[Example]:
    """Every example, in the order of docs/bundle.md."""
    good = BUNDLE.encode()
    found: list[Example] = []

    def add(name: str, status: str, about: str, data: bytes, readable: bool = False) -> None:
        found.append(Example(name, status, about, data, readable))

    def entry(index: int, at: int, form: str, *values: int) -> bytes:
        return seal(patch(good, HEADER + index * ENTRY + at, form, *values))

    def field(at: int, form: str, *values: int) -> bytes:
        return seal(patch(good, at, form, *values))

    add("minimal", "SUCCESS", "plan, both libraries, metadata, one chunk", good, True)
    second = (Call(0, (arena(0), weights(0, 64, 1), arena(64))), PLAN.calls[1])
    apart = (Chunk(64, 0), Chunk(100, 64))
    two = replace(PLAN, weights_size=192, chunks=apart, calls=second)
    data = replace(BUNDLE, plan=two, chunks=(bytes(64), WEIGHTS + bytes(36))).encode()
    add("two-chunks", "SUCCESS", "the second chunk is used; sizes are not rounded", data, True)
    # x times ones, times the weights: the chunks take turns in 64 bytes
    turns = (Call(0, (arena(0), weights(), arena(64))), Call(0, (arena(64), weights(0, 64, 1), arena(128))))
    shared = replace(
        PLAN,
        arena_size=256,
        outputs=(replace(PLAN.outputs[0], offset=192),),
        chunks=(Chunk(64, 0), Chunk(64, 0)),
        calls=(*turns, Call(1, (arena(128), arena(192, 4)))),
    )
    data = replace(BUNDLE, plan=shared, chunks=(ONES, WEIGHTS)).encode()
    add("streamed", "SUCCESS", "two chunks share a place", data, True)
    none = replace(PLAN, weights_size=0, chunks=(), calls=(Call(1, (arena(0), arena(128, 4))),))
    add("no-weights", "SUCCESS", "a model without weights", replace(BUNDLE, plan=none, chunks=()).encode(), True)

    add("empty", "NOT_A_BUNDLE", "no bytes at all", b"")
    add("text", "NOT_A_BUNDLE", "another file", b"#!/bin/sh\necho this is not a bundle\n" * 20)
    add("truncated-header", "TRUNCATED", "ends within the header", good[:200])
    add("truncated-table", "TRUNCATED", "ends within the section table", good[: HEADER + 100])
    add("truncated-weights", "TRUNCATED", "the last byte is missing", good[:-1])
    add("version", "FORMAT_VERSION", "format_version 2", field(8, "I", 2))
    add("kernel-abi", "FORMAT_VERSION", "kernel_abi 1, whose libraries are refused", field(60, "I", 1))
    add("header-size", "HEADER_MALFORMED", "header_size does not fit section_count", field(12, "I", 256))
    add("section-count", "LIMIT", "section_count 2^32-1", patch(good, 16, "I", 0xFFFFFFFF))
    add("header-bit", "HEADER_DIGEST", "one bit of model_version flipped", patch(good, 48, "B", 2))
    add("table-bit", "HEADER_DIGEST", "one bit of the section table flipped", patch(good, HEADER + 70, "B", 1))
    add("protection", "PROTECTION", "an encrypted bundle", field(20, "I", 1))
    add("arena-5-gib", "LIMIT", "arena_size 5 GiB", field(64, "Q", 5 << 30))
    add("arena-unaligned", "HEADER_MALFORMED", "arena_size 100", field(64, "Q", 100))
    add("policy", "HEADER_MALFORMED", "an output policy that does not exist", field(88, "I", 9))
    add("reserved", "HEADER_MALFORMED", "a reserved byte is set", field(200, "B", 1))
    add("code-memory", "HEADER_MALFORMED", "more memory for code than in all", field(128, "Q", 1 << 30))
    add("target", "WRONG_TARGET", "compiled for x86-64", field(56, "I", 2), True)

    add("no-sections", "SECTION_TABLE", "section_count 0", seal(patch(good, 12, "II", 256, 0)))
    add("first-not-plan", "SECTION_TABLE", "the first section is a library", entry(0, 0, "I", 2))
    add("two-plans", "SECTION_TABLE", "a second plan", entry(1, 0, "I", 1))
    add("unknown-section", "SECTION_TABLE", "section type 9", entry(4, 0, "I", 9))
    add("chunk-order", "SECTION_TABLE", "the first chunk has index 1", entry(4, 4, "I", 1))
    add("overlap", "SECTION_TABLE", "a section begins within the one before", entry(1, 8, "Q", plan_offset(good)))
    add("overflow", "SECTION_TABLE", "offset + size is above 2^64", entry(4, 8, "QQ", 2**64 - 64, 128))
    add("past-end", "SECTION_TABLE", "the last section is longer than the file", entry(4, 16, "Q", 65))
    add("nothing-in-it", "SECTION_TABLE", "a section of no bytes", entry(3, 16, "Q", 0))
    add("bundle-size", "SECTION_TABLE", "the sections do not fill bundle_size", field(24, "Q", len(good) - 1))

    at = plan_offset(good)
    add("plan-bit", "SECTION_DIGEST", "one bit of the plan flipped", patch(good, at + 40, "B", 0x55))
    add("weights-bit", "SECTION_DIGEST", "one bit of the weights flipped", patch(good, len(good) - 1, "B", 0x55))

    add("plan-magic", "PLAN_MALFORMED", "not a plan", raw_plan(good, 0, "4s", b"NALP"))
    add("plan-size", "PLAN_MALFORMED", "the plan's own size differs", raw_plan(good, 8, "I", 96))
    for place, name in enumerate(("inputs", "outputs", "chunks", "calls", "arguments")):
        data = raw_plan(good, 12 + 4 * place, "I", 0xFFFFFFFF)
        add(f"count-{name}", "LIMIT", f"2^32-1 {name}", data)
        (count,) = struct.unpack_from("<I", good, at + 12 + 4 * place)
        data = raw_plan(good, 12 + 4 * place, "I", count + 1)
        add(f"more-{name}", "PLAN_MALFORMED", f"one of the {name} too many for the tables", data)
    add("plan-arena", "PLAN_MALFORMED", "the arena differs from the header's", raw_plan(good, 32, "Q", 256))
    add(
        "plan-weights",
        "PLAN_MALFORMED",
        "the weights' memory differs from the header's",
        raw_plan(good, 40, "Q", 128),
    )
    add("plan-reserved", "PLAN_MALFORMED", "a reserved byte is set", raw_plan(good, 80, "B", 1))
    chunk = 96
    add("plan-chunk", "PLAN_MALFORMED", "a chunk's size differs from the section's", raw_plan(good, chunk, "Q", 63))
    add("chunk-huge", "PLAN_MALFORMED", "a chunk of 2^64-1 bytes", raw_plan(good, chunk, "Q", 2**64 - 1))
    add("chunk-place", "PLAN_MALFORMED", "a chunk past the weights' memory", raw_plan(good, chunk + 8, "Q", 64))
    add("chunk-overflow", "PLAN_MALFORMED", "a chunk at 2^64-64", raw_plan(good, chunk + 8, "Q", 2**64 - 64))
    add("chunk-unaligned", "PLAN_MALFORMED", "a chunk at 4", raw_plan(good, chunk + 8, "Q", 4))
    tensor = chunk + 16
    add("tensor-name", "PLAN_MALFORMED", "a name that does not end", raw_plan(good, tensor, "48s", b"x" * 48))
    add("tensor-dtype", "PLAN_MALFORMED", "dtype 99", raw_plan(good, tensor + 48, "I", 99))
    add("tensor-rank", "PLAN_MALFORMED", "2^32-1 dimensions", raw_plan(good, tensor + 52, "I", 0xFFFFFFFF))
    shape = (0xFFFFFFFF,) * 3
    add(
        "tensor-product",
        "PLAN_MALFORMED",
        "dimensions whose product overflows",
        raw_plan(good, tensor + 56, "3I", *shape),
    )
    add("tensor-place", "PLAN_MALFORMED", "an input past the arena", raw_plan(good, tensor + 88, "Q", 192))
    add("tensor-overflow", "PLAN_MALFORMED", "an input at 2^64-64", raw_plan(good, tensor + 88, "Q", 2**64 - 64))
    pair = (PLAN.inputs[0], Tensor("other", DType.uint8, (64,), 64))
    data = with_plan(inputs=pair)
    add("inputs-overlap", "PLAN_MALFORMED", "two inputs in one place", raw_plan(data, tensor + 128 + 88, "Q", 0))
    call = tensor + 2 * 128
    add("call-arguments", "PLAN_MALFORMED", "a call with 65 arguments", raw_plan(good, call + 4, "I", 65))
    argument = call + 2 * 16
    add("argument-region", "PLAN_MALFORMED", "region 3", raw_plan(good, argument, "I", 3))
    add("argument-chunk", "PLAN_MALFORMED", "a chunk that is not there", raw_plan(good, argument + 24 + 4, "I", 1))
    add("argument-place", "PLAN_MALFORMED", "ends past the arena", raw_plan(good, argument + 8, "Q", 192))
    add("argument-overflow", "PLAN_MALFORMED", "at 2^64-64", raw_plan(good, argument + 8, "Q", 2**64 - 64))
    add("argument-unaligned", "PLAN_MALFORMED", "at 4", raw_plan(good, argument + 8, "Q", 4))
    add("argument-empty", "PLAN_MALFORMED", "no bytes", raw_plan(good, argument + 16, "Q", 0))

    short = BUNDLE.secure_memory - 4096
    add("secure-memory", "SECURE_MEMORY", "takes a page more than secure_memory says", field(80, "Q", short))
    short = BUNDLE.mapped_memory - 1
    add("mapped-memory", "SECURE_MEMORY", "code_memory leaves too little for the rest", field(128, "Q", short))
    calls = (Call(0, (weights(), weights(0, 64, 1), arena(64))), PLAN.calls[1])
    plan = replace(PLAN, chunks=apart, weights_size=192, calls=calls)
    data = replace(BUNDLE, plan=plan, chunks=(WEIGHTS, WEIGHTS + bytes(36))).encode()
    add("two-chunks-a-call", "SUCCESS", "one call takes two chunks, which lie apart", data, True)
    data = raw_plan(data, chunk + 16 + 8, "Q", 0)
    add("chunks-meet", "PLAN_MALFORMED", "one call takes two chunks that share a place", data)

    add("kernel-missing", "KERNEL_MISSING", "kernel 2 of a library of 2", raw_plan(good, call, "I", 2), True)
    add("kernel-huge", "KERNEL_MISSING", "kernel 2^32-1", raw_plan(good, call, "I", 0xFFFFFFFF), True)
    calls = (Call(0, (arena(0), arena(64))), PLAN.calls[1])
    add("kernel-arity", "KERNEL_MISMATCH", "an argument too few", with_plan(calls=calls), True)
    calls = (Call(0, (arena(0), weights(), arena(64, 128))), PLAN.calls[1])
    add("kernel-size", "KERNEL_MISMATCH", "an argument too large", with_plan(calls=calls), True)
    calls = (Call(0, (arena(0), arena(64), weights())), PLAN.calls[1])
    add("kernel-writes-weights", "KERNEL_MISMATCH", "weights would be written", with_plan(calls=calls), True)
    calls = (Call(0, (arena(0), weights(), arena(0))), PLAN.calls[1])
    add("kernel-aliases", "KERNEL_MISMATCH", "the output lies on the input", with_plan(calls=calls), True)
    data = with_plan(outputs=(replace(PLAN.outputs[0], shape=(2,)),))
    add("output-unwritten", "KERNEL_MISMATCH", "half of the output is what was there before", data, True)
    both = (PLAN.outputs[0], Tensor("before", DType.float32, (1,), 192))
    data = with_plan(arena_size=256, outputs=both)
    add("output-never-written", "KERNEL_MISMATCH", "no call writes the second output", data, True)
    same = (PLAN.outputs[0], replace(PLAN.inputs[0], name="image again"))
    add("output-is-input", "SUCCESS", "the second output is the input", with_plan(outputs=same), True)
    data = with_plan(kernels_digest=bytes(32))
    add("kernels-digest", "KERNELS_CHANGED", "the plan was made for another library", data, True)
    return found


def main(folder: Path = FOLDER) -> None:
    """Write every example and index.json."""
    folder.mkdir(exist_ok=True)
    for example in examples():
        (folder / f"{example.name}.tzm").write_bytes(example.data)
    index = {e.name: {"status": e.status, "about": e.about} for e in examples()}
    (folder / "index.json").write_text(json.dumps(index, indent=1) + "\n")


if __name__ == "__main__":
    main()
