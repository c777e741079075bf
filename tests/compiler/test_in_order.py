"""Loops that are written anew for cores that start instructions in order compute the same, in fewer cycles."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from onnx import helper
from small_networks import network, weights

from tzml.bench.kernels import Kernels, random_inputs
from tzml.compiler import TARGETS, CompileOptions, compile_model
from tzml.compiler.codegen import build_kernel, kernel_key
from tzml.compiler.codegen.in_order import assemble
from tzml.compiler.codegen.in_order.assembly import AssemblyLine, function_of, read_lines
from tzml.compiler.codegen.in_order.check import NotTheSame, check_loop
from tzml.compiler.codegen.in_order.liveness import Liveness
from tzml.compiler.codegen.in_order.loops import Loop, find_loops
from tzml.compiler.codegen.in_order.rewrite import for_in_order_core
from tzml.compiler.codegen.in_order.schedule import Rewritten, rewrite
from tzml.compiler.ir.errors import CompileError
from tzml.cortex_a53.instruction import Instruction, parse
from tzml.cortex_a53.pipeline import cycles_of_loop
from tzml_zoo import models
from tzml_zoo.digits import ONNX

PIXELS, VECTORS = 7, 3


def kernel(body: list[str], behind: tuple[str, ...] = ()) -> str:
    """A function like LLVM's whose loop is `body`; x0 has inputs, x1 weights, x2 the result and x3 a count."""
    stores = [f"str q{register}, [x2, #{16 * i}]" for i, register in enumerate(range(11, 32))]
    saved = [f"stp d{i + 1}, d{i}, [sp, #{16 + 8 * i}]" for i in range(8, 16, 2)]
    restored = [f"ldp d{i + 1}, d{i}, [sp, #{16 + 8 * i}]" for i in range(8, 16, 2)]
    zero = [f"movi v{register}.2d, #0000000000000000" for register in range(11, 32)]
    lines = ["sub sp, sp, #160", *saved, *zero, ".LBB0_1:", *body, "subs x3, x3, #1", "b.ne .LBB0_1", *behind]
    lines += [*stores, *restored, "mov w0, wzr", "add sp, sp, #160", "ret"]
    return "\n".join(
        [".text", ".globl f", "f:", *(t if t.endswith(":") else f"\t{t}" for t in lines), "\t.size f, .-f", ""]
    )


def tile(channels: int = 4) -> list[str]:
    """A tile of 7 pixels by 3 vectors over some channels, as LLVM writes it: loads first, two vectors at a time."""
    data, scratch = list(range(7)), [7, 8, 9, 10]
    found = [f"ldp q{p}, q{p + 1}, [x0, #{16 * p}]" for p in (0, 2, 4)] + ["ldr q6, [x0, #96]"]
    number = 0
    for channel in range(channels):
        for vector in range(VECTORS):
            if number % 2 == 0:
                a, b = scratch[number % 4], scratch[number % 4 + 1]
                found.append(f"ldp q{a}, q{b}, [x1, #{16 * number}]")
            held = scratch[number % 4]
            for pixel in data:
                total = 11 + pixel * VECTORS + vector
                found.append(f"fmla v{total}.4s, v{held}.4s, v{pixel}.s[{channel}]")
            number += 1
    return [*found, "add x0, x0, #112", "add x1, x1, #192"]


def read(assembly: str) -> tuple[list[AssemblyLine], Liveness, list[Loop]]:
    lines = read_lines(assembly)
    where = function_of(lines, "f")
    function = lines[where.start : where.stop]
    liveness = Liveness(function)
    return function, liveness, list(find_loops(function, liveness))


class Case(NamedTuple):
    """A function's only loop, as LLVM wrote it and anew, and what is needed of what it leaves."""

    original: list[Instruction]
    found: Rewritten
    needed: set[str]
    behind: set[str]

    def check(self, **changed: Any) -> None:
        """Check the new loop, with some of its parts changed."""
        found = replace(self.found, **changed)
        check_loop(self.original, found.before, found.first, found.rest, found.last, self.needed, self.behind)


def only_loop(assembly: str) -> Case:
    function, liveness, [loop] = read(assembly)
    original = [line.instruction for line in function[loop.begin + 1 : loop.end] if line.instruction]
    found = rewrite(loop)
    assert found
    return Case(original, found, liveness.live(loop.begin), liveness.live(loop.end))


def test_a_tile_takes_a_fifth_fewer_cycles() -> None:
    """A bound of 1.23 cycles a product, and 1.25 where what waits for INS at the end of an iteration is counted."""
    case = only_loop(kernel(tile()))
    original, found = case.original, case.found
    products = PIXELS * VECTORS * 4
    assert cycles_of_loop(original) / products > 1.45
    assert found.cycles / products < 1.30
    assert cycles_of_loop([parse(t) for t in [*found.first, *found.rest, "b 0"]]) / products < 1.30


