"""Sequences whose cycles were worked out by hand from the rules."""

from __future__ import annotations

import pytest

from tzml.cortex_a53.instruction import parse
from tzml.cortex_a53.pipeline import cycles_of_loop, starts

PRODUCTS = ["fmla v8.4s, v0.4s, v1.s[0]", "fmla v9.4s, v0.4s, v1.s[0]", "fmla v10.4s, v0.4s, v1.s[0]"]


@pytest.mark.parametrize(
    ("program", "cycles"),
    [
        (["add x0, x1, #1", "add x2, x3, #1", "add x4, x5, #1"], [0, 0, 1]),
        (["add x0, x1, #1", "add x2, x0, #1"], [0, 1]),
        (PRODUCTS, [0, 1, 2]),
        ([PRODUCTS[0], "add x0, x0, #16", PRODUCTS[1], "ldr x2, [x3]"], [0, 0, 1, 1]),
        # a result reaches the next accumulator after 4 cycles, another operand after 8
        ([PRODUCTS[0], PRODUCTS[0]], [0, 4]),
        ([PRODUCTS[0], "fmla v9.4s, v8.4s, v1.s[0]"], [0, 8]),
        # vector loads
        (["ldr q0, [x0]", "add x0, x0, #16", PRODUCTS[0]], [0, 2, 5]),
        (["ldp q0, q1, [x0]", "add x0, x0, #32"], [0, 4]),
        (["ldr d2, [x0]", PRODUCTS[0]], [0, 1]),
        (["ldr d2, [x0]", "mov v3.d[1], x5"], [0, 0]),
        (["ldr d2, [x0]", "ldr x5, [x0, #8]", "mov v2.d[1], x5", "fmla v8.4s, v2.4s, v1.s[0]"], [0, 1, 4, 7]),
        # the example of ncnn's guide: a vector is loaded while three products start, at the price of one cycle
        (
            ["ldr d2, [x0]", PRODUCTS[0], "ldr x23, [x0, #8]", PRODUCTS[1], "add x0, x0, #16", PRODUCTS[2],
             "ldr d3, [x0]", "mov v2.d[1], x23"],
            [0, 1, 1, 2, 2, 3, 4, 4],
        ),
        (["cmp x0, #1", "b.ne 0x0"], [0, 0]),
        (["str q0, [x0]", "stp q0, q1, [x0]", "add x1, x1, #1", "ldr x3, [x2]"], [0, 1, 3, 3]),
        (["fdiv v0.4s, v1.4s, v2.4s", "add x0, x0, #1"], [0, 10]),
    ],
)  # fmt: skip
def test_instructions_start_when_the_rules_let_them(program: list[str], cycles: list[int]) -> None:
    assert starts(map(parse, program)) == cycles


def test_a_loop_waits_for_what_it_carries() -> None:
    """Two accumulators wait for themselves, and four of them hide it."""
    assert cycles_of_loop(map(parse, [*PRODUCTS[:2], "subs x0, x0, #1", "b.ne 0x0"])) == 4
    four = [*PRODUCTS, "fmla v11.4s, v0.4s, v1.s[0]"]
    assert cycles_of_loop(map(parse, [four[0], "subs x0, x0, #1", *four[1:], "b.ne 0x0"])) == 4


def test_128_bit_loads_cost_two_cycles_a_vector_and_64_bit_loads_one() -> None:
    products = [f"fmla v{8 + i}.4s, v0.4s, v1.s[0]" for i in range(8)]
    wide = [*products, "ldr q2, [x0]"]
    halves = [*products[:4], "ldr x5, [x0, #8]", *products[4:], "ldr d2, [x0]", "mov v3.d[1], x5"]
    assert cycles_of_loop(map(parse, wide)) == 10
    assert cycles_of_loop(map(parse, halves)) == 9
