"""Cycles and DRAM bytes of `tzml bench --cycles`: what is recorded, and what is made of it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from tzml.bench.bench import Result
from tzml.bench.cycles import ExecutedBlock, estimate, read_blocks
from tzml.bench.kernels import Kernels, random_inputs
from tzml.bench.programs import CROSS_LIBC, compile_c, run_emulated, source
from tzml.cli.bench import columns, command
from tzml.compiler import TARGETS, CompileOptions, compile_model
from tzml.errors import TzmlError
from tzml_zoo.digits import ONNX

ADD, FMLA, LOAD, LOOP = 0x91000400, 0x4E22CC20, 0x3DC00003, 0x54FFFFC1
"""add x0, x0, #1; fmla v0.4s, v1.4s, v2.4s; ldr q3, [x0]; b.ne to 8 bytes before."""

WALK = r"""
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include "measure.h"
int main(int argc, char **argv)
{
	size_t size = argc > 1 ? atoi(argv[1]) * 1024 : 0;
	volatile char *data = aligned_alloc(64, size);
	int sum = 0;

	memset((char *)data, 1, size);
	prctl(MEASURE_BEGIN);
	for (int turn = 0; turn < 2; turn++)
		for (size_t i = 0; i < size; i += 64)
			sum += data[i];
	prctl(MEASURE_END);
	return sum == 0;
}
"""

needs_qemu = pytest.mark.skipif(not shutil.which("qemu-aarch64"), reason="qemu-user is not installed")


def test_a_loop_begins_with_the_end_of_its_last_turn() -> None:
    """Alone, the two start in cycles 0 and 0; in a loop, a turn waits 4 cycles for its accumulator."""
    found = estimate([ExecutedBlock(100, 0x1000, 0x1000, (FMLA, LOOP))])
    assert (found.instructions, found.cycles, found.multiply_adds) == (200, 400, 100)
    assert estimate([ExecutedBlock(100, 0, 0x1000, (FMLA, LOOP))]).cycles == 100


def test_a_loop_in_two_blocks_is_a_loop() -> None:
    blocks = [ExecutedBlock(100, 0x2000, 0x1000, (FMLA, ADD)), ExecutedBlock(100, 0x1000, 0x2000, (LOAD, LOOP))]
    assert estimate(blocks).cycles == 100 * 4
    whole = [ExecutedBlock(100, 0x1000, 0x1000, (FMLA, ADD, LOAD, LOOP))]
    assert estimate(whole).cycles == estimate(blocks).cycles


def test_what_is_rare_is_taken_to_be_like_the_rest() -> None:
    blocks = [ExecutedBlock(1000, 0, 0x1000, (LOAD,)), ExecutedBlock(1, 0, 0x2000, (ADD,))]
    assert estimate(blocks).cycles == pytest.approx(1001)


def test_a_damaged_record_is_refused(tmp_path: Path) -> None:
    (tmp_path / "blocks.txt").write_text("1 0 1000 4e22cc20\n1 0 1000 4e22cc2\n")
    with pytest.raises(TzmlError, match=r"blocks.txt, line 2: this is no block"):
        read_blocks(tmp_path / "blocks.txt")


@needs_qemu
@pytest.mark.parametrize(("kib", "loads"), [(16, 1), (256, 1), (2048, 2)])
def test_what_is_larger_than_the_cache_is_loaded_again(tmp_path: Path, kib: int, loads: int) -> None:
    (tmp_path / "walk.c").write_text(WALK)
    compile_c(TARGETS["qemu"].cc, ["walk.c", f"-I{source('.')}", "-o", "walk"], tmp_path)
    cost = run_emulated(["./walk", str(kib)], tmp_path, CROSS_LIBC, estimated=True)
    assert cost.dram_bytes == pytest.approx(kib * 1024 * loads, rel=0.02, abs=640)


@needs_qemu
def test_instructions_are_the_same_with_estimates(tmp_path: Path) -> None:
    bundle = compile_model(ONNX, CompileOptions("qemu"))
    kernels = Kernels(bundle, TARGETS["qemu"].cc, tmp_path, random_inputs(bundle.inputs()))
    counted, estimated = kernels.measure(1), kernels.measure(1, estimated=True)
    assert counted.instructions is not None
    assert estimated.cycles is not None
    assert counted.instructions == estimated.instructions
    assert (counted.cycles, counted.dram_bytes) == (None, None)
    assert counted.instructions / 2 < estimated.cycles < 3 * counted.instructions
    weights = sum(map(len, bundle.chunks))
    assert estimated.dram_bytes is not None
    assert weights < estimated.dram_bytes < weights + 2 * bundle.memory.arena_size


def test_estimates_have_columns_of_their_own() -> None:
    plain = Result("net", 100, 1, 1, 50.0, 70.0, None, None, 0.1, 0.0, None, 1.0)
    more = Result(
        **vars(plain) | {"cycles": {"ours": 80e6, "onnxruntime": 90e6}, "dram_bytes": {"ours": 3_000_000}}
    )
    added = {name: cell for name, cell in columns(more, "aarch64").items() if name not in columns(plain, "aarch64")}
    assert {name: cell.strip() for name, cell in added.items()} == {
        "Mcycles": "80.000",
        "cycles/MAC": "800000.000",
        "DRAM MB": "3.00",
        "onnxruntime Mcycles": "90.000",
        "onnxruntime DRAM MB": "-",
        "litert Mcycles": "-",
        "litert DRAM MB": "-",
    }


def test_this_machine_has_no_such_estimates() -> None:
    with pytest.raises(TzmlError, match="--cycles estimates a Cortex-A53, and the target is host"):
        CliRunner().invoke(command, ["digits", "--cycles"], catch_exceptions=False)


@pytest.mark.full
def test_bench_estimates_both_runtimes() -> None:
    arguments = ["digits", "--target", "aarch64", "--cycles", "--json"]
    done = CliRunner().invoke(command, arguments, catch_exceptions=False)
    (result,) = json.loads(done.output)
    assert set(result["cycles"]) == set(result["dram_bytes"]) >= {"ours", "onnxruntime"}
    assert 0 < result["cycles"]["ours"] < result["cycles"]["onnxruntime"]
