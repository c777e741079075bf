"""A bundle's promise counts what the TA's and the kernels' code take, and their stack is large enough."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tzml.bundle import Bundle, decode
from tzml.compiler import CompileOptions, compile_model
from tzml.compiler.codegen.scratch import STACK_LIMIT
from tzml.compiler.planning.code_memory import TA_MEMORY
from tzml.signing import load_signing_key
from tzml_zoo.digits import ONNX

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return compile_model(ONNX, CompileOptions("qemu"))


def loaded_segments(elf: Path) -> list[tuple[int, int]]:
    """Address and size in memory of each, as readelf shows them."""
    shown = subprocess.run(["aarch64-linux-gnu-readelf", "-lW", elf], capture_output=True, text=True, check=True)
    lines = [line.split() for line in shown.stdout.splitlines() if line.split()[:1] == ["LOAD"]]
    return [(int(words[2], 16), int(words[5], 16)) for words in lines]


def test_the_promise_counts_the_pages_of_the_library(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "library.so").write_bytes(bundle.libraries[0].ree)
    segments = loaded_segments(tmp_path / "library.so")
    assert len(segments) > 1
    pages = sum(len({at // 4096 for at in range(start, start + size)}) for start, size in segments)
    assert bundle.code_memory == TA_MEMORY + 4096 * pages
    assert bundle.secure_memory == bundle.mapped_memory + bundle.code_memory


def test_the_code_is_within_the_budget(key_file: Path) -> None:
    key = load_signing_key(key_file)
    budget = compile_model(ONNX, CompileOptions("qemu", key)).secure_memory - (64 << 10)
    streamed = compile_model(ONNX, CompileOptions("qemu", key, secure_memory=budget))
    assert streamed.code_memory > TA_MEMORY
    assert streamed.secure_memory <= budget
    assert decode(streamed.encode()) == streamed


def test_where_there_is_no_tee_no_code_counts(digits_for_host: Path) -> None:
    assert decode(digits_for_host.read_bytes()).code_memory == 0


# The networks with the most kinds of kernels, small enough to be compiled in seconds
@pytest.mark.parametrize("name", ["digits", "gru_keywords", "vit_tiny"])
def test_no_kernel_takes_more_stack_than_the_ta_has_room_for(
    name: str, for_qemu: Callable[[str], Bundle], tmp_path: Path
) -> None:
    library = tmp_path / "library.so"
    library.write_bytes(for_qemu(name).libraries[0].ree)
    shown = subprocess.run(["aarch64-linux-gnu-objdump", "-d", library], capture_output=True, text=True, check=True)
    (stack,) = re.findall(r"TA_STACK_SIZE \((\d+) \* 1024\)", (ROOT / "ta/user_ta_header_defines.h").read_text())
    assert int(stack) * 1024 // 4 >= 2 * STACK_LIMIT  # as its comment says, with as much again for the runtime
    assert 0 < max(frames(shown.stdout)) <= 2 * STACK_LIMIT


def frames(disassembly: str) -> list[int]:
    """The bytes that each function of AArch64 code moves the stack pointer by, before its return."""
    found, frame = [], 0
    for line in disassembly.splitlines():
        taken = re.search(r"\b(?:sub\s+(?:sp|x\d+), sp, #0x([0-9a-f]+)(, lsl #12)?|st[pr].*\[sp, #-(\d+)\]!)", line)
        if taken:
            frame += int(taken[1], 16) << (12 if taken[2] else 0) if taken[1] else int(taken[3])
        elif re.search(r"\tret\b", line):
            found.append(frame)
            frame = 0
    return found
