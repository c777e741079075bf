"""Machine code that tells of numbers is found on every way that a number can take to a branch or to an address."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tzml.constant_time import CodeReport, check_library
from tzml.errors import TzmlError

CC = "aarch64-linux-gnu-gcc"
pytestmark = pytest.mark.skipif(not shutil.which(CC), reason=f"{CC} is not installed")

CALL = "ldp x0, x1, [x1]\nb kernel\n"


def check(folder: Path, kernel: str, call: str = CALL) -> CodeReport:
    """Of a library with one kernel, which gets a tensor in x0 and another one in x1."""
    text = f".global tzml_kernel_call\nkernel:\n{kernel}\ntzml_kernel_call:\n{call}\n"
    (folder / "library.s").write_text(text)
    subprocess.run([CC, "-shared", "-nostdlib", "library.s", "-o", "library.so"], cwd=folder, check=True)
    return check_library((folder / "library.so").read_bytes())


@pytest.mark.parametrize(
    "kernel",
    [
        "ldr w2, [x0]\n cbz w2, 1f\n nop\n 1: ret",
        "ldr w2, [x0]\n tbnz w2, #31, 1f\n nop\n 1: ret",
        "ldr s0, [x0]\n fcmp s0, #0.0\n b.gt 1f\n nop\n 1: ret",
        "ldr w2, [x0]\n cmp w2, #3\n ccmp w3, #0, #4, ne\n b.eq 1f\n nop\n 1: ret",
        "ldr q0, [x0]\n fmaxv s0, v0.4s\n fmov w2, s0\n cbz w2, 1f\n nop\n 1: ret",
        "ldr q0, [x0]\n movi v1.2d, #0\n mov v1.s[2], v0.s[0]\n umov w2, v1.s[0]\n cbz w2, 1f\n nop\n 1: ret",
        "ldr w2, [x0]\n csel w3, w4, w5, eq\n mov w4, #1\n cmp w2, #0\n cset w3, eq\n cbz w3, 1f\n nop\n 1: ret",
        "ldr w2, [x0]\n str w2, [x1]\n ldr w3, [x1]\n cbz w3, 1f\n nop\n 1: ret",
        "ldrb w2, [x0]\n cbnz w2, 1f\n nop\n 1: ret",
        "ld1 {v2.s}[1], [x0]\n mov w3, v2.s[0]\n cbz w3, 1f\n nop\n 1: ret",
        "ld2 {v2.4s, v3.4s}, [x0]\n mov w3, v3.s[0]\n cbz w3, 1f\n nop\n 1: ret",
        "movi v0.2d, #0\n ldr s1, [x0]\n fmla v0.4s, v1.4s, v1.4s\n mov w3, v0.s[0]\n cbz w3, 1f\n nop\n 1: ret",
        "ldr q0, [x0]\n orr v0.4s, #0x80, lsl #24\n mov w3, v0.s[0]\n cbz w3, 1f\n nop\n 1: ret",
        # what was in registers before the kernel
        "fcmp s8, #0.0\n b.eq 1f\n nop\n 1: ret",
        "cbz w9, 1f\n nop\n 1: ret",
        "b.eq 1f\n nop\n 1: ret",
    ],
)
def test_a_branch_on_a_number_is_found(kernel: str, tmp_path: Path) -> None:
    found = check(tmp_path, kernel)
    assert len(found.branches) == 1
    assert found.accesses == ()


@pytest.mark.parametrize(
    "kernel",
    [
        # spilled and loaded again
        "sub sp, sp, #32\n ldr w2, [x0]\n str w2, [sp, #12]\n ldr w3, [sp, #12]\n add sp, sp, #32\n"
        " cbz w3, 1f\n nop\n 1: ret",
        # a half of what a pair was stored to
        "sub sp, sp, #32\n ldr q1, [x0]\n stp q1, q1, [sp]\n ldr w3, [sp, #28]\n add sp, sp, #32\n"
        " cbz w3, 1f\n nop\n 1: ret",
        # a byte of it is public
        "sub sp, sp, #16\n ldr w2, [x0]\n str w2, [sp]\n strb wzr, [sp]\n ldr w3, [sp]\n add sp, sp, #16\n"
        " cbz w3, 1f\n nop\n 1: ret",
        # through another name of the same place, moved on by the access
        "sub sp, sp, #32\n ldr w2, [x0]\n add x4, sp, #8\n str w2, [x4], #4\n str wzr, [x4, #4]!\n"
        " ldr w3, [sp, #8]\n add sp, sp, #32\n cbz w3, 1f\n nop\n 1: ret",
        # stored to a place that is only known when it runs
        "sub sp, sp, #32\n stp xzr, xzr, [sp]\n ldr w2, [x0]\n mov x4, #0\n 2: str w2, [sp, x4]\n"
        " add x4, x4, #4\n cmp x4, #8\n b.ne 2b\n ldr w3, [sp]\n add sp, sp, #32\n cbz w3, 1f\n nop\n 1: ret",
        # below a stack that was realigned
        "mov x29, sp\n sub x9, sp, #96\n and sp, x9, #0xffffffffffffffc0\n ldr w2, [x0]\n str w2, [sp, #4]\n"
        " ldr w3, [sp, #4]\n mov sp, x29\n cbz w3, 1f\n nop\n 1: ret",
        # only on one of two paths; the other one comes first
        "sub sp, sp, #16\n str wzr, [sp]\n mov x4, #2\n 2: ldr w3, [sp]\n cbz w3, 1f\n ldr w2, [x0]\n"
        " str w2, [sp]\n subs x4, x4, #1\n b.ne 2b\n 1: add sp, sp, #16\n ret",
        # on one path over an argument
        "cbz x1, 2f\n ldr w2, [x0]\n str x2, [sp, #8]\n 2: ldr x3, [sp, #8]\n cbz x3, 1f\n nop\n 1: ret",
        # nobody wrote it
        "sub sp, sp, #16\n ldr w3, [sp]\n add sp, sp, #16\n cbz w3, 1f\n nop\n 1: ret",
    ],
)
def test_a_branch_on_a_number_that_was_on_the_stack_is_found(kernel: str, tmp_path: Path) -> None:
    assert len(check(tmp_path, kernel).branches) == 1


def test_a_branch_in_a_function_that_is_called_is_found(tmp_path: Path) -> None:
    """Of two calls, one gives it a number of a tensor."""
    function = "function: cbz w0, 2f\n mov w0, #1\n 2: ret\n"
    kernel = "mov x20, x0\n mov x21, x30\n mov w0, #7\n bl function\n {}\n mov x30, x21\n ret\n" + function
    assert check(tmp_path, kernel.format("")).branches == ()
    assert len(check(tmp_path, kernel.format("ldr w0, [x20]\n bl function\n")).branches) == 1
    assert check(tmp_path, kernel.format("ldr w0, [x20]\n mov w0, #3\n bl function\n")).branches == ()


def test_what_a_function_returns_keeps_its_kind(tmp_path: Path) -> None:
    kernel = "mov x21, x30\n bl function\n mov x30, x21\n cbz w0, 1f\n nop\n 1: ret\n function: {}\n ret\n"
    assert len(check(tmp_path, kernel.format("ldr w0, [x0]")).branches) == 1
    assert check(tmp_path, kernel.format("mov w0, #1")).branches == ()


@pytest.mark.parametrize(
    "kernel",
    [
        "ldr w2, [x0]\n ldr w3, [x1, w2, uxtw #2]\n ret",
        "ldrsw x2, [x0]\n add x2, x1, x2\n str wzr, [x2]\n ret",
        "ldr x2, [x0]\n ldr q0, [x2, #16]\n ret",
        "ldr x2, [x0]\n ld1r {v0.4s}, [x2]\n ret",
        "sub sp, sp, #32\n ldr x2, [x0]\n ldr w3, [sp, x2]\n add sp, sp, #32\n ret",
        "ldr x2, [x0]\n str w4, [x1], #4\n ld1 {v0.4s}, [x1], x2\n ldr w3, [x1]\n ret",
    ],
)
def test_an_address_that_follows_from_a_number_is_found(kernel: str, tmp_path: Path) -> None:
    found = check(tmp_path, kernel)
    assert found.branches == ()
    assert len(found.accesses) == 1


@pytest.mark.parametrize(
    "kernel",
    [
        # a loop over a tensor, with what selects by numbers
        "mov x4, #64\n 1: ldr s0, [x0], #4\n fcmp s0, #0.0\n fcsel s1, s0, s1, gt\n fcmp s1, #0.0\n"
        " cset w5, gt\n str w5, [x1], #4\n subs x4, x4, #4\n b.ne 1b\n ret",
        # a counter and an address on the stack, beside numbers
        "sub sp, sp, #48\n ldr q0, [x0]\n str q0, [sp]\n mov x4, #9\n stp x4, x1, [sp, #16]\n"
        " ldp x5, x6, [sp, #16]\n cbz x5, 1f\n ldr w7, [x6]\n 1: add sp, sp, #48\n ret",
        # a place that held a number and then a counter
        "sub sp, sp, #16\n ldr w2, [x0]\n str w2, [sp]\n mov w3, #3\n str w3, [sp]\n ldr w4, [sp]\n"
        " add sp, sp, #16\n cbz w4, 1f\n nop\n 1: ret",
        # a constant of the code, by its address
        "adrp x2, kernel\n add x2, x2, :lo12:kernel\n ldr w3, [x2]\n cbz w3, 1f\n nop\n 1: ret",
        # a table of steps that is indexed by a counter
        "mov x4, #0\n adrp x2, kernel\n 1: ldr w3, [x2, x4, lsl #2]\n ldr w5, [x0, w3, sxtw]\n add x4, x4, #1\n"
        " cmp x4, #5\n b.ne 1b\n ret",
        # the ninth argument, from the caller's stack
        "ldr x8, [sp]\n ldr q0, [x8]\n str q0, [x0]\n ret",
        # what the caller keeps in its registers
        "stp x29, x30, [sp, #-32]!\n str x19, [sp, #16]\n mov x19, #4\n 1: subs x19, x19, #1\n b.ne 1b\n"
        " ldr x19, [sp, #16]\n ldp x29, x30, [sp], #32\n ret",
    ],
)
def test_code_that_tells_nothing_is_passed(kernel: str, tmp_path: Path) -> None:
    found = check(tmp_path, kernel)
    assert (found.branches, found.accesses, found.unreached) == ((), (), ())


def test_every_case_of_a_table_of_jumps_is_followed(tmp_path: Path) -> None:
    cases = "one: ldr x0, [x4]\n b kernel\n two: ldr x0, [x4, #8]\n ldr w2, [x0]\n cbz w2, one\n b kernel\n"
    call = f"mov x4, x1\n adr x2, one\n add x1, x2, w0, uxtw #3\n br x1\n {cases}"
    found = check(tmp_path, "ldr w2, [x0]\n str w2, [x0]\n ret", call)
    assert len(found.branches) == 1
    assert found.unreached == ()


def test_code_that_nothing_leads_to_is_told(tmp_path: Path) -> None:
    assert len(check(tmp_path, "ret\n mov x0, #1\n ret").unreached) == 2


@pytest.mark.parametrize(
    ("kernel", "why"),
    [
        ("sqdmlal v0.4s, v1.4h, v2.4h\n ret", "does not know it"),
        ("ldxr x2, [x0]\n ret", "does not know it"),
        ("ldr x2, [x0]\n br x2", "where a register says"),
        ("ldr x2, [x0]\n blr x2\n ret", "where a register says"),
        ("mov x21, x30\n bl again\n ret\n again: bl again\n ret", "calls itself"),
        ("adrp x2, kernel\n str x0, [x2]\n ret", "stores to no tensor"),
        ("mov x2, #4096\n str x0, [x2]\n ret", "stores to no tensor"),
    ],
)
def test_code_that_cannot_be_followed_is_an_error(kernel: str, why: str, tmp_path: Path) -> None:
    with pytest.raises(TzmlError, match=why):
        check(tmp_path, kernel)


def test_a_file_that_is_no_library_is_an_error() -> None:
    with pytest.raises(TzmlError, match=r"objdump failed: .*not recognized"):
        check_library(b"no ELF")
