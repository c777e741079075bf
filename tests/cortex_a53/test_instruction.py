"""Registers and kinds of A64 instructions, as LLVM and objdump write them."""

from __future__ import annotations

import pytest

from tzml.cortex_a53.instruction import FLAGS, Work, parse


@pytest.mark.parametrize(
    ("text", "kind", "reads", "writes"),
    [
        ("fmla v8.4s, v1.4s, v2.s[3]", Work.VECTOR_128, {"v1", "v2", "v8"}, {"v8"}),
        ("fmul s0, s1, s2", Work.VECTOR_64, {"v1", "v2"}, {"v0"}),
        ("fadd\tv0.4s, v1.4s, v2.4s", Work.VECTOR_128, {"v1", "v2"}, {"v0"}),
        ("mov v5.d[1], x9", Work.INSERT, {"v5", "x9"}, {"v5"}),
        ("ins v5.s[1], v6.s[0]", Work.INSERT, {"v5", "v6"}, {"v5"}),
        ("mov v5.16b, v6.16b", Work.VECTOR_128, {"v6"}, {"v5"}),
        ("fmov w3, s4", Work.TO_GENERAL, {"v4"}, {"x3"}),
        ("ldr q3, [x4, #16]", Work.LOAD_Q, {"x4"}, {"v3"}),
        ("ldp q3, q4, [sp, #-32]!", Work.LOAD_QQ, {"sp"}, {"v3", "v4", "sp"}),
        ("ldr d3, [x4], #8", Work.LOAD_D, {"x4"}, {"v3", "x4"}),
        ("ldr x3, [x4, x5, lsl #3]", Work.LOAD_X, {"x4", "x5"}, {"x3"}),
        ("ld1r {v2.4s}, [x1], #4", Work.LOAD_REPEATED, {"x1"}, {"v2", "x1"}),
        ("ld1 {v2.s}[1], [x1]", Work.LOAD_LANE, {"x1", "v2"}, {"v2"}),
        ("ld1 {v2.4s, v3.4s}, [x1], x7", Work.LOAD_STRUCTURE, {"x1", "x7"}, {"v2", "v3", "x1"}),
        ("st1 {v2.4s, v3.4s}, [x1]", Work.STORE_STRUCTURE, {"x1", "v2", "v3"}, set()),
        ("stp q0, q1, [x2, #32]", Work.STORE_QQ, {"v0", "v1", "x2"}, set()),
        ("str w0, [x2], #4", Work.STORE_X, {"x0", "x2"}, {"x2"}),
        ("subs x7, x7, #1", Work.ALU, {"x7"}, {"x7", FLAGS}),
        ("cmp w7, #1", Work.ALU, {"x7"}, {FLAGS}),
        ("csel x1, x2, x3, ne  // ne = any", Work.ALU, {"x2", "x3", FLAGS}, {"x1"}),
        ("movk x1, #0x3, lsl #16", Work.ALU, {"x1"}, {"x1"}),
        ("add x0, sp, xzr", Work.ALU, {"sp"}, {"x0"}),
        ("b.ne 0x40 <kernel+0x40>", Work.BRANCH, {FLAGS}, set()),
        ("cbz w3, .LBB0_2", Work.BRANCH, {"x3"}, set()),
        ("madd x0, x1, x2, x3", Work.MULTIPLY, {"x1", "x2", "x3"}, {"x0"}),
        ("sqxtn2 v0.8h, v1.4s", Work.VECTOR_128, {"v0", "v1"}, {"v0"}),
        ("orr v0.4s, #0x80, lsl #24", Work.VECTOR_128, {"v0"}, {"v0"}),
        ("usra v0.4s, v1.4s, #3", Work.VECTOR_128, {"v0", "v1"}, {"v0"}),
        ("sli v0.4s, v1.4s, #3", Work.VECTOR_128, {"v0", "v1"}, {"v0"}),
        ("fmaxp s0, v1.2s", Work.VECTOR_64, {"v1"}, {"v0"}),
        ("fccmpe d16, d1, #0x0, eq", Work.VECTOR_64, {"v16", "v1", FLAGS}, {FLAGS}),
        ("fcvtms w16, s26", Work.VECTOR_64, {"v26"}, {"x16"}),
        ("bsl v0.16b, v1.16b, v2.16b", Work.VECTOR_128, {"v0", "v1", "v2"}, {"v0"}),
    ],
)
def test_an_instruction_has_its_registers(text: str, kind: Work, reads: set[str], writes: set[str]) -> None:
    found = parse(text)
    assert (found.kind, set(found.reads), set(found.writes)) == (kind, reads, writes)
    assert found.is_known


@pytest.mark.parametrize(
    "text", ["bl expf", "svc #0", "ldaxr w0, [x1]", "mrs x0, tpidr_el0", "aese v0.16b, v1.16b"]
)
def test_what_nothing_is_known_of_says_so(text: str) -> None:
    assert not parse(text).is_known