def test_the_new_loop_is_the_same_by_symbols() -> None:
    case = only_loop(kernel(tile()))
    case.check()
    assert case.found.rest
    assert case.found.last


@pytest.mark.parametrize("part", ["before", "first", "rest", "last"])
def test_a_loop_without_one_of_its_instructions_is_another_one(part: str) -> None:
    case = only_loop(kernel(tile(2)))
    whole: list[str] = getattr(case.found, part)
    for i in range(len(whole) - (part == "first")):  # its last one is the branch
        with pytest.raises(NotTheSame):
            case.check(**{part: whole[:i] + whole[i + 1 :]})


CHANGES: list[Callable[[str], str]] = [
    lambda text: re.sub(r"\.s\[(\d)\]", lambda m: f".s[{(int(m[1]) + 1) % 4}]", text),
    lambda text: re.sub(r"#(\d+)\]", lambda m: f"#{int(m[1]) + 8}]", text),
    lambda text: re.sub(r"^fmla v(\d+)", lambda m: f"fmla v{11 + (int(m[1]) - 10) % 21}", text),
    lambda text: re.sub(r"^ldr ([dx])(\d+)", lambda m: f"ldr {m[1]}{(int(m[2]) + 1) % 11}", text),
    lambda text: re.sub(r"^mov v(\d+)\.d\[1\]", lambda m: f"mov v{(int(m[1]) + 1) % 11}.d[1]", text),
    lambda text: text.replace("fmla", "fmls"),
    lambda text: text.replace("b.eq", "b.ne").replace("subs", "adds"),
    lambda text: re.sub(r"^add x([01]), x\d, #(\d+)", r"add x\1, x\1, #16", text),
]


@pytest.mark.parametrize("change", range(len(CHANGES)))
def test_a_loop_with_another_operand_is_another_one(change: int) -> None:
    case = only_loop(kernel(tile(2)))
    changed = 0
    for part in ("first", "rest", "last"):
        texts: list[str] = getattr(case.found, part)
        for i, text in enumerate(texts):
            other = CHANGES[change](text)
            if other != text:
                changed += 1
                with pytest.raises(NotTheSame):
                    case.check(**{part: [*texts[:i], other, *texts[i + 1 :]]})
    assert changed


def test_instructions_that_depend_on_each_other_do_not_change_places() -> None:
    """Of neighbours that the checker lets pass in both orders, none reads or writes what the other writes."""
    case = only_loop(kernel(tile(2)))
    texts, refused = case.found.first, 0
    for i in range(0, len(texts) - 2, 2):
        one, other = parse(texts[i]), parse(texts[i + 1])
        first = [*texts[:i], texts[i + 1], texts[i], *texts[i + 2 :]]
        if set(one.writes) & {*other.reads, *other.writes} or set(one.reads) & set(other.writes):
            refused += 1
            with pytest.raises(NotTheSame):
                case.check(first=first)
        else:
            case.check(first=first)
    assert refused


@pytest.mark.parametrize(
    "more",
    [
        "str q7, [x2]",  # memory that a load may read
        "ldr q7, [x0, x9]",  # an address of two registers
        "fadd v11.4s, v11.4s, v7.4s",  # a sum that is more than products
        "bl expf",
        "mov v12.16b, v11.16b",
        "add sp, sp, #0",
    ],
)
def test_a_loop_that_does_more_stays_as_it_is(more: str) -> None:
    assembly = kernel([*tile(), more])
    assert read(assembly)[2] == []
    assert "Lagain" not in for_in_order_core(assembly, "f")


def test_what_is_read_behind_the_loop_is_no_temporary() -> None:
    loop = read(kernel(tile()))[2][0]
    assert loop.vectors == [f"v{i}" for i in range(11)]
    assert {"x0", "x1", "x2", "x3", "x18", "x19", "x30"} & set(loop.general) == set()
    assert read(kernel(tile(), behind=("str q0, [x2]",)))[2] == []  # what was loaded last is needed


def test_vectors_on_the_stack_are_followed() -> None:
    """As LLVM keeps what it has no register for."""
    body = tile()
    kept = [*body[:4], "str q6, [sp, #0]", "movi v6.2d, #0000000000000000"]
    assert read(kernel([*kept, "ldr q6, [sp, #0]", *body[4:]]))[2] == []  # movi is not understood
    kept[-1] = "mov v6.16b, v5.16b"
    assembly = kernel([*kept, "ldr q6, [sp, #0]", *body[4:]])
    case = only_loop(assembly)
    case.check()
    found = case.found
    assert not any("sp" in text for text in [*found.before, *found.first, *found.rest, *found.last])
    assert read(assembly.replace("str q11, [x2, #0]", "ldr q11, [sp, #0]"))[2] == []  # it is read later


def test_general_registers_that_are_needed_behind_the_loop_are_kept_on_the_stack() -> None:
    """With all of them read behind it, and restored from where they were put."""
    behind = tuple(f"add x2, x2, x{i}" for i in (*range(4, 18), *range(19, 31)))
    case = only_loop(kernel(tile(), behind=behind))
    case.check()
    assert case.found.before[0] == "sub sp, sp, #48"
    assert case.found.last[-1] == "add sp, sp, #48"
    for wrong in ("str x2, [sp, #48]", "str x2, [sp, #8]"):
        before = [wrong if text == "str x2, [sp, #0]" else text for text in case.found.before]
        assert before != case.found.before
        with pytest.raises(NotTheSame):
            case.check(before=before)


def test_liveness_follows_branches_and_the_stack_pointer() -> None:
    lines = read_lines(
        "f:\n sub sp, sp, #32\n str x1, [sp, #8]\n cbz x0, .L1\n ldr x2, [sp, #8]\n add x0, x2, x3\n"
        ".L1:\n add sp, sp, #32\n ret\n .size f, .-f"
    )
    liveness = Liveness(lines[1:-1])
    assert {"x0", "x1", "x3"} <= liveness.live(0)
    assert not {"x2", "x4"} & liveness.live(0)
    assert liveness.is_live(2, [8])
    assert not liveness.is_live(2, [0])
    assert not liveness.is_live(4, [8])
    assert Liveness(read_lines(" add x0, sp, #8\n ret")).is_known is False  # the stack has another name
    assert Liveness(read_lines(" br x0")).is_known is False


def outputs(name: str, path: Path, folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """The arena of a network behind an inference, of kernels as they are compiled for a Cortex-A53."""
    monkeypatch.setenv("TZML_CACHE", str(cache))
    (folder / name).mkdir(parents=True)
    bundle = compile_model(path, CompileOptions("rpi3", secure_memory=1 << 40))
    kernels = Kernels(bundle, TARGETS["rpi3"].cc, folder / name, random_inputs(bundle.inputs()))
    kernels.measure(1)
    assert np.isfinite(kernels.result().astype(np.float64)).all()
    return (folder / name / "result.bin").read_bytes()


def same_bits(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """All that a network's kernels write has equal bits with LLVM's loops, of which some were written anew."""
    written: list[str] = []

    def note(assembly: str, symbol: str) -> str:
        written.append(for_in_order_core(assembly, symbol))
        return written[-1]

    monkeypatch.setattr(build_kernel, "for_in_order_core", note)
    ours = outputs("ours", path, tmp_path, tmp_path / "one", monkeypatch)
    assert "stays as LLVM wrote it" not in caplog.text
    assert sum(".Lagain" in text for text in written) >= len(written) / 4
    monkeypatch.setattr(build_kernel, "is_in_order", lambda _: False)
    assert outputs("llvm", path, tmp_path, tmp_path / "two", monkeypatch) == ours


def test_a_networks_kernels_give_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Convolutions with and without padding and stride, Winograd's, and a dense layer."""
    layers = [
        helper.make_node("Conv", ["x", "a"], ["h"], pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("Relu", ["h"], ["i"]),
        helper.make_node("Conv", ["i", "b"], ["j"]),
        helper.make_node("Conv", ["j", "c"], ["k"], pads=[1, 1, 1, 1]),
        helper.make_node("GlobalAveragePool", ["k"], ["l"]),
        helper.make_node("Flatten", ["l"], ["m"]),
        helper.make_node("MatMul", ["m", "d"], ["y"]),
    ]
    shapes = {"a": (24, 3, 3, 3), "b": (32, 24, 1, 1), "c": (32, 32, 3, 3), "d": (32, 10)}
    data = network((1, 3, 29, 29), *layers, **{name: weights(*shape) for name, shape in shapes.items()})
    (tmp_path / "net.onnx").write_bytes(data)
    same_bits(tmp_path / "net.onnx", tmp_path, monkeypatch, caplog)


@pytest.mark.full
@pytest.mark.parametrize("name", ["digits", "squeezenet", "mobilenet_v2", "resnet18", "vit_tiny", "gru_keywords"])
def test_the_zoos_kernels_give_the_same_bits(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = models()[name].onnx()
    same_bits(path, tmp_path, monkeypatch, caplog)


def test_another_assembler_makes_other_kernels(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Only where it writes them."""
    for target, new in (("rpi3", True), ("qemu", False)):
        monkeypatch.setenv("TZML_CACHE", str(tmp_path / target))
        compile_model(ONNX, CompileOptions(target))
        known = set((tmp_path / target / "kernels").iterdir())
        with monkeypatch.context() as other:
            other.setattr(kernel_key, "assembler_version", lambda: "GNU assembler 99")
            compile_model(ONNX, CompileOptions(target))
        assert (set((tmp_path / target / "kernels").iterdir()) > known) is new


def test_an_assembler_that_is_missing_or_fails_is_one_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CompileError, match=r"failed: .*rror"):
        assemble.assemble("\tno such instruction\n")
    monkeypatch.setattr(assemble, "AARCH64_CC", "no-such-gcc")
    with pytest.raises(CompileError, match="no-such-gcc is not installed"):
        assemble.assemble("")
